//! Writing safetensors: a tensor at a time, to a temporary file beside the target, which takes
//! its name only when it has been synced and re-read.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::Dtype;
use serde_json::json;

use super::CheckpointError;
use super::atomic::{write_atomically, write_checked};
use super::key_map::{KeyMap, Source, Transform};
use super::load::{Path as ModulePath, parameters, shape_in_file};
use super::mapped::Weights;
use super::metadata::Metadata;
use super::values;

type Result<T> = std::result::Result<T, CheckpointError>;

/// How a module is written.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveOptions {
    /// The file's data type: f32, f16 or bf16.
    pub dtype: DType,
    /// What the file says beside the tensors.
    pub metadata: Metadata,
    /// Split into shards of at most this many bytes, with an index beside them; a larger single
    /// tensor gets a shard of its own. `None`: one file.
    pub max_shard_bytes: Option<usize>,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            metadata: Metadata::default(),
            max_shard_bytes: None,
        }
    }
}

/// Writes a module to `path` under the names of `map`, and returns the files written.
///
/// Each file is complete or absent: it takes its name last, after it has been synced and its
/// header re-read. Replacing a sharded model is not atomic as a whole (the index is removed first
/// and written last, so that shards of two models are never mixed); where the old one must
/// survive anything, write to a new folder.
///
/// # Errors
///
/// When the disk refuses, two parameters map to one name, the map has a transform that only
/// reads, or a value does not fit the data type.
pub fn save<M: Module>(
    module: &M,
    path: &Path,
    map: &dyn KeyMap,
    options: &SaveOptions,
) -> Result<Vec<PathBuf>> {
    let plan = Plan::new(module, path, map, options)?;
    let shards = plan.shards(options.max_shard_bytes);
    let index = index_path(path);
    if shards.len() > 1 {
        remove(&index)?;
    }
    let mut written = Vec::new();
    let mut weight_map = BTreeMap::new();
    let metadata = options.metadata.entries();
    for (number, range) in shards.iter().enumerate() {
        let target = if shards.len() > 1 {
            shard_path(path, number, shards.len())
        } else {
            path.to_path_buf()
        };
        let tensors = &plan.tensors[range.clone()];
        let name = file_name(&target);
        weight_map.extend(tensors.iter().map(|t| (t.name.clone(), name.clone())));
        let fill = |out: &mut dyn Write| {
            out.write_all(&header(tensors, &metadata)?)
                .map_err(|error| CheckpointError::write(&target, error))?;
            plan.write(module, range.clone(), &target, out)
        };
        write_checked(&target, fill, verify)?;
        written.push(target);
    }
    if shards.len() > 1 {
        let total: usize = plan.tensors.iter().map(|tensor| tensor.bytes()).sum();
        let text = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
        write_atomically(&index, |out| {
            out.write_all(format!("{text:#}\n").as_bytes())
                .map_err(|error| CheckpointError::write(&index, error))
        })?;
        // A whole file of the same name would be preferred to the shards when loading.
        remove(path)?;
        written.push(index);
    }
    Ok(written)
}

/// Writes tensors as they are, in their own data types.
///
/// # Errors
///
/// When the disk refuses, a name appears twice, or a data type has no name in the format.
pub fn write_tensors(
    path: &Path,
    tensors: &[(String, TensorData)],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let tensors = tensors.iter().map(|(name, data)| LazyTensor {
        name: name.clone(),
        shape: data.shape().to_vec(),
        dtype: data.dtype(),
        values: Box::new(|| data.clone()),
    });
    write_lazily(path, tensors.collect(), metadata)
}

/// A tensor whose values are made when they are written.
pub(crate) struct LazyTensor<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    /// In row-major order.
    pub(crate) values: Box<dyn FnOnce() -> TensorData + 'a>,
}

/// As [`write_tensors`], with the values of one tensor at a time.
pub(crate) fn write_lazily(
    path: &Path,
    tensors: Vec<LazyTensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let mut entries = Vec::new();
    for tensor in &tensors {
        let dtype = values::file_dtype(tensor.dtype).ok_or_else(|| CheckpointError::Save {
            name: tensor.name.clone(),
            problem: format!("safetensors has no type {}", tensor.dtype.name()),
        })?;
        entries.push(Planned {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            dtype,
            transform: Transform::None,
        });
    }
    refuse_duplicates(&entries)?;
    write_atomically(path, |out| {
        let failed = |error| CheckpointError::write(path, error);
        out.write_all(&header(&entries, metadata)?)
            .map_err(failed)?;
        tensors
            .into_iter()
            .try_for_each(|tensor| out.write_all((tensor.values)().bytes()))
            .map_err(failed)
    })?;
    verify(path)
}

/// Re-reads a file's header.
fn verify(path: &Path) -> Result<()> {
    Weights::open(path).map(drop)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CheckpointError::write(path, error))
        }
        _ => Ok(()),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn stem(path: &Path) -> String {
    let name = file_name(path);
    name.strip_suffix(".safetensors")
        .unwrap_or(&name)
        .to_owned()
}

fn index_path(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}.safetensors.index.json", stem(path)))
}

fn shard_path(path: &Path, number: usize, of: usize) -> PathBuf {
    let stem = stem(path);
    path.with_file_name(format!("{stem}-{:05}-of-{of:05}.safetensors", number + 1))
}

