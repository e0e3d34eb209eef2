//! What a run leaves behind from time to time: a model to sample from, and everything that going on
//! needs.
//!
//! ```text
//! OUT/checkpoints/step-00001000/   a model's folder, with the averaged parameters
//!     unet/ vae/ temporal/ conditions/ …
//!     lora.safetensors                 adapters alone, averaged, where the run has any
//!     training/weights.safetensors     parameters that learn, as they are
//!     training/optimizer.safetensors   first/NAME, second/NAME, average/NAME
//!     training/state.json              step, place in the data, recipe, counts
//! ```
//!
//! A checkpoint is written beside its place and renamed when it is complete and synced. Files of
//! networks that do not learn are hard links to those of the checkpoint before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};
use vldm_kernels::{Moments, from_memory_order, memory_order, memory_order_of};

use super::learner::Learner;
use super::networks::Networks;
use super::optimizer::Slot;
use super::settings::CheckpointConfig;
use crate::checkpoint::{
    CheckpointError, LazyTensor, ModulePath, Weights, write_atomically, write_lazily,
};
use crate::error::{Error, Result};
use crate::model::{Model, SaveSettings, Unchanged, save_beside};

const FORMAT: u32 = 1;

/// What a run knows besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) format_version: u32,
    /// Steps done; the next one is this number, counted from 0.
    pub(crate) step: u64,
    /// Steps that moved the parameters.
    pub(crate) optimizer_steps: u64,
    /// Those of them that moved the discriminator; as many where nothing is said.
    #[serde(default)]
    pub(crate) discriminator_steps: Option<u64>,
    /// The next batch.
    pub(crate) batch: u64,
    /// Steps that were not finite.
    pub(crate) skipped: u64,
    /// Seconds of training, over all restarts.
    pub(crate) seconds: f64,
    /// Mean held-out loss at this step, where it was measured.
    pub(crate) held_out: Option<f64>,
    /// The recipe as it was run.
    pub(crate) recipe: String,
    /// Sum of squares of every frozen parameter, by part: what must never move.
    pub(crate) frozen: BTreeMap<String, f64>,
    /// Whether passes keep the activations of one block at a time.
    #[serde(default)]
    pub(crate) by_block: bool,
}

impl State {
    pub(crate) fn new(recipe: String, frozen: BTreeMap<String, f64>) -> Self {
        Self {
            format_version: FORMAT,
            step: 0,
            optimizer_steps: 0,
            discriminator_steps: None,
            batch: 0,
            skipped: 0,
            seconds: 0.0,
            held_out: None,
            recipe,
            frozen,
            by_block: false,
        }
    }
}

/// The folder of a run's checkpoints.
pub(crate) fn folder(out: &Path) -> PathBuf {
    out.join("checkpoints")
}

pub(crate) fn path(out: &Path, step: u64) -> PathBuf {
    folder(out).join(format!("step-{step:08}"))
}

/// All complete checkpoints of a run, the oldest first.
pub(crate) fn list(out: &Path) -> Vec<(u64, PathBuf)> {
    let mut found: Vec<(u64, PathBuf)> = folder(out)
        .read_dir()
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let step = path
                .file_name()?
                .to_str()?
                .strip_prefix("step-")?
                .parse()
                .ok()?;
            path.join("training/state.json")
                .is_file()
                .then_some((step, path))
        })
        .collect();
    found.sort();
    found
}

/// The latest model of a run, where the path is that of a run.
pub(crate) fn latest_model(path: &Path) -> Result<Option<PathBuf>> {
    if !folder(path).is_dir() {
        return Ok(None);
    }
    match list(path).pop() {
        Some((_, checkpoint)) => Ok(Some(checkpoint)),
        None => Err(Error::Input(format!(
            "{}: a run without a complete checkpoint; let it train on",
            path.display()
        ))),
    }
}

pub(crate) fn read_state(checkpoint: &Path) -> Result<State> {
    let path = checkpoint.join("training/state.json");
    let text =
        std::fs::read_to_string(&path).map_err(|error| CheckpointError::read(&path, error))?;
    let state: State = serde_json::from_str(&text).map_err(|error| {
        Error::Config(format!("{}: not a training state: {error}", path.display()))
    })?;
    if state.format_version > FORMAT {
        return Err(Error::Config(format!(
            "{}: written in format version {}, this program reads up to {FORMAT}: update it",
            path.display(),
            state.format_version
        )));
    }
    Ok(state)
}

/// The last checkpoint of a run, and the networks whose files in it are those of the next one: they
/// do not learn and are what they were.
pub(crate) struct Before {
    folder: PathBuf,
    unchanged: BTreeSet<&'static str>,
}

