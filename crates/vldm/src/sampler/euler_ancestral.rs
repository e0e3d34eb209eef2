//! Euler's method with fresh noise.

use burn::tensor::Tensor;

use super::{Sampler, StepNoise, Stepped, ode};
use crate::Result;
use crate::diffusion::{Denoiser, Step};

/// Euler steps to below the wanted noise level, and fresh noise back up to it.
///
/// - No order as a solver of the probability-flow equation; one network call per step; adds
///   noise at every step but the last.
/// - Also known as: "Euler a"; DDIM with η = 1 on another grid
///   ([`StepGrid`](crate::diffusion::StepGrid)): the two rules are the same in the variable
///   used here, as [`Ddim`](super::Ddim) shows.
/// - Not: [`Euler`](super::Euler), nor the stochastic (churning) sampler of Karras et al.
///
/// # Source
/// Named and made popular by k-diffusion; the variances are those of Ho et al. 2020
/// (arXiv:2006.11239), eq. 7.
#[derive(Debug, Clone, Copy, Default)]
pub struct EulerAncestral;

impl Sampler for EulerAncestral {
    fn ode_order(&self) -> Option<u32> {
        None
    }

    fn step(
        &mut self,
        denoiser: &dyn Denoiser,
        x: Tensor<5>,
        step: Step,
        noise: &mut dyn StepNoise,
    ) -> Result<Stepped> {
        let denoised = denoiser.denoise(x.clone(), step.from)?;
        let x = ode::ancestral(x, denoised.clone(), step, 1.0, noise)?;
        Ok(Stepped { x, denoised })
    }
}
