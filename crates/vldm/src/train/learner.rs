//! Networks that learn, and the optimiser that moves them.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::DType;

use super::lora::Lora;
use super::networks::Networks;
use super::optimizer::{GradientNorms, Optimizer, OptimizerConfig};
use super::parameters::{accumulate, count_learning, learn_with, learning_networks};
use super::pass::Pass;
use super::schedule::Schedule;

/// Networks under training.
#[derive(Debug)]
pub struct Learner {
    pub(crate) networks: Networks,
    pub(crate) optimizer: Optimizer,
    config: OptimizerConfig,
    schedule: Schedule,
    /// Steps asked for, whether or not they were taken: the place in the schedule.
    pub(crate) done: u64,
}

/// What one step of the optimiser did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutcome {
    /// Mean loss of the step's batches.
    pub loss: f64,
    /// Its parts by name.
    pub parts: BTreeMap<String, f64>,
    /// Norm of all gradients before clipping.
    pub gradient_norm: f64,
    /// The rate of the step.
    pub learning_rate: f64,
    /// Whether the parameters moved: not when the loss or a gradient is not finite.
    pub applied: bool,
}

impl Learner {
    /// Parameters that `learns` chooses by name are trained in f32; the others never change and
    /// are kept in `dtype`.
    pub fn new(
        networks: Networks,
        learns: &dyn Fn(&str) -> bool,
        dtype: DType,
        (config, schedule): (OptimizerConfig, Schedule),
    ) -> Self {
        let lora = networks.lora.clone();
        Self {
            networks: learn_with(networks, learns, dtype, lora.as_ref()),
            optimizer: Optimizer::default(),
            config,
            schedule,
            done: 0,
        }
    }

    /// The networks as they are now, under training.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// The networks with the averages of the parameters, for looking only.
    #[must_use]
    pub fn averaged(&self, dtype: DType) -> Networks {
        self.optimizer.averaged(self.networks.clone()).frozen(dtype)
    }

    /// The networks as they are saved: averaged, adapters added, what is frozen in its own data type.
    pub(crate) fn to_save(&self) -> Networks {
        self.optimizer.averaged(self.networks.clone()).settled()
    }

    /// The averaged adapters alone, where there are any.
    pub(crate) fn adapters(&self) -> Option<Lora> {
        let lora = self.networks.lora.clone()?;
        let only = Networks {
            lora: Some(lora),
            ..Networks::none()
        };
        self.optimizer.averaged(only).lora
    }

    /// The networks of which anything learns, or has an adapter that does; by the first part of the
    /// parameters' names.
    pub(crate) fn learning_networks(&self) -> BTreeSet<String> {
        learning_networks(&self.networks)
    }

    /// The learning rate that the schedule scales.
    pub(crate) fn learning_rate(&self) -> f64 {
        self.config.learning_rate
    }

    /// Sets the learning rate that the schedule scales.
    pub(crate) fn set_learning_rate(&mut self, rate: f64) {
        self.config.learning_rate = rate;
    }

    /// How many numbers learn.
    #[must_use]
    pub fn learning(&self) -> usize {
        count_learning(&self.networks)
    }

    /// The steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.done
    }

    /// Moves the parameters along the gradients of the passes of one step, each of which has its
    /// share of it. A step that is not finite is not taken; the schedule goes on all the same.
    pub fn step(&mut self, passes: Vec<Pass>) -> StepOutcome {
        let mut pass = Pass::mean(passes);
        let norms = GradientNorms::of(&pass.gradients);
        let factor = self.schedule.factor(self.done);
        let applied = pass.loss.is_finite() && norms.are_finite();
        if applied {
            let settings = (&self.config, factor);
            // The optimiser writes where the parameters lie, if nobody else holds them.
            let networks = std::mem::replace(&mut self.networks, Networks::none());
            self.networks = self
                .optimizer
                .step(networks, &mut pass.gradients, norms, settings);
        }
        self.done += 1;
        StepOutcome {
            loss: pass.loss,
            parts: pass.parts,
            gradient_norm: norms.networks.hypot(norms.discriminator),
            learning_rate: self.config.learning_rate * factor,
            applied,
        }
    }
}

impl Pass {
    /// One pass of several whose gradients are already their shares.
    fn mean(passes: Vec<Pass>) -> Pass {
        let count = passes.len().max(1) as f64;
        let mut mean = Pass::default();
        for pass in passes {
            mean.loss += pass.loss / count;
            for (name, value) in pass.parts {
                *mean.parts.entry(name).or_default() += value / count;
            }
            accumulate(&mut mean.gradients, pass.gradients);
        }
        mean
    }
}
