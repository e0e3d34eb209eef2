//! The loop over the steps, as an iterator.
//!
//! A progress bar, a preview, a cancel button and a server-sent event all consume the same
//! items; to cancel is to stop asking for the next one.
//!
//! # Source
//!
//! Karras et al. 2022 (arXiv:2206.00364), algorithm 1, lines 1 to 3.

use burn::tensor::Tensor;

use super::{Sampler, StepNoise, Stepped};
use crate::diffusion::{Denoiser, Step, StepPlan};
use crate::{Error, Result};

/// What a finished step tells.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The step: its index, how many there are, its noise levels.
    pub step: Step,
    /// The noisy latents after the step, `x0 + sigma·noise`.
    pub x: Tensor<5>,
    /// The clean estimate at the start of the step.
    pub denoised: Tensor<5>,
}

impl Progress {
    /// The latents after the step in the variance-preserving variable, which is what models
    /// read and what decoders are given if noise is left at the end
    /// ([`FinalSigma::FirstOfTable`](crate::diffusion::FinalSigma)). After a step to zero noise
    /// the two variables are the same, bit for bit.
    #[must_use]
    pub fn latents(&self) -> Tensor<5> {
        if self.step.to.sigma == 0.0 {
            return self.x.clone();
        }
        self.x.clone().mul_scalar(self.step.to.alpha())
    }
}

/// A sampling run: an iterator over its steps.
///
/// After an error the iterator ends.
pub struct Sampling<'a> {
    sampler: Box<dyn Sampler>,
    denoiser: &'a dyn Denoiser,
    plan: StepPlan,
    noise: &'a mut dyn StepNoise,
    /// The latents before the next step; `None` after an error.
    x: Option<Tensor<5>>,
    next: usize,
}

impl<'a> Sampling<'a> {
    /// A run of `plan` from unit-variance noise.
    ///
    /// # Shapes
    /// - `initial_noise`: `[batch, frames, channels, height, width]`
    #[must_use]
    pub fn new(
        sampler: Box<dyn Sampler>,
        plan: StepPlan,
        denoiser: &'a dyn Denoiser,
        initial_noise: Tensor<5>,
        noise: &'a mut dyn StepNoise,
    ) -> Self {
        let x = initial_noise.mul_scalar(plan.init_scale());
        Self::from_latents(sampler, plan, denoiser, x, noise)
    }

    /// A run of `plan` from latents that already hold its first level of noise:
    /// `x = x0 + sigma·noise`.
    #[must_use]
    pub fn from_latents(
        sampler: Box<dyn Sampler>,
        plan: StepPlan,
        denoiser: &'a dyn Denoiser,
        x: Tensor<5>,
        noise: &'a mut dyn StepNoise,
    ) -> Self {
        Self {
            sampler,
            denoiser,
            plan,
            noise,
            x: Some(x),
            next: 0,
        }
    }

    /// The levels of the run.
    #[must_use]
    pub fn plan(&self) -> &StepPlan {
        &self.plan
    }

    /// Runs to the end and returns the final [`Progress::latents`].
    ///
    /// # Errors
    /// The first error of a step.
    pub fn finish(self) -> Result<Tensor<5>> {
        let mut latents = None;
        for progress in self {
            latents = Some(progress?.latents());
        }
        latents.ok_or_else(|| Error::Input("the sampling run was already over".into()))
    }

    fn advance(&mut self, x: Tensor<5>, step: Step) -> Result<Progress> {
        let Stepped { x, denoised } = self.sampler.step(self.denoiser, x, step, self.noise)?;
        debug_assert_eq!(x.dims(), denoised.dims(), "denoisers keep the shape");
        let finite: bool = x.clone().is_finite().all().into_scalar();
        if !finite {
            return Err(Error::NonFinite { step: step.index });
        }
        Ok(Progress { step, x, denoised })
    }
}

impl std::fmt::Debug for Sampling<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sampling")
            .field("sampler", &self.sampler)
            .field("plan", &self.plan)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Iterator for Sampling<'_> {
    type Item = Result<Progress>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.plan.step(self.next)?;
        let x = self.x.take()?;
        self.next += 1;
        let progress = self.advance(x, step);
        if let Ok(progress) = &progress {
            self.x = Some(progress.x.clone());
        }
        Some(progress)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = if self.x.is_some() {
            self.plan.num_steps() - self.next
        } else {
            0
        };
        (0, Some(left))
    }
}
