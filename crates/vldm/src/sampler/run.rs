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

/// Latents on their way through a plan: what a run knows between two steps, without the denoiser.
#[derive(Debug)]
pub struct SamplingState {
    sampler: Box<dyn Sampler>,
    plan: StepPlan,
    /// The latents before the next step; `None` after an error.
    x: Option<Tensor<5>>,
    next: usize,
}

impl SamplingState {
    /// A run of `plan` from unit-variance noise.
    ///
    /// # Shapes
    /// - `initial_noise`: `[batch, frames, channels, height, width]`
    #[must_use]
    pub fn new(sampler: Box<dyn Sampler>, plan: StepPlan, initial_noise: Tensor<5>) -> Self {
        let x = initial_noise.mul_scalar(plan.init_scale());
        Self::from_latents(sampler, plan, x)
    }

    /// A run of `plan` from latents that already hold its first level of noise:
    /// `x = x0 + sigma·noise`.
    #[must_use]
    pub fn from_latents(sampler: Box<dyn Sampler>, plan: StepPlan, x: Tensor<5>) -> Self {
        Self {
            sampler,
            plan,
            x: Some(x),
            next: 0,
        }
    }

    /// The levels of the run.
    #[must_use]
    pub fn plan(&self) -> &StepPlan {
        &self.plan
    }

    /// The latents before the next step, `x0 + sigma·noise`; `None` after an error.
    pub(crate) fn x(&self) -> Option<&Tensor<5>> {
        self.x.as_ref()
    }

    /// The next step; `None` at the end.
    pub(crate) fn next_step(&self) -> Option<Step> {
        self.plan.step(self.next)
    }

    /// Steps that were taken.
    pub(crate) fn steps_taken(&self) -> usize {
        self.next
    }

    /// Takes the next step; `None` when there is none, or after an error.
    ///
    /// # Errors
    /// What the denoiser or the noise reports; [`Error::NonFinite`] with the step's number.
    pub fn advance(
        &mut self,
        denoiser: &dyn Denoiser,
        noise: &mut dyn StepNoise,
    ) -> Option<Result<Progress>> {
        let step = self.next_step()?;
        let x = self.x.take()?;
        self.next += 1;
        let progress = self.step(denoiser, x, step, noise);
        if let Ok(progress) = &progress {
            self.x = Some(progress.x.clone());
        }
        Some(progress)
    }

    fn step(
        &mut self,
        denoiser: &dyn Denoiser,
        x: Tensor<5>,
        step: Step,
        noise: &mut dyn StepNoise,
    ) -> Result<Progress> {
        let Stepped { x, denoised } = self.sampler.step(denoiser, x, step, noise)?;
        debug_assert_eq!(x.dims(), denoised.dims(), "denoisers keep the shape");
        let finite: bool = x.clone().is_finite().all().into_scalar();
        if !finite {
            return Err(Error::NonFinite { step: step.index });
        }
        Ok(Progress { step, x, denoised })
    }

    fn left(&self) -> usize {
        match self.x {
            Some(_) => self.plan.num_steps() - self.next,
            None => 0,
        }
    }
}

/// A sampling run: an iterator over its steps.
///
/// After an error the iterator ends.
pub struct Sampling<'a> {
    state: SamplingState,
    denoiser: &'a dyn Denoiser,
    noise: &'a mut dyn StepNoise,
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
        Self {
            state: SamplingState::new(sampler, plan, initial_noise),
            denoiser,
            noise,
        }
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
            state: SamplingState::from_latents(sampler, plan, x),
            denoiser,
            noise,
        }
    }

    /// The levels of the run.
    #[must_use]
    pub fn plan(&self) -> &StepPlan {
        self.state.plan()
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
}

impl std::fmt::Debug for Sampling<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sampling")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Iterator for Sampling<'_> {
    type Item = Result<Progress>;

    fn next(&mut self) -> Option<Self::Item> {
        self.state.advance(self.denoiser, self.noise)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.state.left()))
    }
}