impl Before {
    /// `None` where there is no checkpoint yet.
    pub(crate) fn find(out: &Path, learner: &Learner, now: &State) -> Option<Self> {
        let (_, folder) = list(out).pop()?;
        let then = read_state(&folder).ok()?;
        let learning = learner.learning_networks();
        let networks = [
            "unet",
            "temporal",
            "autoencoder",
            "temporal_decoder",
            "text_encoder",
            "image_encoder",
            "conditions",
        ];
        let is_same = |network: &&str| {
            let sums = [&now.frozen, &then.frozen].map(|sums| sums.get(*network));
            !learning.contains(*network) && sums[0] == sums[1]
        };
        Some(Self {
            folder,
            unchanged: networks.into_iter().filter(is_same).collect(),
        })
    }
}

/// Writes a checkpoint: the model, and what `fill` puts beside it. It has its name only when it is
/// complete.
pub(crate) fn write(
    path: &Path,
    (model, before): (&Model, Option<Before>),
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let failed = |path: &Path, error| Error::from(CheckpointError::write(path, error));
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
    let temporary = tempfile::Builder::new()
        .prefix(".vldm-")
        .suffix(".partial")
        .tempdir_in(parent)
        .map_err(|error| failed(parent, error))?;
    let inside = temporary.path().join("checkpoint");
    let settings = SaveSettings {
        dtype: DType::F32,
        max_shard_bytes: None,
    };
    let is_unchanged = |network: &str| {
        before
            .as_ref()
            .is_some_and(|before| before.unchanged.contains(network))
    };
    let unchanged = before.as_ref().map(|before| Unchanged {
        folder: &before.folder,
        is: &is_unchanged,
    });
    save_beside(model, &inside, (&settings, unchanged))?;
    fill(&inside)?;
    std::fs::rename(&inside, path).map_err(|error| failed(path, error))?;
    // The name itself must survive a power cut, too.
    let sync = std::fs::File::open(parent).and_then(|folder| folder.sync_all());
    sync.map_err(|error| failed(parent, error))
}

/// Removes all but the last checkpoints and the best on held-out clips.
pub(crate) fn keep(out: &Path, config: &CheckpointConfig) -> Result<()> {
    let mut all = list(out);
    let older = all.len().saturating_sub(config.keep_last);
    let mut older: Vec<(f64, PathBuf)> = all
        .drain(..older)
        .map(|(_, path)| {
            let loss = read_state(&path).ok().and_then(|state| state.held_out);
            (loss.unwrap_or(f64::INFINITY), path)
        })
        .collect();
    older.sort_by(|a, b| a.0.total_cmp(&b.0));
    let is_best = |index: usize, loss: f64| index < config.keep_best && loss.is_finite();
    for (index, (loss, path)) in older.into_iter().enumerate() {
        if !is_best(index, loss) {
            std::fs::remove_dir_all(&path).map_err(|error| CheckpointError::write(&path, error))?;
        }
    }
    Ok(())
}

/// Writes what going on needs into a checkpoint's folder.
pub(crate) fn write_training(folder: &Path, learner: &Learner, state: &State) -> Result<()> {
    let folder = folder.join("training");
    std::fs::create_dir_all(&folder).map_err(|error| CheckpointError::write(&folder, error))?;
    let (weights, optimizer) = tensors(learner);
    let metadata = BTreeMap::from([("vldm.step".to_owned(), state.step.to_string())]);
    write_lazily(&folder.join("weights.safetensors"), weights, &metadata)?;
    write_lazily(&folder.join("optimizer.safetensors"), optimizer, &metadata)?;
    let path = folder.join("state.json");
    let text = serde_json::to_string_pretty(state)
        .map_err(|error| Error::Config(format!("the training state: {error}")))?;
    write_atomically(&path, |out| {
        std::io::Write::write_all(out, text.as_bytes())
            .map_err(|error| CheckpointError::write(&path, error))
    })?;
    Ok(())
}

type Tensors = Vec<LazyTensor<'static>>;

/// Parameters that learn, and their optimiser's tensors, all with the parameters' shapes.
fn tensors(learner: &Learner) -> (Tensors, Tensors) {
    struct Collect<'a> {
        path: ModulePath,
        slots: &'a BTreeMap<String, Slot>,
        weights: Tensors,
        optimizer: Tensors,
    }

    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if !value.is_require_grad() {
                return;
            }
            let name = self.path.name();
            let value = value.without_autodiff();
            let (shape, dtype) = (value.dims().to_vec(), value.dtype());
            let lazy = |name, values| LazyTensor {
                name,
                shape: shape.clone(),
                dtype,
                values,
            };
            if let Some(slot) = self.slots.get(&name) {
                let mut put = |kind: &str, flat: &Tensor<1>| {
                    let (flat, like) = (flat.clone(), value.clone());
                    let values = move || from_memory_order(flat, &like).into_data();
                    let tensor = lazy(format!("{kind}/{name}"), Box::new(values));
                    self.optimizer.push(tensor);
                };
                put("first", &slot.moments.first);
                put("second", &slot.moments.second);
                if let Some(average) = &slot.average {
                    put("average", average);
                }
            }
            self.weights
                .push(lazy(name, Box::new(move || value.into_data())));
        }
    }

    let mut collect = Collect {
        path: ModulePath::default(),
        slots: &learner.optimizer.slots,
        weights: Vec::new(),
        optimizer: Vec::new(),
    };
    learner.networks.visit(&mut collect);
    (collect.weights, collect.optimizer)
}

