//! DPM-Solver++ of second order, multistep.

use burn::tensor::Tensor;

use super::{Sampler, StepNoise, Stepped, ode};
use crate::Result;
use crate::diffusion::{Denoiser, Step};

/// Runs shorter than this take their last step at first order even if noise is left after it.
const SHORT_RUN: usize = 15;

/// DPM-Solver++(2M): exact in the linear part of the equation, and extrapolating the clean
/// estimate from this step and the one before.
///
/// - Order 2; one network call per step; deterministic. The first step, and the last to zero
///   noise, are of first order.
/// - Also known as: `dpmpp_2m`, `DPMSolverMultistep` (midpoint).
/// - Not: the single-step 2S, the stochastic SDE kinds, or the heun kind of the solver.
///
/// With `λ = −ln σ`, `h` the length of this step in λ and `h₋` of the one before, the estimate
/// that is used for the step is `D + h/(2·h₋)·(D − D₋)`, and the step itself is the straight
/// line of Euler's method: the published rule in the variance-preserving variable, divided by
/// the new `α`.
///
/// k-diffusion and diffusers agree on this where runs end at zero noise. Where noise is left
/// after the last step, k-diffusion keeps second order; this follows diffusers' defaults, which
/// fall to first order in runs of fewer than 15 steps.
///
/// # Source
/// Lu et al. 2022 (arXiv:2211.01095), algorithm 2.
#[derive(Debug, Default)]
pub struct Dpmpp2m {
    previous: Option<Previous>,
}

/// What the next step needs to know of this one.
#[derive(Debug)]
struct Previous {
    denoised: Tensor<5>,
    /// Length of the step in ln σ, > 0.
    length: f64,
}

impl Sampler for Dpmpp2m {
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
        let denoised = denoiser.denoise(x.clone(), step.from)?;
        let to_zero = step.to.sigma == 0.0;
        let first_order = to_zero || (step.is_last() && step.count < SHORT_RUN);
        let length = -step.ratio().ln();
        let estimate = match self.previous.take() {
            Some(previous) if !first_order => {
                let weight = length / (2.0 * previous.length);
                (denoised.clone() - previous.denoised).mul_scalar(weight) + denoised.clone()
            }
            _ => denoised.clone(),
        };
        if !to_zero {
            self.previous = Some(Previous {
                denoised: denoised.clone(),
                length,
            });
        }
        Ok(Stepped {
            x: ode::line(x, estimate, step.ratio()),
            denoised,
        })
    }
}
