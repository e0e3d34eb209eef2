//! Weights on disk, read by memory map: one file, the shards of an index, or a model's folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use burn::tensor::{DType, TensorData};
use safetensors::Dtype;
use vldm_kernels::memory::{self, Mapped};

use super::CheckpointError;
use super::error::Mismatch;
use super::header::{self, Entry};
use super::values;

type Result<T> = std::result::Result<T, CheckpointError>;

/// The file stems under which diffusers and transformers save a model.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];
/// The precisions in a file's name, best first; the unnamed one is full precision.
const VARIANTS: [&str; 3] = ["", ".bf16", ".fp16"];

/// The tensors of one or more memory-mapped safetensors files.
///
/// Opening reads the headers only. Pages come in when a tensor is first read, and
/// [`Weights::data`] shares them instead of copying.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    files: Vec<(PathBuf, Mapped)>,
    tensors: BTreeMap<String, (usize, Entry)>,
    metadata: BTreeMap<String, String>,
    used: Mutex<BTreeSet<String>>,
}

impl Weights {
    /// Opens a `.safetensors` file, a `.safetensors.index.json`, or a model's folder.
    ///
    /// In a folder, takes `diffusion_pytorch_model` or `model`, whole or sharded, in the highest
    /// precision that is there.
    ///
    /// # Errors
    ///
    /// When nothing is found (the message lists what was looked for), a file cannot be read, a
    /// header is damaged, or an index and its shards disagree.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = if path.is_dir() {
            find_in(path)?
        } else {
            path.to_path_buf()
        };
        if is_index(&file) {
            open_index(&file)
        } else {
            let mut weights = Self::empty(&file);
            weights.add(&file)?;
            Ok(weights)
        }
    }

    /// The tensors of a safetensors file that is already in memory; `path` is what messages
    /// call it.
    ///
    /// # Errors
    ///
    /// When the header is damaged.
    pub fn from_bytes(path: impl AsRef<Path>, bytes: impl Into<bytes::Bytes>) -> Result<Self> {
        let mut weights = Self::empty(path.as_ref());
        weights.add_mapped(path.as_ref(), bytes.into().into())?;
        Ok(weights)
    }

    fn empty(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
            used: Mutex::default(),
        }
    }

    /// Maps one file and adds its tensors; returns their names.
    fn add(&mut self, path: &Path) -> Result<Vec<String>> {
        let mapped = memory::map(path).map_err(|error| CheckpointError::read(path, error))?;
        self.add_mapped(path, mapped)
    }

    fn add_mapped(&mut self, path: &Path, mapped: Mapped) -> Result<Vec<String>> {
        let header = header::parse(mapped.bytes())
            .map_err(|problem| CheckpointError::damaged(path, problem))?;
        let file = self.files.len();
        self.files.push((path.to_path_buf(), mapped));
        let names: Vec<String> = header.tensors.keys().cloned().collect();
        for (name, entry) in header.tensors {
            if let Some((first, _)) = self.tensors.get(&name) {
                let first = self.files[*first].0.display().to_string();
                return Err(CheckpointError::damaged(
                    path,
                    format!("tensor `{name}` is also in {first}"),
                ));
            }
            self.tensors.insert(name, (file, entry));
        }
        self.metadata.extend(header.metadata);
        Ok(names)
    }

    /// The file that was opened: for a folder, the file or index found in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold the tensors.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Whether any tensor's name starts with `prefix`.
    pub fn contains_prefix(&self, prefix: &str) -> bool {
        self.tensors
            .range(prefix.to_owned()..)
            .next()
            .is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// A tensor's data type and shape.
    pub fn info(&self, name: &str) -> Option<(Dtype, &[usize])> {
        self.tensors
            .get(name)
            .map(|(_, entry)| (entry.dtype, entry.shape.as_slice()))
    }

    /// A tensor's shape.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.info(name).map(|(_, shape)| shape)
    }

    /// What the files' headers say beside the tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Bytes of all tensors together, as stored.
    pub fn byte_count(&self) -> usize {
        self.tensors
            .values()
            .map(|(_, entry)| entry.range.len())
            .sum()
    }

    /// The data type that most of the floating-point values are stored in; `None` if there are
    /// none.
    pub fn stored_dtype(&self) -> Option<DType> {
        let mut bytes: BTreeMap<Dtype, usize> = BTreeMap::new();
        for (_, entry) in self.tensors.values() {
            if values::is_float(entry.dtype) {
                *bytes.entry(entry.dtype).or_default() += entry.range.len();
            }
        }
        let (dtype, _) = bytes.into_iter().max_by_key(|&(_, count)| count)?;
        values::dtype_of(dtype)
    }

    /// A tensor as stored, over the file's pages (no copy where the alignment permits).
    ///
    /// # Errors
    ///
    /// When there is no such tensor, or its data type has no counterpart in the tensor library.
    pub fn data(&self, name: &str) -> Result<TensorData> {
        let (dtype, shape) = self.info(name).ok_or_else(|| self.lacks(name))?;
        let burn_dtype = values::dtype_of(dtype).ok_or_else(|| {
            CheckpointError::unsupported(
                &self.path,
                format!("tensor `{name}` is of type {dtype:?}, which is not read here"),
            )
        })?;
        Ok(values::share(&self.bytes(name)?, burn_dtype, shape))
    }

    /// A tensor's bytes as stored, sharing the file's pages.
    ///
    /// # Errors
    ///
    /// When there is no such tensor.
    pub fn bytes(&self, name: &str) -> Result<bytes::Bytes> {
        let (file, entry) = self.tensors.get(name).ok_or_else(|| self.lacks(name))?;
        Ok(self.files[*file].1.bytes().slice(entry.range.clone()))
    }

    /// Lets a tensor's pages go: it has been copied or packed elsewhere.
    pub fn release(&self, name: &str) {
        if let Some((file, entry)) = self.tensors.get(name) {
            self.files[*file].1.release(entry.range.clone());
        }
    }

    fn lacks(&self, name: &str) -> CheckpointError {
        CheckpointError::damaged(&self.path, format!("it has no tensor `{name}`"))
    }

    /// Notes that these tensors have found their places.
    pub(crate) fn mark_used(&self, names: impl IntoIterator<Item = String>) {
        self.lock().extend(names);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The tensors that no load has used so far.
    pub fn unused(&self) -> Vec<String> {
        let used = self.lock();
        self.names()
            .filter(|&name| !used.contains(name))
            .map(str::to_owned)
            .collect()
    }

    /// Judges the file as a whole, after every part has been loaded from it: what is neither used
    /// nor `ignored` is an error. Returns how many tensors were ignored.
    ///
    /// # Errors
    ///
    /// Lists the tensors that nothing uses.
    pub fn finish(&self, part: &str, ignored: impl Fn(&str) -> bool) -> Result<usize> {
        let unused = self.unused();
        let all = unused.len();
        let surplus: Vec<String> = unused.into_iter().filter(|name| !ignored(name)).collect();
        if surplus.is_empty() {
            return Ok(all);
        }
        Err(Mismatch {
            part: part.to_owned(),
            path: self.path.clone(),
            surplus,
            ..Mismatch::default()
        }
        .into())
    }
}

