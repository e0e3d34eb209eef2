//! A sampling run of one stage: examples for both branches of guidance, and latents on their way.

use burn::tensor::{Device, Tensor};

use super::stage::StageModel;
use super::wishes::{ReadTokens, WishTokens};
use crate::diffusion::{Guidance, NoiseLevel};
use crate::error::{Error, Result};
use crate::rng::{Draw, Stage as NoiseStage};
use crate::sampler::{Progress, SampleNoise, SamplerConfig, SamplingState, StepNoise};
use crate::train::{Augmentation, Example, Given};

/// How a stage is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunSettings {
    pub(crate) sampler: SamplerConfig,
    pub(crate) steps: usize,
    pub(crate) guidance: Guidance,
}

impl RunSettings {
    /// What the stack says of a stage.
    pub(crate) fn of(stage: &StageModel) -> Self {
        Self {
            sampler: stage.sampler(),
            steps: stage.config.usual.steps.unwrap_or(50),
            guidance: stage.guidance(),
        }
    }
}

/// What the network is told in both branches of guidance.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) wanted: Example,
    pub(crate) unconditional: Example,
}

impl Told {
    /// Words alone; nothing is given. `shape` is that of the latents.
    pub(crate) fn words(tokens: &WishTokens, shape: [usize; 5], device: &Device) -> Self {
        let blank = Tensor::zeros(shape, device);
        let told = |tokens: &ReadTokens| Example {
            clean: blank.clone(),
            noise: blank.clone(),
            levels: Vec::new(),
            weights: Vec::new(),
            context: tokens.words(shape[0]),
            temporal_context: tokens.temporal_words(shape[0]),
            given: None,
            low: None,
            image: None,
            scalars: None,
            first_frame: 0,
            max_distance: None,
        };
        Self {
            wanted: told(&tokens.wanted),
            unconditional: told(&tokens.unconditional),
        }
    }

    /// The same with clean frames that are given: `clean` has them where `given` is true.
    ///
    /// Under context guidance the other branch is told the same words and no frames; under any
    /// other it is told the frames and no words.
    pub(crate) fn with_frames(
        mut self,
        clean: Tensor<5>,
        given: &[bool],
        guidance: &Guidance,
    ) -> Self {
        let frames = |given: &[bool]| {
            let mask = given.iter().map(|&given| f32::from(u8::from(given)));
            let [batch, frames, ..] = clean.dims();
            let mask: Vec<f32> = mask.collect();
            let mask = Tensor::<1>::from_floats(mask.as_slice(), &clean.device());
            Some(Given {
                mask: mask.reshape([batch, frames]),
                augmentation: no_noise(&clean),
            })
        };
        self.wanted.clean = clean.clone();
        self.wanted.given = frames(given);
        if let Guidance::Context { .. } = guidance {
            self.unconditional = Example {
                given: frames(&vec![false; given.len()]),
                ..self.wanted.clone()
            };
        } else {
            self.unconditional.clean = clean.clone();
            self.unconditional.given = frames(given);
        }
        self
    }

    /// The same with both branches changed alike.
    pub(crate) fn map(mut self, change: impl Fn(&mut Example)) -> Self {
        change(&mut self.wanted);
        change(&mut self.unconditional);
        self
    }
}

/// Augmentation that changes nothing.
pub(crate) fn no_noise(like: &Tensor<5>) -> Augmentation {
    Augmentation {
        noise: like.zeros_like(),
        levels: vec![NoiseLevel::CLEAN; like.dims()[0]],
    }
}

/// A run: to be advanced until it is over.
#[derive(Debug)]
pub(crate) struct StageRun {
    told: Told,
    guidance: Guidance,
    state: SamplingState,
    noise: Box<dyn StepNoise>,
    /// The latents after the last step that was taken.
    latents: Option<Tensor<5>>,
}

impl StageRun {
    /// A run from the noise of its samples; shapes are those of what the network was told.
    pub(crate) fn new(
        stage: &StageModel,
        told: Told,
        settings: &RunSettings,
        noise: SampleNoise,
    ) -> Result<Self> {
        let shape = told.wanted.clean.dims();
        let initial = noise.tensor(Draw::Initial, shape, &stage.device)?;
        Self::from_noise(stage, told, settings, (initial, Box::new(noise)))
    }

    /// A run from given noise, `[batch, frames, channels, height, width]`, and with given noise in
    /// its steps.
    pub(crate) fn from_noise(
        stage: &StageModel,
        told: Told,
        settings: &RunSettings,
        (initial, noise): (Tensor<5>, Box<dyn StepNoise>),
    ) -> Result<Self> {
        let plan = stage.levels(settings.sampler, settings.steps)?;
        Ok(Self {
            told,
            guidance: settings.guidance,
            state: SamplingState::new(settings.sampler.build(), plan, initial),
            noise,
            latents: None,
        })
    }

    /// Takes a step; `None` when the run is over.
    pub(crate) fn advance(&mut self, stage: &StageModel) -> Option<Result<Progress>> {
        let (told, guidance) = (&self.told, &self.guidance);
        let denoiser = |x: Tensor<5>, level: NoiseLevel| guided(stage, told, guidance, (x, level));
        let progress = self.state.advance(&denoiser, self.noise.as_mut())?;
        if let Ok(progress) = &progress {
            self.latents = Some(progress.latents());
        }
        Some(progress)
    }

    /// What was made, with given frames as they were given.
    pub(crate) fn finish(self) -> Result<Tensor<5>> {
        let latents = self
            .latents
            .ok_or_else(|| Error::Input("a run of no steps makes nothing".into()))?;
        Ok(match &self.told.wanted.given {
            None => latents,
            Some(given) => {
                let [b, f, ..] = latents.dims();
                let mask = given.mask.clone().reshape([b, f, 1, 1, 1]);
                self.told.wanted.clean * mask.clone() + latents * (-mask + 1.0)
            }
        })
    }
}

/// The clean estimate under guidance of `x = x0 + sigma·noise`.
pub(crate) fn guided(
    stage: &StageModel,
    told: &Told,
    guidance: &Guidance,
    (x, level): (Tensor<5>, NoiseLevel),
) -> Result<Tensor<5>> {
    let mut output = stage.predict(&told.wanted, &x, level)?;
    if guidance.needs_unconditional() {
        let unconditional = stage.predict(&told.unconditional, &x, level)?;
        output = guidance.combine(unconditional, output);
    }
    let scalings = stage.preconditioning.at(level);
    Ok(x * scalings.c_skip + output * scalings.c_out)
}

/// Noise of one sample from its first frame on.
pub(crate) fn noise_of(seed: u64, stage: NoiseStage) -> SampleNoise {
    SampleNoise::single(seed, stage)
}
