//! The training loop of the metric networks.

use burn::module::Module;
use burn::tensor::{DType, Tensor};

use crate::error::{Error, Result};
use crate::train::optimizer::{GradientNorms, Optimizer};
use crate::train::parameters::{Reading, learn, plain, take_gradients};
use crate::train::{Decay, OptimizerConfig, Schedule};

/// How a metric network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingSettings {
    /// What worlds, choices and initial values are drawn from.
    pub seed: u64,
    /// Steps of the optimiser.
    pub steps: u64,
    /// Samples per step: clips for features, frames for the detector.
    pub batch: usize,
    /// Windows of clips that are rendered before training begins.
    pub windows: usize,
    /// Windows that are never learnt from, drawn from another seed.
    pub held_out: usize,
    /// Threads that render.
    pub threads: usize,
    /// Step size of AdamW at its highest.
    pub learning_rate: f64,
    /// What is computed in.
    pub dtype: DType,
}

impl TrainingSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the first setting that does not fit.
    pub fn validate(&self) -> Result<()> {
        let counts = [
            ("steps", self.steps > 0),
            ("batch", self.batch > 0),
            ("windows", self.windows > 0),
            ("held_out", self.held_out > 0),
            (
                "learning_rate",
                self.learning_rate.is_finite() && self.learning_rate > 0.0,
            ),
        ];
        match counts.into_iter().find(|(_, fits)| !fits) {
            None => Ok(()),
            Some((name, _)) => Err(Error::Config(format!(
                "training a metric network: {name} must be above 0"
            ))),
        }
    }

    /// What held-out worlds are drawn from.
    pub(crate) fn held_out_seed(&self) -> u64 {
        self.seed ^ 0x6865_6c64_6f75_7421
    }
}

/// How far a training is.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainingEvent {
    /// Windows of clips were rendered: so many of so many.
    Rendered(usize, usize),
    /// A step was taken: its number, counted from 1, and its loss.
    Step(u64, f64),
}

/// What a caller does with [`TrainingEvent`]s; an error ends the training.
pub type Watch<'a> = dyn FnMut(TrainingEvent) -> Result<()> + 'a;

/// A network under training.
#[derive(Debug)]
pub(crate) struct Trainer<M: Module> {
    module: M,
    optimizer: Optimizer,
    config: OptimizerConfig,
    schedule: Schedule,
    dtype: DType,
    done: u64,
}

impl<M: Module> Trainer<M> {
    pub(crate) fn new(module: M, settings: &TrainingSettings) -> Self {
        let warmup = (settings.steps / 20).min(100);
        let decay = Decay::Cosine { end: 0.02 };
        Self {
            module: learn(module, &|_| true, DType::F32),
            optimizer: Optimizer::default(),
            config: OptimizerConfig {
                learning_rate: settings.learning_rate,
                weight_decay: 0.02,
                clip_norm: 5.0,
                ema: 0.995,
                warmup_steps: warmup,
                decay,
                ..OptimizerConfig::default()
            },
            schedule: Schedule {
                warmup,
                decay,
                steps: settings.steps,
            },
            dtype: settings.dtype,
            done: 0,
        }
    }

    /// Moves the parameters one step down a loss, and returns the loss.
    pub(crate) fn step(&mut self, loss: impl FnOnce(&M) -> Tensor<1>) -> Result<f64> {
        let working = Reading::in_type(self.dtype).read(self.module.clone());
        let loss = loss(&working);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let mut gradients = take_gradients(&self.module, &mut loss.backward());
        let norms = GradientNorms::of(&gradients);
        if !(value.is_finite() && norms.are_finite()) {
            return Err(Error::Backend(format!(
                "the loss of step {} is {value}, its gradients' norm {}: nothing can be learnt \
                 from them; try a lower learning rate, or f32",
                self.done + 1,
                norms.networks
            )));
        }
        let rate = self.schedule.factor(self.done);
        let module = self.module.clone();
        self.module = self
            .optimizer
            .step(module, &mut gradients, norms, (&self.config, rate));
        self.done += 1;
        Ok(value)
    }

    /// The network with the averages of its parameters, for looking only.
    pub(crate) fn finish(self) -> M {
        plain(self.optimizer.averaged(self.module), DType::F32)
    }
}
