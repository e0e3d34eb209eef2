//! Heun's method.

use burn::tensor::Tensor;

use super::{Sampler, StepNoise, Stepped, ode};
use crate::Result;
use crate::diffusion::{Denoiser, Step};

/// Heun's method on the probability-flow equation: an Euler step, then the mean of the slopes
/// at both of its ends.
///
/// - Order 2; two network calls per step, one for the last (there is no slope at zero noise);
///   deterministic.
/// - Also known as: the explicit trapezoidal rule; EDM's deterministic sampler.
/// - Not: EDM's stochastic sampler (no churn), nor "DPM2", which looks at the middle.
///
/// # Source
/// Karras et al. 2022 (arXiv:2206.00364), algorithm 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heun;

impl Sampler for Heun {
    fn ode_order(&self) -> Option<u32> {
        Some(2)
    }

    fn step(
        &mut self,
        denoiser: &dyn Denoiser,
        x: Tensor<5>,
        step: Step,
        _noise: &mut dyn StepNoise,
    ) -> Result<Stepped> {
        let (from, to) = (step.from.sigma, step.to.sigma);
        let denoised = denoiser.denoise(x.clone(), step.from)?;
        let ahead = ode::line(x.clone(), denoised.clone(), step.ratio());
        if to == 0.0 || to == from {
            return Ok(Stepped { x: ahead, denoised });
        }
        let denoised_ahead = denoiser.denoise(ahead.clone(), step.to)?;
        let slope = (x.clone() - denoised.clone()).div_scalar(from);
        let slope_ahead = (ahead - denoised_ahead).div_scalar(to);
        let x = x + (slope + slope_ahead).mul_scalar(0.5 * (to - from));
        Ok(Stepped { x, denoised })
    }
}
