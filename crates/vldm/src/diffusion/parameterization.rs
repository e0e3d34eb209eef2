//! What a network predicts, and the noisy examples it learns that from.
//!
//! # Source
//!
//! Blattmann et al. 2023 (arXiv:2304.08818), section 2 (ε and v); Salimans & Ho 2022
//! (arXiv:2202.00512), section 4 (v).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::NoiseLevel;

/// What a network predicts from a noisy latent `α·x0 + σ·ε` with `α² + σ² = 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameterization {
    /// The noise ε.
    Epsilon,
    /// The velocity `v = α·ε − σ·x0`. With plain mean squared error on v the loss equals the
    /// one of Stable Video Diffusion, whose weight `(1 + σ²)/σ²` on the clean estimate cancels
    /// its output scaling.
    V,
    /// The clean latents.
    X0,
}

impl Parameterization {
    /// What the network should have predicted; `levels` holds one noise level per sample.
    ///
    /// # Shapes
    /// - `x0`, `noise`: `[batch, frames, channels, height, width]`, as many samples as `levels`
    /// - returns: the same
    ///
    /// # Panics
    /// If `levels` and the batch differ in length.
    #[must_use]
    pub fn target(self, x0: Tensor<5>, noise: Tensor<5>, levels: &[NoiseLevel]) -> Tensor<5> {
        match self {
            Self::Epsilon => noise,
            Self::X0 => x0,
            Self::V => {
                let (alpha, sigma) = weights(levels, &x0);
                noise * alpha - x0 * sigma
            }
        }
    }

    /// The noisy latents `α·x0 + σ·ε` that a network reads in training, one noise level per
    /// sample: what [`Preconditioning`](super::Preconditioning) makes of `x0 + sigma·noise`.
    ///
    /// # Shapes
    /// As [`Parameterization::target`].
    ///
    /// # Panics
    /// If `levels` and the batch differ in length.
    #[must_use]
    pub fn noisy_input(x0: Tensor<5>, noise: Tensor<5>, levels: &[NoiseLevel]) -> Tensor<5> {
        let (alpha, sigma) = weights(levels, &x0);
        x0 * alpha + noise * sigma
    }
}

/// α and σ of the variance-preserving variable, `[batch, 1, 1, 1, 1]` each.
fn weights(levels: &[NoiseLevel], like: &Tensor<5>) -> (Tensor<5>, Tensor<5>) {
    assert_eq!(
        levels.len(),
        like.dims()[0],
        "one noise level per sample of the batch"
    );
    let column = |values: Vec<f64>| {
        let options = (&like.device(), like.dtype());
        Tensor::<1>::from_data(values.as_slice(), options).reshape([-1, 1, 1, 1, 1])
    };
    let alpha = levels.iter().map(NoiseLevel::alpha).collect();
    let sigma = levels
        .iter()
        .map(|level| level.sigma * level.alpha())
        .collect();
    (column(alpha), column(sigma))
}
