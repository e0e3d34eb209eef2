//! AdamW with an average of the parameters, its state kept by the parameters' names.
//!
//! # Source
//! Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2; the global norm as PyTorch's
//! `clip_grad_norm_`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};
use vldm_kernels::{
    AdamW, AdamWStep, Ema, Moments, adamw, from_memory_order, memory_order, sum_squares,
};

use super::parameters::NamedGradients;
use crate::checkpoint::ModulePath;
use crate::error::{Error, Result};

/// The optimiser's settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Step size.
    pub learning_rate: f64,
    /// Factor on the learning rate of the mixers' weights α, which have no weight decay.
    pub alpha_rate: f64,
    /// Factor on the learning rate of a discriminator.
    pub discriminator_rate: f64,
    /// Decay of the mean of the gradients and of their squares, in [0, 1).
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Pull of the parameters towards zero.
    pub weight_decay: f64,
    /// The global norm that gradients are cut to; 0 leaves them alone.
    pub clip_norm: f64,
    /// Largest weight of the old average; 0 keeps no average.
    pub ema: f64,
    /// Steps until the learning rate is reached.
    pub warmup_steps: u64,
    /// What it does after that.
    pub decay: super::Decay,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-4,
            alpha_rate: 10.0,
            discriminator_rate: 1.0,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.01,
            clip_norm: 1.0,
            ema: 0.9999,
            warmup_steps: 0,
            decay: super::Decay::Constant {},
        }
    }
}

impl OptimizerConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<()> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let share = |value: f64| (0.0..1.0).contains(&value);
        let checks = [
            ("learning_rate", positive(self.learning_rate), "above 0"),
            ("alpha_rate", positive(self.alpha_rate), "above 0"),
            (
                "discriminator_rate",
                positive(self.discriminator_rate),
                "above 0",
            ),
            ("betas", self.betas.into_iter().all(share), "from 0 up to 1"),
            ("epsilon", positive(self.epsilon), "above 0"),
            ("weight_decay", self.weight_decay >= 0.0, "0 or above"),
            ("clip_norm", self.clip_norm >= 0.0, "0 or above"),
            ("ema", share(self.ema), "from 0 up to 1"),
        ];
        match checks.into_iter().find(|(_, fits, _)| !fits) {
            None => Ok(()),
            Some((field, _, expected)) => Err(Error::Config(format!(
                "optimizer.{field} does not fit, expected {expected}"
            ))),
        }
    }
}

/// What one parameter's optimiser remembers.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) moments: Moments,
    /// The average of the parameter; `None` where none is kept.
    pub(crate) average: Option<Tensor<1>>,
}

/// The optimiser's state: slots by the parameters' names, made when a parameter first moves.
#[derive(Debug, Default)]
pub(crate) struct Optimizer {
    pub(crate) slots: BTreeMap<String, Slot>,
    /// Steps of the networks.
    pub(crate) steps: u64,
    /// Steps of the discriminator, which may join late.
    pub(crate) discriminator_steps: u64,
}

/// The norms of the gradients of the networks and of the discriminator, before clipping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GradientNorms {
    pub(crate) networks: f64,
    pub(crate) discriminator: f64,
}

impl GradientNorms {
    pub(crate) fn of(gradients: &NamedGradients) -> Self {
        let norm = |discriminator: bool| {
            let chosen = gradients
                .iter()
                .filter(|(name, _)| is_discriminator(name) == discriminator);
            let squares: f64 = chosen
                .map(|(_, gradient)| sum_squares(gradient.clone()))
                .sum();
            squares.sqrt()
        };
        Self {
            networks: norm(false),
            discriminator: norm(true),
        }
    }

    pub(crate) fn are_finite(&self) -> bool {
        self.networks.is_finite() && self.discriminator.is_finite()
    }
}

fn is_discriminator(parameter: &str) -> bool {
    parameter.starts_with("discriminator.")
}

impl Optimizer {
    /// Moves every parameter that has a gradient one step; `rate` is the schedule's factor.
    pub(crate) fn step<M: Module>(
        &mut self,
        module: M,
        gradients: &mut NamedGradients,
        norms: GradientNorms,
        (config, rate): (&OptimizerConfig, f64),
    ) -> M {
        self.steps += 1;
        if gradients.keys().any(|name| is_discriminator(name)) {
            self.discriminator_steps += 1;
        }
        module.map(&mut Update {
            path: ModulePath::default(),
            optimizer: self,
            gradients,
            norms,
            config,
            rate,
        })
    }

    /// Steps that a parameter has taken.
    fn steps_of(&self, parameter: &str) -> u64 {
        match is_discriminator(parameter) {
            true => self.discriminator_steps,
            false => self.steps,
        }
    }

    /// The same module with the averages in place of the parameters that have one.
    pub(crate) fn averaged<M: Module>(&self, module: M) -> M {
        module.map(&mut Averaged(ModulePath::default(), self))
    }
}

