//! Filling a module from weights: strict, in one pass over the names before any value is read,
//! without initialising parameters that are about to be replaced.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Shape, Tensor, TensorData};
use safetensors::Dtype;

use super::CheckpointError;
use super::error::{Mismatch, Misshapen, Missing};
use super::key_map::{KeyMap, Source, Transform};
use super::mapped::Weights;
use super::values;

type Result<T> = std::result::Result<T, CheckpointError>;

/// How a module is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// What the module is called in messages ("unet").
    pub part: String,
    /// The parameters' data type. Values stored so already are shared with the file's pages,
    /// others are converted one tensor at a time, as are the weights that the device reads in an
    /// order of its own ([`vldm_kernels::arrange`]).
    pub dtype: DType,
    /// Which of our parameters the file may lack: paths, or their beginnings (a trailing dot or
    /// not, whole segments are compared). They keep their initial values.
    pub may_be_new: Vec<String>,
    /// Leave it to a later load, or to [`Weights::finish`], to judge what this one does not use.
    pub leave_rest: bool,
}

impl LoadOptions {
    /// Everything must be there, everything must be used, in f32.
    pub fn new(part: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            dtype: DType::F32,
            may_be_new: Vec::new(),
            leave_rest: false,
        }
    }

    /// The same with another data type of the parameters: f32, f16 or bf16.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// The same, but parameters at or below this path may be absent. `""` permits all.
    pub fn may_be_new(mut self, path: impl Into<String>) -> Self {
        self.may_be_new.push(path.into());
        self
    }

    /// The same, but what is not used is left for a later load to judge.
    pub fn leave_rest(mut self) -> Self {
        self.leave_rest = true;
        self
    }

    fn permits_new(&self, ours: &str) -> bool {
        self.may_be_new.iter().any(|path| {
            let path = path.trim_end_matches('.');
            path.is_empty()
                || ours
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// What was filled.
    pub part: String,
    /// The file, or the index of the files.
    pub path: PathBuf,
    /// Parameters filled, in tensors.
    pub loaded: usize,
    /// Parameters filled, in numbers.
    pub elements: usize,
    /// Our parameters that the file lacks and that keep their initial values.
    pub new: Vec<String>,
    /// Tensors of the file that this load did not use: other parts, training state.
    pub unused: Vec<String>,
    /// The type of the file's values and of the parameters.
    pub dtypes: (Option<DType>, DType),
    /// Bytes of parameters that share the file's pages.
    pub shared_bytes: usize,
    /// Bytes of parameters that were converted, rearranged or copied.
    pub copied_bytes: usize,
}

impl LoadReport {
    fn empty(weights: &Weights, options: &LoadOptions) -> Self {
        Self {
            part: options.part.clone(),
            path: weights.path().to_path_buf(),
            loaded: 0,
            elements: 0,
            new: Vec::new(),
            unused: Vec::new(),
            dtypes: (weights.stored_dtype(), options.dtype),
            shared_bytes: 0,
            copied_bytes: 0,
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} tensors loaded ({} parameters) from {}",
            self.part,
            self.loaded,
            thousands(self.elements),
            self.path.display()
        )?;
        match self.dtypes {
            (Some(from), to) if from != to => write!(f, " ({} to {})", from.name(), to.name())?,
            (_, to) => write!(f, " ({})", to.name())?,
        }
        write!(f, ", {} new, {} unused", self.new.len(), self.unused.len())?;
        let mut of_interest = |label: &str, names: &[String]| -> fmt::Result {
            match names {
                [] => Ok(()),
                [first] => write!(f, "\n  {label}: {first}"),
                [first, .., last] => write!(f, "\n  {label}: {first} … {last}"),
            }
        };
        of_interest("new", &self.new)?;
        of_interest("unused", &self.unused)
    }
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The path of the parameter being visited. Enum variants are not part of it.
#[derive(Debug, Default)]
pub(crate) struct Path {
    names: Vec<String>,
    containers: Vec<String>,
}

impl Path {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.containers.push(container.to_owned());
        if !container.starts_with("Enum:") {
            self.names.push(name.to_owned());
        }
    }

    pub(crate) fn exit(&mut self, container: &str) {
        self.containers.pop();
        if !container.starts_with("Enum:") {
            self.names.pop();
        }
    }

    pub(crate) fn name(&self) -> String {
        self.names.join(".")
    }

    /// Whether the parameter is the weight or bias of a layer whose weight can be arranged.
    pub(crate) fn is_arranged(&self) -> bool {
        let container = self.containers.last();
        container.is_some_and(|container| crate::nn::is_arranged(container))
    }
}

/// The parameters of a module, in order, with their shapes; nothing is initialised.
pub fn parameters<M: Module>(module: &M) -> Vec<(String, Shape)> {
    struct List(Path, Vec<(String, Shape)>);

    impl ModuleVisitor for List {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.0.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.name(), param.lazy_shape()));
        }
    }

    let mut list = List(Path::default(), Vec::new());
    module.visit(&mut list);
    list.1
}

