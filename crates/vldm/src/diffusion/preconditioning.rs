//! How a network's input and output are scaled, so that it becomes a [`Denoiser`].
//!
//! With `x = x0 + sigma·noise`, every network `F` of the family estimates the clean latents as
//! `c_skip·x + c_out·F(c_in·x, c_noise)`:
//!
//! | predicts | c_skip | c_out | c_in |
//! |---|---|---|---|
//! | ε | 1 | −σ | 1/√(σ²+1) |
//! | v | 1/(σ²+1) | −σ/√(σ²+1) | 1/√(σ²+1) |
//! | x0 | 0 | 1 | 1/√(σ²+1) |
//!
//! `c_in·x` is the variance-preserving variable. The row of v is the preconditioning of Stable
//! Video Diffusion. `c_noise` is the timestep of a table, or `0.25·ln σ`
//! ([`NoiseSchedule::timestep_at`]).
//!
//! # Source
//!
//! Karras et al. 2022 (arXiv:2206.00364), eq. 7 and table 1; Blattmann et al. 2023
//! (arXiv:2311.15127), appendix D, for v.

use burn::tensor::Tensor;

use super::{Denoiser, NoiseLevel, NoiseSchedule, Parameterization};
use crate::Result;

/// The four scalars of one noise level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scalings {
    /// Weight of the noisy latents in the estimate.
    pub c_skip: f64,
    /// Weight of the network's output in the estimate.
    pub c_out: f64,
    /// Weight of the noisy latents at the network's input.
    pub c_in: f64,
    /// What the network is told about the noise level.
    pub c_noise: f64,
}

/// The scalings of a model: what it predicts, and the schedule it was trained on.
#[derive(Debug, Clone)]
pub struct Preconditioning {
    /// What the network predicts.
    pub parameterization: Parameterization,
    /// The levels it knows.
    pub schedule: NoiseSchedule,
}

impl Preconditioning {
    /// The scalings at a noise level.
    #[must_use]
    pub fn at(&self, level: NoiseLevel) -> Scalings {
        let sigma = level.sigma;
        let c_in = level.alpha();
        let (c_skip, c_out) = match self.parameterization {
            Parameterization::Epsilon => (1.0, -sigma),
            Parameterization::V => (c_in * c_in, -sigma * c_in),
            Parameterization::X0 => (0.0, 1.0),
        };
        let c_noise = level
            .timestep
            .unwrap_or_else(|| self.schedule.timestep_at(sigma));
        Scalings {
            c_skip,
            c_out,
            c_in,
            c_noise,
        }
    }

    /// Makes a denoiser of a network: `network` reads the scaled latents and `c_noise`, and
    /// predicts what [`Parameterization`] says. Conditioning and guidance are closed over in it.
    pub fn wrap<F>(&self, network: F) -> Preconditioned<'_, F>
    where
        F: Fn(Tensor<5>, f64) -> Result<Tensor<5>>,
    {
        Preconditioned {
            preconditioning: self,
            network,
        }
    }
}

/// A network with its scalings: a [`Denoiser`]. Made by [`Preconditioning::wrap`].
pub struct Preconditioned<'a, F> {
    preconditioning: &'a Preconditioning,
    network: F,
}

impl<F> std::fmt::Debug for Preconditioned<'_, F> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Preconditioned")
            .field("parameterization", &self.preconditioning.parameterization)
            .finish_non_exhaustive()
    }
}

impl<F> Denoiser for Preconditioned<'_, F>
where
    F: Fn(Tensor<5>, f64) -> Result<Tensor<5>>,
{
    fn denoise(&self, x: Tensor<5>, level: NoiseLevel) -> Result<Tensor<5>> {
        let Scalings {
            c_skip,
            c_out,
            c_in,
            c_noise,
        } = self.preconditioning.at(level);
        let output = (self.network)(x.clone().mul_scalar(c_in), c_noise)?;
        Ok(match self.preconditioning.parameterization {
            Parameterization::X0 => output,
            Parameterization::Epsilon => x + output.mul_scalar(c_out),
            Parameterization::V => x.mul_scalar(c_skip) + output.mul_scalar(c_out),
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::diffusion::NoiseScheduleConfig;

    /// A network that knows the answer must be turned into a denoiser that knows it too.
    #[test]
    fn the_exact_target_denoises_exactly() {
        let config = NoiseScheduleConfig::Edm {
            sigma_min: 0.01,
            sigma_max: 100.0,
            rho: 7.0,
        };
        let schedule = NoiseSchedule::new(config).expect("valid");
        let device = Device::flex();
        let x0 = Tensor::<5>::from_data([[[[[0.5_f32, -1.0, 2.0]]]]], &device);
        let noise = Tensor::<5>::from_data([[[[[-0.3_f32, 0.7, 1.1]]]]], &device);
        for parameterization in [
            Parameterization::Epsilon,
            Parameterization::V,
            Parameterization::X0,
        ] {
            let preconditioning = Preconditioning {
                parameterization,
                schedule: schedule.clone(),
            };
            for sigma in [0.01, 0.5, 3.0, 20.0] {
                let level = NoiseLevel::from_sigma(sigma);
                let denoiser = preconditioning.wrap(|input, c_noise| {
                    let expected =
                        Parameterization::noisy_input(x0.clone(), noise.clone(), &[level]);
                    assert_close(input, expected, 1e-6);
                    assert!((c_noise - 0.25 * sigma.ln()).abs() < 1e-12);
                    Ok(parameterization.target(x0.clone(), noise.clone(), &[level]))
                });
                let x = x0.clone() + noise.clone().mul_scalar(sigma);
                let estimate = denoiser.denoise(x, level).expect("runs");
                assert_close(estimate, x0.clone(), 1e-5);
            }
        }
    }

    fn assert_close(found: Tensor<5>, expected: Tensor<5>, tolerance: f32) {
        let error: f32 = (found - expected).abs().max().into_scalar();
        assert!(error <= tolerance, "{error} > {tolerance}");
    }
}
