//! A training run: an iterator over what happens in it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use burn::tensor::{DType, Device};

use super::adversarial::adversarial_pass;
use super::block_pass::block_pass;
use super::cache::{LatentCache, open_source};
use super::checkpoint::{self, Before, State};
use super::draws::Draws;
use super::estimate::training_memory;
use super::evaluate::HeldOut;
use super::learner::{Learner, StepOutcome};
use super::memory::{TrainingMemory, machine_memory};
use super::networks::Networks;
use super::outputs::Outputs;
use super::pass::{Pass, denoising_pass};
use super::prepare::{Drawn, Preparation};
use super::recipe::Recipe;
use super::report::{EvaluationRecord, Record, StepRecord};
use super::sample::{reconstructed_clips, sample_clips};
use super::settings::{ActivationCheckpointing, WorkingType};
use super::sources::class_pictures;
use super::stage::TrainingStage;
use super::whiten::whitened;
use super::{build, model_of, parameters};
use crate::data::{Loader, Order, OrderReport};
use crate::error::{Error, Result};

/// Steps in a row that may be lost to numbers that are not finite.
const MOST_SKIPPED: u32 = 10;
/// Pictures over which the latents of a new autoencoder are measured, at least: light differs from picture
/// to picture.
const SCALE_PICTURES: usize = 128;

/// What happens in a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step was taken, or skipped because it was not finite.
    Step(StepRecord),
    /// The networks were measured on held-out clips.
    Evaluated(EvaluationRecord),
    /// Samples were written.
    Sampled(PathBuf),
    /// A checkpoint was written.
    Saved(PathBuf),
}

/// What a run is about to do.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The stage.
    pub stage: TrainingStage,
    /// Numbers in parameters that learn.
    pub learning: usize,
    /// Numbers in parameters that do not.
    pub frozen: usize,
    /// The expected memory.
    pub memory: TrainingMemory,
    /// Whether the activations of one block at a time are kept.
    pub by_block: bool,
    /// What became of the clips.
    pub data: OrderReport,
    /// Steps done already.
    pub done: u64,
    /// Steps of the whole run.
    pub steps: u64,
}

/// A run. Each call of `next` takes a step or tells what else was done; dropping it loses what
/// came after the last checkpoint, [`Run::save`] keeps it. After an error it ends.
#[derive(Debug)]
pub struct Run {
    recipe: Recipe,
    preparation: Preparation,
    learner: Learner,
    loader: Loader,
    /// DreamBooth's pictures of the class.
    class: Option<Loader>,
    data: OrderReport,
    held_out: Option<HeldOut>,
    /// Clips that a new autoencoder's scale is measured on.
    scale_probe: Option<HeldOut>,
    outputs: Outputs,
    state: State,
    memory: TrainingMemory,
    started: Instant,
    seconds_before: f64,
    skipped_in_a_row: u32,
    pending: VecDeque<Event>,
    over: bool,
}

impl Run {
    /// Begins a run in a new folder.
    ///
    /// # Errors
    /// When `out` already holds a run, or anything the recipe names cannot be had.
    pub fn start(recipe: Recipe, out: &Path, device: &Device) -> Result<Self> {
        if checkpoint::folder(out).exists() {
            return Err(Error::Input(format!(
                "{} already holds a run; go on with it by `--resume`, or name another folder",
                out.display()
            )));
        }
        let mut run = Self::prepare(recipe, out, (device, None))?;
        run.evaluate()?;
        Ok(run)
    }

    /// Goes on with the run in a folder, from its last checkpoint. `changed` permits a recipe that
    /// is not the one the run was begun with.
    ///
    /// # Errors
    /// When there is no complete checkpoint, the recipe is another one, or anything it names
    /// cannot be had.
    pub fn resume(recipe: Recipe, out: &Path, (device, changed): (&Device, bool)) -> Result<Self> {
        let Some((_, path)) = checkpoint::list(out).pop() else {
            return Err(Error::Input(format!(
                "{} holds no complete checkpoint to go on from; start without `--resume`",
                out.display()
            )));
        };
        let state = checkpoint::read_state(&path)?;
        if !changed && state.recipe != recipe.to_toml()? {
            return Err(Error::Input(format!(
                "the recipe is not the one that the run in {} was begun with: {}\nadd \
                 `--changed-recipe` if that is meant",
                out.display(),
                difference(&state.recipe, &recipe.to_toml()?)
            )));
        }
        Self::prepare(recipe, out, (device, Some((path, state))))
    }