/// Puts a checkpoint's parameters and optimiser into a learner that was begun with the same recipe.
pub(crate) fn restore(checkpoint: &Path, learner: &mut Learner, state: &State) -> Result<()> {
    let weights = Weights::open(checkpoint.join("training/weights.safetensors"))?;
    let optimizer = Weights::open(checkpoint.join("training/optimizer.safetensors"))?;
    let mut restore = Restore {
        path: ModulePath::default(),
        weights: &weights,
        optimizer: &optimizer,
        slots: BTreeMap::new(),
        restored: BTreeSet::new(),
        failed: None,
    };
    let networks = std::mem::replace(&mut learner.networks, Networks::none());
    learner.networks = networks.map(&mut restore);
    let Restore {
        slots,
        failed,
        restored,
        ..
    } = restore;
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(surplus) = weights.names().find(|name| !restored.contains(*name)) {
        return Err(Error::Input(format!(
            "{}: {surplus} is not among the parameters that learn: the checkpoint is of another \
             model or recipe",
            weights.path().display()
        )));
    }
    learner.optimizer.slots = slots;
    learner.optimizer.steps = state.optimizer_steps;
    let own = state.discriminator_steps;
    learner.optimizer.discriminator_steps = own.unwrap_or(state.optimizer_steps);
    learner.done = state.step;
    Ok(())
}

struct Restore<'a> {
    path: ModulePath,
    weights: &'a Weights,
    optimizer: &'a Weights,
    slots: BTreeMap<String, Slot>,
    restored: BTreeSet<String>,
    failed: Option<Error>,
}

impl Restore<'_> {
    fn values<const D: usize>(
        &self,
        (weights, name): (&Weights, &str),
        like: &Tensor<D>,
    ) -> Result<Tensor<D>> {
        let shape = weights.shape(name).map(<[usize]>::to_vec);
        if shape.as_deref() != Some(like.dims().as_slice()) {
            return Err(Error::Input(format!(
                "{}: {name} has the shape {shape:?}, the model's is {:?}: the checkpoint is of \
                 another model",
                weights.path().display(),
                like.dims()
            )));
        }
        let data = weights.data(name)?;
        Ok(Tensor::from_data(data, (&like.device(), DType::F32)))
    }

    fn slot<const D: usize>(&self, name: &str, like: &Tensor<D>) -> Result<Option<Slot>> {
        let flat = |kind: &str| {
            let values = self.values((self.optimizer, &format!("{kind}/{name}")), like)?;
            Ok::<_, Error>(memory_order_of(values, like).mul_scalar(1.0))
        };
        if !self.optimizer.contains(&format!("first/{name}")) {
            return Ok(None);
        }
        Ok(Some(Slot {
            moments: Moments {
                first: flat("first")?,
                second: flat("second")?,
            },
            average: match self.optimizer.contains(&format!("average/{name}")) {
                true => Some(flat("average")?),
                false => None,
            },
        }))
    }
}

impl ModuleMapper for Restore<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val();
        if self.failed.is_some() || !value.is_require_grad() {
            return param;
        }
        let name = self.path.name();
        let like = value.without_autodiff();
        let found = self.values((self.weights, &name), &like);
        let slot = found.and_then(|values| Ok((values, self.slot(&name, &like)?)));
        match slot {
            Err(error) => {
                self.failed = Some(error);
                param
            }
            Ok((values, slot)) => {
                self.restored.insert(name.clone());
                self.slots.extend(slot.map(|slot| (name, slot)));
                let flat = memory_order_of(values, &like).mul_scalar(1.0);
                param.map(|_| from_memory_order(flat, &like).autodiff().require_grad())
            }
        }
    }
}

/// Sums of squares of the frozen parameters, by part.
pub(crate) fn frozen_sums(networks: &Networks) -> BTreeMap<String, f64> {
    struct Sum(ModulePath, BTreeMap<String, f64>);

    impl ModuleVisitor for Sum {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.0.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if value.is_require_grad() {
                return;
            }
            let name = self.0.name();
            let part = name.split('.').next().unwrap_or_default().to_owned();
            let flat = memory_order(value.without_autodiff());
            *self.1.entry(part).or_default() += vldm_kernels::sum_squares(flat);
        }
    }

    let mut sum = Sum(ModulePath::default(), BTreeMap::new());
    networks.visit(&mut sum);
    sum.1
}
