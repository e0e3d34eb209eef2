//! The two moves that all samplers are made of.
//!
//! # Source
//!
//! Karras et al. 2022 (arXiv:2206.00364), algorithm 1, without churn; Song et al. 2021
//! (arXiv:2010.02502), eq. 12 and 16.

use burn::tensor::Tensor;

use super::StepNoise;
use crate::Result;
use crate::diffusion::Step;

/// Along the straight line through `x` and its clean estimate to where `ratio` of the noise is
/// left: `D + ratio·(x − D)`, which is `x + (sigma' − sigma)·(x − D)/sigma`.
///
/// Written around `D` because at ratio 0 this is `D` to the last bit.
pub(super) fn line(x: Tensor<5>, denoised: Tensor<5>, ratio: f64) -> Tensor<5> {
    if ratio == 0.0 {
        return denoised;
    }
    if ratio == 1.0 {
        return x;
    }
    (x - denoised.clone()).mul_scalar(ratio) + denoised
}

/// Removes more noise than `step` asks for and adds fresh noise in its place: `eta` from 0 (all
/// old) to 1 (as much fresh noise as the reverse process adds).
pub(super) fn ancestral(
    x: Tensor<5>,
    denoised: Tensor<5>,
    step: Step,
    eta: f64,
    noise: &mut dyn StepNoise,
) -> Result<Tensor<5>> {
    let (from, to) = (step.from.sigma, step.to.sigma);
    // σ_up² = η²·σ'²·(σ² − σ'²)/σ²,   σ_down² = σ'² − σ_up²
    let up = eta * to * (1.0 - step.ratio() * step.ratio()).max(0.0).sqrt();
    let down = ((to - up) * (to + up)).max(0.0).sqrt();
    let fresh = if up > 0.0 {
        Some(noise.draw(step.index, &x)?)
    } else {
        None
    };
    let x = line(x, denoised, down / from);
    Ok(match fresh {
        Some(fresh) => x + fresh.mul_scalar(up),
        None => x,
    })
}
