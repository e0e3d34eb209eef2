//! The boundary between networks and samplers.
//!
//! # Source
//!
//! The idea is k-diffusion's; Karras et al. 2022 (arXiv:2206.00364), eq. 2 and 3.

use burn::tensor::Tensor;

use super::{Guidance, NoiseLevel};
use crate::Result;

/// Estimates clean latents. All that a sampler knows about a model.
///
/// What the network predicts, the scaling of its input and output, guidance and conditioning
/// are closed over inside; closures of the right form are denoisers, and
/// [`Preconditioning::wrap`](super::Preconditioning::wrap) makes one of a network.
pub trait Denoiser {
    /// Estimates the clean latents from `x = x0 + sigma·noise`; same device and type as `x`.
    ///
    /// Samplers never ask at `sigma = 0`.
    ///
    /// # Shapes
    /// - `x`: `[batch, frames, channels, height, width]`
    /// - returns: the shape of `x`
    ///
    /// # Errors
    /// Whatever the network or its conditioning reports; the sampling run ends with it.
    fn denoise(&self, x: Tensor<5>, level: NoiseLevel) -> Result<Tensor<5>>;
}

impl<F> Denoiser for F
where
    F: Fn(Tensor<5>, NoiseLevel) -> Result<Tensor<5>>,
{
    fn denoise(&self, x: Tensor<5>, level: NoiseLevel) -> Result<Tensor<5>> {
        self(x, level)
    }
}

/// Two denoisers under guidance.
///
/// Clean estimates are affine in what the network predicts, with the same coefficients in both
/// branches, so combining estimates equals combining predictions. A network that runs both
/// branches as one batch calls [`Guidance::combine`] on its raw outputs instead, which is one
/// scaling cheaper and rounds as the reference does.
#[derive(Debug)]
pub struct Guided<U, C> {
    /// How the branches are combined.
    pub guidance: Guidance,
    /// The branch without the condition.
    pub unconditional: U,
    /// The branch with the condition.
    pub conditional: C,
}

impl<U: Denoiser, C: Denoiser> Denoiser for Guided<U, C> {
    fn denoise(&self, x: Tensor<5>, level: NoiseLevel) -> Result<Tensor<5>> {
        if !self.guidance.needs_unconditional() {
            return self.conditional.denoise(x, level);
        }
        let unconditional = self.unconditional.denoise(x.clone(), level)?;
        let conditional = self.conditional.denoise(x, level)?;
        Ok(self.guidance.combine(unconditional, conditional))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// A denoiser that always answers `value`.
    fn constant(value: f64) -> impl Fn(Tensor<5>, NoiseLevel) -> Result<Tensor<5>> {
        move |x, _| Ok(x.zeros_like().add_scalar(value))
    }

    #[test]
    fn guided_combines_its_branches() {
        let check = |guidance: Guidance, expected: f32| {
            let guided = Guided {
                guidance,
                unconditional: constant(1.0),
                conditional: constant(3.0),
            };
            let x = Tensor::<5>::zeros([1, 1, 1, 1, 1], &Device::flex());
            let estimate = guided
                .denoise(x, NoiseLevel::from_sigma(1.0))
                .expect("runs");
            assert_eq!(estimate.into_scalar::<f32>(), expected);
        };
        check(Guidance::None {}, 3.0);
        check(Guidance::Context { scale: 2.0 }, 5.0);
    }
}