/// How many numbers a module's parameters hold; nothing is initialised.
pub fn count_parameters<M: Module>(module: &M) -> usize {
    parameters(module)
        .iter()
        .map(|(_, shape)| shape.num_elements())
        .sum()
}

/// Fills `module` from `weights`.
///
/// Strict: every parameter must be found with its shape, and every tensor of the file must be
/// used (by this load or one before it on the same `weights`), ignored by the map, or left to
/// later loads by `options`. Everything that is wrong is reported at once, before any value is
/// read. Parameters keep their device and whether they are trained.
///
/// # Errors
///
/// [`CheckpointError::Mismatch`] with the lists; [`CheckpointError::Unsupported`] for a data type
/// of `options` that parameters cannot have.
pub fn load<M: Module>(
    module: M,
    weights: &Weights,
    map: &dyn KeyMap,
    options: &LoadOptions,
) -> Result<(M, LoadReport)> {
    if !matches!(options.dtype, DType::F32 | DType::F16 | DType::BF16) {
        return Err(CheckpointError::unsupported(
            weights.path(),
            format!(
                "parameters are f32, f16 or bf16, not {}",
                options.dtype.name()
            ),
        ));
    }
    let (plan, mut report) = check(&module, weights, map, options)?;
    let mut filler = Filler {
        path: Path::default(),
        plan,
        weights,
        dtype: options.dtype,
        shared: 0,
        copied: 0,
    };
    let module = module.map(&mut filler);
    report.shared_bytes = filler.shared;
    report.copied_bytes = filler.copied;
    tracing::debug!("{report}");
    Ok((module, report))
}

/// Compares names, shapes and types; the plan says where each parameter's values are.
fn check<M: Module>(
    module: &M,
    weights: &Weights,
    map: &dyn KeyMap,
    options: &LoadOptions,
) -> Result<(HashMap<String, Source>, LoadReport)> {
    let mut plan = HashMap::new();
    let mut wrong = Mismatch {
        part: options.part.clone(),
        path: weights.path().to_path_buf(),
        ..Mismatch::default()
    };
    let mut new = Vec::new();
    let mut used = BTreeSet::new();
    let mut elements = 0;
    for (ours, shape) in parameters(module) {
        let source = map.source(&ours);
        let Some((dtype, got)) = weights.info(&source.name) else {
            match options.permits_new(&ours) {
                true => new.push(ours),
                false => wrong.missing.push(Missing::new(ours, source.name)),
            }
            continue;
        };
        used.insert(source.name.clone());
        if !values::is_float(dtype) {
            wrong.wrong_type.push((source.name, format!("{dtype:?}")));
        } else if !fits(source.transform, &shape, got) {
            wrong.misshapen.push(Misshapen {
                expected: shape_in_file(source.transform, &shape),
                got: got.to_vec(),
                name: source.name,
            });
        } else {
            elements += shape.num_elements();
            plan.insert(ours, source);
        }
    }
    let mut unused = weights.unused();
    unused.retain(|name| !used.contains(name));
    if !options.leave_rest {
        wrong.surplus = unused
            .iter()
            .filter(|name| !map.is_ignored(name))
            .cloned()
            .collect();
    }
    if !wrong.is_empty() {
        hint(&mut wrong.missing, &unused);
        return Err(wrong.into());
    }
    weights.mark_used(used);
    let report = LoadReport {
        loaded: plan.len(),
        elements,
        new,
        unused,
        ..LoadReport::empty(weights, options)
    };
    Ok((plan, report))
}

