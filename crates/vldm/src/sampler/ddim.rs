//! Denoising diffusion implicit models.

use burn::tensor::Tensor;

use super::{Sampler, StepNoise, Stepped, ode};
use crate::Result;
use crate::diffusion::{Denoiser, Step};

/// DDIM with a share `eta` of fresh noise: the paper's sampler for all of its models.
///
/// - Order 1 at `eta = 0`, else none; one network call per step; deterministic at `eta = 0`.
/// - Also known as: DDPM on a sub-sequence of the table at `eta = 1`.
/// - Not: diffusers' DDIM where that leaves its own grid, see
///   [`StepPlan`](crate::diffusion::StepPlan); nothing is clipped or thresholded.
///
/// The published rule, with `ᾱ` at the start and `ᾱ'` at the end of a step, is
///
/// `y' = √ᾱ'·D + √(1 − ᾱ' − s²)·ε + s·z`, `s² = η²·(1 − ᾱ')/(1 − ᾱ)·(1 − ᾱ/ᾱ')`.
///
/// Here `x = y/√ᾱ`, and `ᾱ = 1/(1 + σ²)`. Dividing by `√ᾱ'` gives
///
/// `x' = D + √(σ'² − u²)·ε + u·z`, `u² = s²/ᾱ' = η²·σ'²·(σ² − σ'²)/σ²`,
///
/// and `ε = (x − D)/σ`: a step of Euler's method to `√(σ'² − u²)`, then fresh noise. Nothing is
/// approximated.
///
/// # Source
/// Song et al. 2021 (arXiv:2010.02502), eq. 12 and 16; Blattmann et al. 2023
/// (arXiv:2304.08818), table 6, for steps and η.
#[derive(Debug, Clone, Copy)]
pub struct Ddim {
    eta: f64,
}

impl Ddim {
    /// `eta` from 0 (deterministic) to 1.
    #[must_use]
    pub fn new(eta: f64) -> Self {
        Self { eta }
    }
}

impl Sampler for Ddim {
    fn ode_order(&self) -> Option<u32> {
        (self.eta == 0.0).then_some(1)
    }

    fn step(
        &mut self,
        denoiser: &dyn Denoiser,
        x: Tensor<5>,
        step: Step,
        noise: &mut dyn StepNoise,
    ) -> Result<Stepped> {
        let denoised = denoiser.denoise(x.clone(), step.from)?;
        let x = ode::ancestral(x, denoised.clone(), step, self.eta, noise)?;
        Ok(Stepped { x, denoised })
    }
}
