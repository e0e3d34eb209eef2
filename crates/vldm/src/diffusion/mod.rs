//! The mathematics of diffusion, without a network: noise levels, what a network predicts, how
//! its input and output are scaled, guidance, and which levels a sampling run visits.
//!
//! # The two noisy variables
//!
//! The paper (section 2) and the models it builds on write a noisy latent in the
//! *variance-preserving* form `α·x0 + σ·ε` with `α² + σ² = 1`. Karras et al. write
//! `x0 + σ·ε`, the *variance-exploding* form. They differ by the factor `α = 1/√(1 + σ²)` if
//! `σ` is understood, as everywhere in this crate, as the variance-exploding one (the ratio of
//! noise to signal). Samplers and [`Denoiser`]s work on `x = x0 + sigma·noise` only; a network
//! reads `x/√(1 + sigma²)`, which [`Preconditioning`] sees to, and training builds its noisy
//! examples in that form directly ([`Parameterization`]).
//!
//! # Source
//!
//! Blattmann et al. 2023 (arXiv:2304.08818), section 2; Karras et al. 2022 (arXiv:2206.00364),
//! section 2 and table 1.

mod denoiser;
mod guidance;
mod noise_level;
mod noise_level_sampling;
mod noise_schedule;
mod parameterization;
mod preconditioning;
pub(crate) mod residual;
mod step_plan;
mod step_spacing;

pub use denoiser::{Denoiser, Guided};
pub use guidance::Guidance;
pub use noise_level::NoiseLevel;
pub use noise_level_sampling::NoiseLevelSampling;
pub use noise_schedule::{BetaRange, NoiseSchedule, NoiseScheduleConfig};
pub use parameterization::Parameterization;
pub use preconditioning::{Preconditioned, Preconditioning, Scalings};
pub use step_plan::{Step, StepPlan};
pub use step_spacing::{FinalSigma, LevelSpacing, StepGrid, StepSpacing, StepsConfig};