fn fits(transform: Transform, ours: &[usize], theirs: &[usize]) -> bool {
    match transform {
        Transform::None | Transform::Negate => ours == theirs,
        Transform::Reshape { .. } => theirs
            .split_at_checked(ours.len())
            .is_some_and(|(head, ones)| head == ours && ones.iter().all(|&dim| dim == 1)),
        Transform::Rows { .. } | Transform::Transpose => theirs == shape_in_file(transform, ours),
    }
}

/// The shape that a parameter of ours has in the file.
pub(crate) fn shape_in_file(transform: Transform, ours: &[usize]) -> Vec<usize> {
    let mut shape = ours.to_vec();
    match transform {
        Transform::None | Transform::Negate => {}
        Transform::Reshape { rank } => shape.resize(rank.max(shape.len()), 1),
        Transform::Rows { of, .. } => {
            if let Some(rows) = shape.first_mut() {
                *rows = rows.saturating_mul(of);
            }
        }
        Transform::Transpose => shape.reverse(),
    }
    shape
}

/// Finds, for each of the first missing names, the unused one that shares the longest beginning
/// and end with it.
fn hint(missing: &mut [Missing], unused: &[String]) {
    let shared = |a: &str, b: &str| {
        let ahead = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
        let behind = a
            .bytes()
            .rev()
            .zip(b.bytes().rev())
            .take_while(|(a, b)| a == b)
            .count();
        (ahead + behind).min(a.len().min(b.len()))
    };
    for missing in missing.iter_mut().take(20) {
        missing.nearest = unused
            .iter()
            .map(|name| (shared(&missing.theirs, name), name))
            .max_by_key(|(score, _)| *score)
            .filter(|(score, _)| score * 3 >= missing.theirs.len() * 2)
            .map(|(_, name)| name.clone());
    }
}

struct Filler<'a> {
    path: Path,
    plan: HashMap<String, Source>,
    weights: &'a Weights,
    dtype: DType,
    shared: usize,
    copied: usize,
}

impl Filler<'_> {
    /// The values for a parameter of this shape; `None` where it stays as it is.
    fn values(&mut self, shape: &[usize]) -> Option<TensorData> {
        let source = self.plan.get(&self.path.name())?;
        let (stored, _) = self.weights.info(&source.name)?;
        let bytes = self.weights.bytes(&source.name).ok()?;
        let size = stored.bitsize() / 8;
        let bytes = match source.transform {
            Transform::Rows { part, of } => {
                let run = bytes.len() / of;
                bytes.slice(part * run..(part + 1) * run)
            }
            _ => bytes,
        };
        let sign = match source.transform {
            Transform::Negate => -1.0,
            _ => 1.0,
        };
        if let Transform::Transpose = source.transform {
            let rows = shape.last().copied().unwrap_or(1);
            let turned = values::transpose(&bytes, rows, size);
            return Some(self.copy(&turned, stored, sign, shape));
        }
        if values::dtype_of(stored) == Some(self.dtype) && sign > 0.0 {
            self.shared += bytes.len();
            return Some(values::share(&bytes, self.dtype, shape));
        }
        let name = source.name.clone();
        let data = self.copy(&bytes, stored, sign, shape);
        self.weights.release(&name);
        Some(data)
    }

    /// Lets the pages of a parameter that shared them go: it has been copied.
    fn release(&mut self, shape: &Shape) {
        let source = &self.plan[&self.path.name()];
        let stored = self.weights.info(&source.name).map(|(stored, _)| stored);
        let was_shared = stored.and_then(values::dtype_of) == Some(self.dtype)
            && matches!(
                source.transform,
                Transform::None | Transform::Reshape { .. } | Transform::Rows { .. }
            );
        if was_shared {
            let bytes = shape.num_elements() * self.dtype.size();
            self.shared -= bytes;
            self.copied += bytes;
            self.weights.release(&source.name);
        }
    }

    fn copy(&mut self, bytes: &[u8], stored: Dtype, sign: f32, shape: &[usize]) -> TensorData {
        let data = values::convert(bytes, stored, self.dtype, sign, shape);
        self.copied += data.bytes().len();
        data
    }
}

impl ModuleMapper for Filler<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.values(&param.lazy_shape()) {
            None => param,
            Some(data) => {
                let mut tensor = Tensor::from_data(data, (&param.lazy_device(), self.dtype));
                if D > 1 && self.path.is_arranged() {
                    tensor = vldm_kernels::pack(tensor);
                    self.release(&tensor.shape());
                }
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
        }
    }
}
