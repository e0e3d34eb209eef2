//! Euler's method.

use burn::tensor::Tensor;

use super::{Sampler, StepNoise, Stepped, ode};
use crate::Result;
use crate::diffusion::{Denoiser, Step};

/// Euler's method on the probability-flow equation.
///
/// - Order 1; one network call per step; deterministic.
/// - Also known as: DDIM with η = 0 (on another grid, see
///   [`StepGrid`](crate::diffusion::StepGrid)), DPM-Solver-1; what Stable Video Diffusion uses.
/// - Not: [`EulerAncestral`](super::EulerAncestral), which adds noise. The churn of Karras et
///   al. is left out.
///
/// # Source
/// Karras et al. 2022 (arXiv:2206.00364), algorithm 1 with S_churn = 0 and without its
/// second-order correction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Euler;

impl Sampler for Euler {
    fn ode_order(&self) -> Option<u32> {
        Some(1)
    }

    fn step(
        &mut self,
        denoiser: &dyn Denoiser,
        x: Tensor<5>,
        step: Step,
        _noise: &mut dyn StepNoise,
    ) -> Result<Stepped> {
        let denoised = denoiser.denoise(x.clone(), step.from)?;
        let x = ode::line(x, denoised.clone(), step.ratio());
        Ok(Stepped { x, denoised })
    }
}