/// One tensor to be written.
struct Planned {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    transform: Transform,
}

impl Planned {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

fn refuse_duplicates(tensors: &[Planned]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match tensors.iter().find(|tensor| !seen.insert(&tensor.name)) {
        None => Ok(()),
        Some(tensor) => Err(CheckpointError::Save {
            name: tensor.name.clone(),
            problem: "two tensors have this name".into(),
        }),
    }
}

/// The header of a file with these tensors in this order; the data after it starts at a multiple
/// of 64 bytes.
fn header(tensors: &[Planned], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut object = serde_json::Map::new();
    if !metadata.is_empty() {
        object.insert("__metadata__".into(), json!(metadata));
    }
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.bytes();
        object.insert(
            tensor.name.clone(),
            json!({
                "dtype": tensor.dtype,
                "shape": tensor.shape,
                "data_offsets": [offset, end],
            }),
        );
        offset = end;
    }
    let mut text = serde_json::Value::Object(object).to_string().into_bytes();
    text.resize((8 + text.len()).next_multiple_of(64) - 8, b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    Ok(bytes)
}

/// A module's tensors under their names in the file, in the module's order.
struct Plan {
    tensors: Vec<Planned>,
    /// From our paths to places in `tensors`.
    places: HashMap<String, usize>,
}

impl Plan {
    fn new<M: Module>(
        module: &M,
        path: &Path,
        map: &dyn KeyMap,
        options: &SaveOptions,
    ) -> Result<Self> {
        let dtype = match options.dtype {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            other => {
                return Err(CheckpointError::unsupported(
                    path,
                    format!(
                        "weights are saved as f32, f16 or bf16, not {}",
                        other.name()
                    ),
                ));
            }
        };
        let mut plan = Self {
            tensors: Vec::new(),
            places: HashMap::new(),
        };
        for (ours, shape) in parameters(module) {
            let Source { name, transform } = map.source(&ours);
            if matches!(transform, Transform::Rows { .. }) {
                return Err(CheckpointError::Save {
                    name,
                    problem: "this layout fuses several tensors into one and can only be read: \
                              save in diffusers' layout"
                        .into(),
                });
            }
            plan.places.insert(ours, plan.tensors.len());
            plan.tensors.push(Planned {
                name,
                shape: shape_in_file(transform, &shape),
                dtype,
                transform,
            });
        }
        refuse_duplicates(&plan.tensors)?;
        Ok(plan)
    }

    fn shards(&self, limit: Option<usize>) -> Vec<std::ops::Range<usize>> {
        let mut shards = Vec::new();
        let (mut start, mut bytes) = (0, 0usize);
        for (index, tensor) in self.tensors.iter().enumerate() {
            let size = tensor.bytes();
            if index > start && limit.is_some_and(|limit| bytes + size > limit) {
                shards.push(start..index);
                (start, bytes) = (index, 0);
            }
            bytes += size;
        }
        shards.push(start..self.tensors.len());
        shards
    }

    fn write<M: Module>(
        &self,
        module: &M,
        range: std::ops::Range<usize>,
        path: &Path,
        out: &mut dyn Write,
    ) -> Result<()> {
        let mut writer = Writer {
            path: ModulePath::default(),
            plan: self,
            range,
            out,
            result: Ok(()),
            target: path,
        };
        module.visit(&mut writer);
        writer.result
    }
}

/// Writes the planned tensors while it walks the module; after an error it does nothing more.
struct Writer<'a> {
    path: ModulePath,
    plan: &'a Plan,
    range: std::ops::Range<usize>,
    out: &'a mut dyn Write,
    result: Result<()>,
    target: &'a Path,
}

impl Writer<'_> {
    fn write(&mut self, tensor: &Planned, data: &TensorData) -> Result<()> {
        let failed = |problem: String| CheckpointError::Save {
            name: tensor.name.clone(),
            problem,
        };
        let from = values::file_dtype(data.dtype())
            .filter(|&dtype| values::is_float(dtype))
            .ok_or_else(|| failed(format!("its values are {}", data.dtype().name())))?;
        let turned;
        let mut bytes: &[u8] = data.bytes();
        if let Transform::Transpose = tensor.transform {
            let rows = data.shape().first().copied().unwrap_or(1);
            turned = values::transpose(bytes, rows, from.bitsize() / 8);
            bytes = &turned;
        }
        let negate = matches!(tensor.transform, Transform::Negate);
        let mut converted = Vec::new();
        if from != tensor.dtype || negate {
            converted.reserve(tensor.bytes());
            values::narrow(bytes, from, tensor.dtype, negate, &mut converted).map_err(|value| {
                failed(format!(
                    "its value {value} does not fit {:?}: save as bf16 or f32",
                    tensor.dtype
                ))
            })?;
            bytes = &converted;
        }
        self.out
            .write_all(bytes)
            .map_err(|error| CheckpointError::write(self.target, error))
    }
}

impl ModuleVisitor for Writer<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.result.is_err() {
            return;
        }
        let plan = self.plan;
        let Some(&place) = plan.places.get(&self.path.name()) else {
            return;
        };
        if self.range.contains(&place) {
            self.result = self.write(
                &plan.tensors[place],
                &vldm_kernels::unpack(param.val()).into_data(),
            );
        }
    }
}