fn is_index(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

/// The weights file or index of a model's folder.
fn find_in(folder: &Path) -> Result<PathBuf> {
    let mut looked_for = Vec::new();
    for variant in VARIANTS {
        for stem in STEMS {
            let whole = format!("{stem}{variant}.safetensors");
            // Both places of the variant are in use.
            let index = format!("{stem}.safetensors.index{variant}.json");
            let older = format!("{stem}{variant}.safetensors.index.json");
            let names = match variant {
                "" => vec![whole, index],
                _ => vec![whole, index, older],
            };
            for name in names {
                let path = folder.join(&name);
                if path.is_file() {
                    return Ok(path);
                }
                looked_for.push(name);
            }
        }
    }
    Err(CheckpointError::NotFound {
        path: folder.to_path_buf(),
        what: "weights",
        looked_for,
        hint: not_found_hint(folder),
    })
}

fn not_found_hint(folder: &Path) -> String {
    let names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let ends = |ends: &[&str]| {
        names
            .iter()
            .any(|name| ends.iter().any(|end| name.ends_with(end)))
    };
    if names.iter().any(|name| name == "model_index.json") {
        "; this is a whole pipeline: name the folder of one part, such as its `unet`".into()
    } else if ends(&[".bin", ".ckpt", ".pt", ".pth"]) {
        "; it holds PyTorch pickles, which are not read here: convert them to safetensors".into()
    } else if ends(&[".safetensors"]) {
        "; it holds other .safetensors files: name the one you mean".into()
    } else {
        String::new()
    }
}

/// Opens the shards that an index lists, and holds both to their word.
fn open_index(path: &Path) -> Result<Weights> {
    let text = std::fs::read(path).map_err(|error| CheckpointError::read(path, error))?;
    let damaged = |problem: String| CheckpointError::damaged(path, problem);
    let index: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|error| damaged(format!("it is not JSON: {error}")))?;
    let map = index
        .get("weight_map")
        .and_then(serde_json::Value::as_object)
        .ok_or_else(|| damaged("a shard index has an object `weight_map`, this has none".into()))?;
    let mut shards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, shard) in map {
        let shard = shard
            .as_str()
            .ok_or_else(|| damaged(format!("`weight_map.{name}` is not a file name")))?;
        // A shard lies beside its index: a path could lead anywhere on this machine.
        if shard.is_empty() || shard == ".." || shard.contains(['/', '\\', ':', '\0']) {
            return Err(damaged(format!(
                "`weight_map.{name}` is not a plain file name: {shard}"
            )));
        }
        shards.entry(shard).or_default().insert(name);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut weights = Weights::empty(path);
    for (shard, listed) in shards {
        let held = weights.add(&folder.join(shard))?;
        let held: BTreeSet<&str> = held.iter().map(String::as_str).collect();
        if let Some(name) = listed.difference(&held).next() {
            return Err(damaged(format!(
                "it lists `{name}` in {shard}, which has no such tensor"
            )));
        }
        if let Some(name) = held.difference(&listed).next() {
            return Err(damaged(format!(
                "{shard} holds `{name}`, which the index does not list"
            )));
        }
    }
    Ok(weights)
}