    fn prepare(
        recipe: Recipe,
        out: &Path,
        (device, resumed): (&Device, Option<(PathBuf, State)>),
    ) -> Result<Self> {
        let (networks, mut preparation) = build::for_recipe(&recipe, device)?;
        let cache = LatentCache::of_recipe(&recipe, &preparation.preset, &networks)?.map(Arc::new);
        preparation.prompts = cache.clone().filter(|cache| cache.has_prompts());
        let settings = (recipe.optimizer, recipe.schedule());
        let mut learner = preparation.learner(networks, settings);
        if learner.learning() == 0 {
            return Err(Error::Config(format!(
                "no parameter begins with any of {:?}: nothing would learn",
                recipe.learns(&preparation.preset)
            )));
        }
        let memory = training_memory(&recipe, &preparation.preset, learner.networks())?;
        let then = resumed.as_ref().map(|(_, state)| state.by_block);
        let (mut state, outputs) = begin(&recipe, out, (&mut learner, resumed))?;
        state.by_block = by_block(recipe.activation_checkpointing, &memory, then);
        let order = recipe.order(&preparation.preset)?;
        let open = |config| open_source(cache.as_ref(), config, &order);
        let source = open(&recipe.data)?;
        let order = Order::new(&*source, &order)?;
        let data = order.report().clone();
        let settings = &recipe.loader;
        let loader = Loader::start(Arc::clone(&source), Arc::new(order), state.batch, settings)?;
        let (networks, from) = (learner.networks(), state.batch);
        let class = class_pictures(&recipe, &preparation, (networks, out, from))?;
        let scale_probe = match recipe.stage {
            TrainingStage::Autoencoder => Some(HeldOut::read(
                source,
                SCALE_PICTURES,
                (&recipe, &preparation),
            )?),
            _ => None,
        };
        let held_out = match (&recipe.held_out, recipe.evaluation.every) {
            (Some(config), every) if every > 0 => {
                Some(HeldOut::read(open(config)?, 0, (&recipe, &preparation))?)
            }
            _ => None,
        };
        Ok(Self {
            seconds_before: state.seconds,
            recipe,
            preparation,
            learner,
            loader,
            class,
            data,
            held_out,
            scale_probe,
            outputs,
            state,
            memory,
            started: Instant::now(),
            skipped_in_a_row: 0,
            pending: VecDeque::new(),
            over: false,
        })
    }

