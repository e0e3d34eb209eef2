//! Stepping rules: how noisy latents become clean ones, given a [`Denoiser`].
//!
//! A [`Sampler`] moves latents over one interval of noise levels; [`Sampling`] runs it over a
//! [`StepPlan`] and yields one [`Progress`] item per step. Samplers know neither networks nor
//! tables: all of them solve, in the variable `x = x0 + sigma·noise`,
//!
//! `dx/dsigma = (x − D(x, sigma))/sigma`
//!
//! (Karras et al., eq. 4 and 3), some of them adding fresh noise on the way. That the methods
//! defined in the variance-preserving variable (DDIM, DPM-Solver++) are the same methods in
//! this one is shown in their files and tested against diffusers in `tests/sampler_golden.rs`;
//! the laws that every sampler obeys are in `tests/sampler_laws.rs`, and run over
//! [`all_samplers`].
//!
//! # Source
//!
//! Karras et al. 2022 (arXiv:2206.00364), section 3.

mod ddim;
mod dpmpp_2m;
mod euler;
mod euler_ancestral;
mod heun;
mod ode;
mod run;
mod step_noise;

use std::fmt::Debug;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use ddim::Ddim;
pub use dpmpp_2m::Dpmpp2m;
pub use euler::Euler;
pub use euler_ancestral::EulerAncestral;
pub use heun::Heun;
pub use run::{Progress, Sampling, SamplingState};
pub use step_noise::{GivenNoise, NoNoise, SampleNoise, SampleSeed, StepNoise};

use crate::diffusion::{Denoiser, NoiseSchedule, Step, StepGrid, StepPlan, StepsConfig};
use crate::{Error, Result};

/// A stepping rule, with the private state of one run.
pub trait Sampler: Debug {
    /// Global order on the probability-flow equation, or `None` if the sampler adds noise.
    /// Checked by `tests/sampler_laws.rs`.
    fn ode_order(&self) -> Option<u32>;

    /// Moves `x` from `step.from` to `step.to`. At `step.to.sigma = 0` the result is exactly
    /// the last clean estimate.
    ///
    /// # Shapes
    /// - `x`: `[batch, frames, channels, height, width]`
    /// - returns: two of the shape of `x`
    ///
    /// # Errors
    /// What the denoiser or the source of noise reports.
    fn step(
        &mut self,
        denoiser: &dyn Denoiser,
        x: Tensor<5>,
        step: Step,
        noise: &mut dyn StepNoise,
    ) -> Result<Stepped>;
}

/// What a step results in.
#[derive(Debug, Clone)]
pub struct Stepped {
    /// The noisy latents at the end of the step.
    pub x: Tensor<5>,
    /// The estimate of the clean latents at the start of the step: what a preview shows.
    pub denoised: Tensor<5>,
}

/// Which sampler, with its settings. (Braces without fields make serde refuse surplus keys.)
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SamplerConfig {
    /// [`Ddim`].
    Ddim {
        /// Share of fresh noise, from 0 (deterministic) to 1 (ancestral).
        #[serde(default)]
        eta: f64,
    },
    /// [`Euler`].
    Euler {},
    /// [`EulerAncestral`].
    EulerAncestral {},
    /// [`Heun`].
    Heun {},
    /// [`Dpmpp2m`].
    #[serde(rename = "dpmpp_2m")]
    Dpmpp2m {},
}

/// Every sampler, in every kind: what the laws are tested on and what surfaces list.
#[must_use]
pub fn all_samplers() -> Vec<SamplerConfig> {
    vec![
        SamplerConfig::Ddim { eta: 0.0 },
        SamplerConfig::Ddim { eta: 1.0 },
        SamplerConfig::Euler {},
        SamplerConfig::EulerAncestral {},
        SamplerConfig::Heun {},
        SamplerConfig::Dpmpp2m {},
    ]
}

impl SamplerConfig {
    /// The sampler of a name, with default settings.
    ///
    /// # Errors
    /// [`Error::Input`] naming the known samplers.
    pub fn from_name(name: &str) -> Result<Self> {
        all_samplers()
            .into_iter()
            .find(|sampler| sampler.name() == name)
            .ok_or_else(|| {
                let mut names: Vec<&str> = all_samplers().iter().map(Self::name).collect();
                names.dedup();
                Error::Input(format!(
                    "unknown sampler \"{name}\": expected one of {}",
                    names.join(", ")
                ))
            })
    }

    /// The name, as in configurations and on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ddim { .. } => "ddim",
            Self::Euler {} => "euler",
            Self::EulerAncestral {} => "euler_ancestral",
            Self::Heun {} => "heun",
            Self::Dpmpp2m {} => "dpmpp_2m",
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] if eta lies outside [0, 1].
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Ddim { eta } if !(0.0..=1.0).contains(&eta) => Err(Error::Config(format!(
                "eta must lie between 0 and 1, got {eta}"
            ))),
            _ => Ok(()),
        }
    }

    /// A fresh sampler for one run.
    #[must_use]
    pub fn build(&self) -> Box<dyn Sampler> {
        match *self {
            Self::Ddim { eta } => Box::new(Ddim::new(eta)),
            Self::Euler {} => Box::new(Euler),
            Self::EulerAncestral {} => Box::new(EulerAncestral),
            Self::Heun {} => Box::new(Heun),
            Self::Dpmpp2m {} => Box::new(Dpmpp2m::default()),
        }
    }

    /// The grid that the sampler's reference lays its steps on.
    #[must_use]
    pub fn grid(&self) -> StepGrid {
        match self {
            Self::Ddim { .. } => StepGrid::Whole,
            Self::Euler {} | Self::EulerAncestral {} | Self::Heun {} => StepGrid::Fractional,
            Self::Dpmpp2m {} => StepGrid::OpenEnded,
        }
    }

    /// Plans a run of this sampler on its own grid.
    ///
    /// # Errors
    /// Those of [`SamplerConfig::validate`] and [`StepPlan::new`].
    pub fn plan(
        &self,
        schedule: &NoiseSchedule,
        config: &StepsConfig,
        steps: usize,
    ) -> Result<StepPlan> {
        self.validate()?;
        StepPlan::new(schedule, config, self.grid(), steps)
    }

    /// Network calls of a run of `steps` steps that ends at zero noise.
    #[must_use]
    pub fn network_calls(&self, steps: usize) -> usize {
        match self {
            Self::Heun {} => (2 * steps).saturating_sub(1),
            _ => steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for sampler in all_samplers() {
            let found = SamplerConfig::from_name(sampler.name()).expect("known");
            assert_eq!(found.name(), sampler.name());
            let json = serde_json::to_value(sampler).expect("serialises");
            assert_eq!(json["type"], sampler.name());
            assert_eq!(
                serde_json::from_value::<SamplerConfig>(json).expect("parses"),
                sampler
            );
        }
        let message = SamplerConfig::from_name("plms")
            .expect_err("unknown")
            .to_string();
        assert!(
            message.contains("ddim, euler, euler_ancestral, heun, dpmpp_2m"),
            "{message}"
        );
    }

    #[test]
    fn surplus_keys_and_wrong_settings_are_refused() {
        let check = |text: &str| serde_json::from_str::<SamplerConfig>(text).is_ok();
        assert!(!check(r#"{"type": "euler", "eta": 1}"#));
        assert!(!check(r#"{"type": "ddim", "order": 1}"#));
        assert!(SamplerConfig::Ddim { eta: 1.5 }.validate().is_err());
        assert!(SamplerConfig::Ddim { eta: f64::NAN }.validate().is_err());
    }
}