/// min(`limit`, (1 + n)/(10 + n)) after n steps: a young average forgets its start.
fn ema_decay(limit: f64, steps: u64) -> f64 {
    let steps = steps as f64;
    limit.min((1.0 + steps) / (10.0 + steps))
}

struct Update<'a> {
    path: ModulePath,
    optimizer: &'a mut Optimizer,
    gradients: &'a mut NamedGradients,
    norms: GradientNorms,
    config: &'a OptimizerConfig,
    rate: f64,
}

impl Update<'_> {
    fn settings(&self, name: &str) -> AdamWStep {
        let config = self.config;
        let is_alpha = name.ends_with("mix_factor");
        let (norm, part) = match is_discriminator(name) {
            true => (self.norms.discriminator, config.discriminator_rate),
            false => (self.norms.networks, 1.0),
        };
        let factor = part * if is_alpha { config.alpha_rate } else { 1.0 };
        let clip = match config.clip_norm {
            0.0 => 1.0,
            limit => (limit / (norm + 1e-6)).min(1.0),
        };
        AdamWStep {
            config: AdamW {
                learning_rate: config.learning_rate * self.rate * factor,
                beta1: config.betas[0],
                beta2: config.betas[1],
                epsilon: config.epsilon,
                weight_decay: if is_alpha { 0.0 } else { config.weight_decay },
            },
            number: self.optimizer.steps_of(name),
            gradient_scale: clip,
        }
    }
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let Some(gradient) = self.gradients.remove(&name) else {
            return param.map(fresh_leaf);
        };
        let step = self.settings(&name);
        let ema = self.config.ema;
        let decay = ema_decay(ema, step.number);
        let slots = &mut self.optimizer.slots;
        param.map(|values| {
            let values = values.without_autodiff();
            let slot = slots.entry(name).or_insert_with(|| Slot {
                moments: Moments::zeros_like(&gradient),
                // A copy of its own: the kernel writes in place.
                average: (ema > 0.0).then(|| memory_order(values.clone()).mul_scalar(1.0)),
            });
            let gradient = from_memory_order(gradient, &values);
            let mut average = slot.average.take().map(|average| Ema { average, decay });
            let values = adamw(values, gradient, &mut slot.moments, average.as_mut(), step);
            slot.average = average.map(|ema| ema.average);
            values.autodiff().require_grad()
        })
    }
}

/// The same values as a new leaf, where they learn. What a pass did not use has a cast of its own on the
/// old one all the same, where no backward pass comes by to clear it away: on a leaf that lives on, they
/// would gather step by step.
fn fresh_leaf<const D: usize>(values: Tensor<D>) -> Tensor<D> {
    match values.is_require_grad() {
        true => values.without_autodiff().autodiff().require_grad(),
        false => values,
    }
}

struct Averaged<'a>(ModulePath, &'a Optimizer);

impl ModuleMapper for Averaged<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.0.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let slot = self.1.slots.get(&self.0.name());
        match slot.and_then(|slot| slot.average.clone()) {
            None => param,
            Some(average) => param.map(|values| {
                let values = values.without_autodiff();
                debug_assert_eq!(values.dtype(), DType::F32);
                from_memory_order(average, &values)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::{Init, Linear};

    #[derive(Module, Debug)]
    struct Two {
        unet: Linear,
        discriminator: Linear,
    }

    fn values(linear: &Linear) -> Vec<f32> {
        let weight = linear.weight.val().without_autodiff();
        weight.into_data().try_to_vec().expect("f32")
    }

    #[test]
    fn a_discriminator_that_joins_late_takes_a_first_step_then() {
        let device = Device::flex();
        let init = Init::new(&device, 1);
        let mut two = Two {
            unet: Linear::new(2, 2, false, &init),
            discriminator: Linear::new(2, 2, false, &init),
        };
        let config = OptimizerConfig {
            learning_rate: 1e-2,
            weight_decay: 0.0,
            clip_norm: 0.0,
            ..OptimizerConfig::default()
        };
        let mut optimizer = Optimizer::default();
        let mut step = |two: Two, names: &[&str]| {
            let ones = || Tensor::<1>::ones([4], &device);
            let mut gradients = names
                .iter()
                .map(|name| ((*name).to_owned(), ones()))
                .collect();
            let norms = GradientNorms::of(&gradients);
            optimizer.step(two, &mut gradients, norms, (&config, 1.0))
        };
        for _ in 0..5 {
            two = step(two, &["unet.weight"]);
        }
        let before = values(&two.discriminator);
        two = step(two, &["unet.weight", "discriminator.weight"]);
        // Adam's first step is the learning rate, whatever the gradient.
        for (before, after) in before.iter().zip(values(&two.discriminator)) {
            assert!((before - after - 1e-2).abs() < 1e-5, "{before} to {after}");
        }
    }
}