    /// What the run is about to do.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let learning = self.learner.learning();
        let all = crate::checkpoint::count_parameters(self.learner.networks());
        Summary {
            stage: self.recipe.stage,
            learning,
            frozen: all - learning,
            memory: self.memory,
            by_block: self.state.by_block,
            data: self.data.clone(),
            done: self.state.step,
            steps: self.recipe.steps,
        }
    }

    /// Clips that could not be read so far, and how often.
    #[must_use]
    pub fn broken(&self) -> (&[crate::data::Broken], usize) {
        (self.loader.broken(), self.loader.failures())
    }

    /// The networks with averaged parameters, for looking only.
    fn averaged(&self) -> Networks {
        self.learner.averaged(dtype(&self.recipe))
    }

    /// Writes a checkpoint of where the run is now, unless there is one already.
    ///
    /// # Errors
    /// When the disk refuses; earlier checkpoints stay as they are.
    pub fn save(&mut self) -> Result<PathBuf> {
        let out = self.outputs.folder().to_path_buf();
        let path = checkpoint::path(&out, self.state.step);
        if path.is_dir() {
            return Ok(path);
        }
        self.state.seconds = self.seconds();
        if checkpoint::frozen_sums(self.learner.networks()) != self.state.frozen {
            return Err(Error::Backend(
                "a parameter that does not learn has changed: this is a fault of the program"
                    .into(),
            ));
        }
        self.outputs.sync()?;
        let mut preset = self.preparation.preset.clone();
        let mut networks = self.learner.to_save();
        self.finish_latents(&mut preset, &mut networks)?;
        let model = model_of(networks, &preset, self.preparation.tokenizer.clone())?;
        let (learner, state) = (&self.learner, &self.state);
        let before = Before::find(&out, learner, state);
        checkpoint::write(&path, (&model, before), |folder| {
            if let Some(adapters) = learner.adapters() {
                adapters.save(&folder.join("lora.safetensors"))?;
            }
            checkpoint::write_training(folder, learner, state)
        })?;
        checkpoint::keep(&out, &self.recipe.checkpoints)?;
        self.outputs.draw(self.recipe.stage.name())?;
        Ok(path)
    }

    /// A new autoencoder's latents are whitened, where the recipe says so, and scaled to a deviation of
    /// one, as diffusion expects.
    fn finish_latents(
        &self,
        preset: &mut crate::preset::Preset,
        networks: &mut Networks,
    ) -> Result<()> {
        let (TrainingStage::Autoencoder, Some(config)) =
            (self.recipe.stage, &mut preset.autoencoder)
        else {
            return Ok(());
        };
        if let Some(probe) = &self.scale_probe {
            if self.recipe.whiten {
                let moments = probe.latent_moments(&self.preparation, networks)?;
                let plain = networks.autoencoder.take();
                networks.autoencoder = plain.map(|plain| whitened(plain, &moments)).transpose()?;
            }
            config.scale_factor = probe.latent_scale(&self.preparation, networks)?;
        }
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    fn step(&mut self) -> Result<()> {
        let begin = Instant::now();
        let mut waited = 0.0;
        let mut examples = 0;
        let mut passes: Vec<Pass> = Vec::new();
        let accumulate = self.recipe.batch.accumulate;
        for _ in 0..accumulate {
            let mut loaded = self.loader.next_batch()?;
            waited += loaded.waited.as_secs_f64();
            if let Some(class) = &mut self.class {
                let class = class.next_batch()?;
                waited += class.waited.as_secs_f64();
                loaded.samples.extend(class.samples);
            }
            examples += loaded.samples.len();
            let first = loaded.number * loaded.samples.len() as u64;
            let drawn: Vec<Drawn> = loaded
                .samples
                .iter()
                .enumerate()
                .map(|(slot, sample)| {
                    (
                        sample,
                        Draws::training(self.recipe.seed, first + slot as u64),
                    )
                })
                .collect();
            let mut pass = self.pass(&drawn, 1.0 / accumulate as f64)?;
            if let Some(first) = passes.first_mut() {
                // One sum of gradients, however many passes there are.
                let gradients = std::mem::take(&mut pass.gradients);
                parameters::accumulate(&mut first.gradients, gradients);
            }
            passes.push(pass);
            self.state.batch = loaded.number + 1;
        }
        let outcome = self.learner.step(passes);
        self.state.step = self.learner.steps();
        self.state.held_out = None; // until it is measured again
        self.state.optimizer_steps = self.learner.optimizer.steps;
        self.state.discriminator_steps = Some(self.learner.optimizer.discriminator_steps);
        let took = begin.elapsed().as_secs_f64();
        let record = StepRecord {
            step: self.state.step,
            loss: outcome.loss,
            learning_rate: outcome.learning_rate,
            gradient_norm: outcome.gradient_norm,
            examples_per_second: examples as f64 / took,
            waited_share: (waited / took).min(1.0),
            skipped: !outcome.applied,
            parts: outcome.parts.clone(),
            seconds: self.seconds(),
        };
        self.outputs
            .record(&Record::Step(record.clone()), unix_seconds())?;
        self.pending.push_back(Event::Step(record));
        self.judge(&outcome)
    }

    fn pass(&self, drawn: &[Drawn], share: f64) -> Result<Pass> {
        let networks = self.learner.networks();
        let dtype = dtype(&self.recipe);
        let Some(stage) = self.recipe.stage.adversarial() else {
            let example = self.preparation.example(networks, drawn, None)?;
            let preconditioning = self.preparation.diffusion()?;
            let pass = match self.state.by_block {
                true => block_pass,
                false => denoising_pass,
            };
            return pass(networks, preconditioning, example, (dtype, share));
        };
        let playing = self.state.step >= self.recipe.adversarial.adversarial_after;
        let clips = self.preparation.clips(drawn)?;
        adversarial_pass(
            networks,
            clips,
            (stage, &self.recipe.adversarial),
            (dtype, share, playing),
        )
    }

    /// Counts steps that are not finite, and stops at a run of them, with everything saved.
    fn judge(&mut self, outcome: &StepOutcome) -> Result<()> {
        if outcome.applied {
            self.skipped_in_a_row = 0;
            return Ok(());
        }
        self.state.skipped += 1;
        self.skipped_in_a_row += 1;
        if self.skipped_in_a_row < MOST_SKIPPED {
            return Ok(());
        }
        let saved = self.save()?;
        Err(Error::Backend(format!(
            "the loss or its gradient was not finite in {MOST_SKIPPED} steps in a row, the last \
             with loss {} and gradient norm {}; the state is in {}. Lower optimizer.learning_rate, \
             or use dtype = \"f32\"",
            outcome.loss,
            outcome.gradient_norm,
            saved.display()
        )))
    }

    /// Everything that is due after a step.
    fn due(&mut self) -> Result<()> {
        let (step, last) = (self.state.step, self.state.step == self.recipe.steps);
        let is_due = |every: u64| every > 0 && (step.is_multiple_of(every) || last);
        if is_due(self.recipe.evaluation.every) {
            self.evaluate()?;
        }
        if is_due(self.recipe.samples.every) {
            self.sample()?;
        }
        if is_due(self.recipe.checkpoints.every) {
            let saved = self.save()?;
            self.pending.push_back(Event::Saved(saved));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<()> {
        let Some(held_out) = &self.held_out else {
            return Ok(());
        };
        let networks = self.averaged();
        let record = held_out.measure(&self.preparation, &networks, self.state.step)?;
        self.state.held_out = Some(record.mean);
        self.outputs
            .record(&Record::Evaluation(record.clone()), unix_seconds())?;
        self.pending.push_back(Event::Evaluated(record));
        Ok(())
    }

    fn sample(&mut self) -> Result<()> {
        let Some(held_out) = &self.held_out else {
            return Ok(());
        };
        let networks = self.averaged();
        let samples = self.recipe.samples;
        let mut clips = Vec::new();
        for drawn in held_out.first(samples.count) {
            let drawn = [drawn];
            clips.extend(match self.recipe.stage.adversarial() {
                Some(stage) => reconstructed_clips(&self.preparation, &networks, (&drawn, stage))?,
                None => sample_clips(&self.preparation, &networks, &drawn, samples.steps)?,
            });
        }
        let path = self
            .outputs
            .samples(self.state.step, &clips, unix_seconds())?;
        self.pending.push_back(Event::Sampled(path));
        Ok(())
    }
}

impl Iterator for Run {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(event) = self.pending.pop_front() {
            return Some(Ok(event));
        }
        if self.over || self.state.step >= self.recipe.steps {
            return None;
        }
        let done = self.step().and_then(|()| self.due());
        match done {
            Err(error) => {
                self.over = true;
                Some(Err(error))
            }
            Ok(()) => self.pending.pop_front().map(Ok),
        }
    }
}

/// Whether passes keep the activations of one block at a time; `then` is what a run that goes on did
/// before. What was chosen once stays: it decides the last bits of gradients.
fn by_block(choice: ActivationCheckpointing, memory: &TrainingMemory, then: Option<bool>) -> bool {
    match choice {
        ActivationCheckpointing::Off => false,
        ActivationCheckpointing::On => true,
        ActivationCheckpointing::Auto => {
            then.unwrap_or_else(|| machine_memory().is_some_and(|most| memory.peak(false) > most))
        }
    }
}

/// The state and the files of a run that begins, or goes on from a checkpoint.
fn begin(
    recipe: &Recipe,
    out: &Path,
    (learner, resumed): (&mut Learner, Option<(PathBuf, State)>),
) -> Result<(State, Outputs)> {
    let frozen = checkpoint::frozen_sums(learner.networks());
    let text = recipe.to_toml()?;
    let Some((path, mut state)) = resumed else {
        let outputs = Outputs::create(out, &text)?;
        return Ok((State::new(text, frozen), outputs));
    };
    if state.frozen != frozen {
        return Err(Error::Input(format!(
            "the parts that do not learn are not those of the run in {}: put back what [start] \
             names",
            out.display()
        )));
    }
    checkpoint::restore(&path, learner, &state)?;
    state.recipe = text;
    let outputs = Outputs::resume(out, state.step)?;
    Ok((state, outputs))
}

pub(crate) fn dtype(recipe: &Recipe) -> DType {
    match recipe.dtype {
        WorkingType::F32 => DType::F32,
        WorkingType::Bf16 => DType::BF16,
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// The first line in which two recipes differ.
fn difference(before: &str, now: &str) -> String {
    let (mut before, mut now) = (before.lines(), now.lines());
    let show = |line: Option<&str>| line.map_or("nothing".to_owned(), |line| format!("`{line}`"));
    loop {
        let lines = (before.next(), now.next());
        if lines.0 != lines.1 || lines == (None, None) {
            return format!("{} became {}", show(lines.0), show(lines.1));
        }
    }
}
