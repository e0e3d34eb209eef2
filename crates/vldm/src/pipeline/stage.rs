//! One stage of a stack with its weights: what a sampling run asks.

use burn::tensor::{DType, Device, Tensor};

use super::personal::Original;
use crate::conditioning::encoders::ConditionEncodersConfig;
use crate::diffusion::{Guidance, NoiseLevel, NoiseSchedule, Preconditioning, StepPlan};
use crate::error::{Error, Result};
use crate::layout::unfold_frames;
use crate::model::{Model, NoiseDescription, StageConfig, VideoAutoencoder};
use crate::sampler::SamplerConfig;
use crate::text::Tokenizer;
use crate::train::denoising::network_input;
use crate::train::{Example, Networks};

/// A loaded stage.
#[derive(Debug)]
pub struct StageModel {
    /// The networks, without the autoencoder.
    pub(crate) networks: Networks,
    pub(crate) tokenizer: Option<Tokenizer>,
    /// What layers over time read, where a personal model took the place of their own.
    pub(crate) original: Option<Original>,
    pub(crate) conditions: ConditionEncodersConfig,
    pub(crate) autoencoder: Option<VideoAutoencoder>,
    pub(crate) preconditioning: Preconditioning,
    pub(crate) noise: NoiseDescription,
    pub(crate) config: StageConfig,
    /// Channels of what is denoised.
    pub(crate) channels: usize,
    pub(crate) device: Device,
    pub(crate) dtype: DType,
}

impl StageModel {
    /// A stage of a model's networks, which are shared and not copied. Every stage reads its own
    /// temporal layers; those of the model stay where the stage has none.
    ///
    /// # Errors
    /// [`Error::Input`] when the model has no U-Net or no noise levels.
    pub fn new(model: &Model, config: &StageConfig) -> Result<Self> {
        let missing = |what: &str| {
            Error::Input(format!(
                "{} has no {what}, which a stage of a stack needs",
                model.description.path.display()
            ))
        };
        let unet = model.unet.as_ref().ok_or_else(|| missing("U-Net"))?;
        let noise = model
            .description
            .noise
            .clone()
            .ok_or_else(|| missing("scheduler_config.json"))?;
        Ok(Self {
            networks: Networks {
                unet: Some(unet.unet.clone()),
                temporal: unet.temporal.clone(),
                conditions: model.conditions.clone(),
                text_encoder: model.text_encoder.clone(),
                ..Networks::none()
            },
            tokenizer: model.tokenizer.clone(),
            original: None,
            conditions: model.description.conditions.clone().unwrap_or_default(),
            autoencoder: model.autoencoder.clone(),
            preconditioning: Preconditioning {
                parameterization: noise.parameterization,
                schedule: NoiseSchedule::new(noise.schedule)?,
            },
            noise,
            config: config.clone(),
            channels: unet.config.out_channels,
            device: model.device.clone(),
            dtype: model.dtype,
        })
    }

    /// The same with the spatial layers and the text encoder of a personal model; layers over time
    /// stay, and read what they have always read. The model has been checked to fit.
    pub(crate) fn with_personal(mut self, personal: &Model) -> Self {
        let networks = Networks {
            unet: personal.unet.as_ref().map(|unet| unet.unet.clone()),
            temporal: self.networks.temporal.take(),
            conditions: personal.conditions.clone(),
            text_encoder: personal.text_encoder.clone(),
            ..Networks::none()
        };
        let before = std::mem::replace(&mut self.networks, networks);
        self.original = Some(Original {
            networks: Networks {
                unet: None,
                ..before
            },
            tokenizer: self.tokenizer.take(),
        });
        self.tokenizer = personal.tokenizer.clone();
        self
    }

    /// The stepping rule.
    pub(crate) fn sampler(&self) -> SamplerConfig {
        self.config.usual.sampler.unwrap_or(self.noise.sampler)
    }

    /// How strongly the condition is followed.
    pub(crate) fn guidance(&self) -> Guidance {
        self.config.usual.guidance.unwrap_or(Guidance::None {})
    }

    /// The noise levels of a run of so many steps.
    pub(crate) fn levels(&self, sampler: SamplerConfig, steps: usize) -> Result<StepPlan> {
        let schedule = &self.preconditioning.schedule;
        sampler.plan(schedule, &self.noise.steps_for(&sampler), steps)
    }

    /// What the network answers, under the example's conditions, to `x = x0 + sigma·noise`: in the
    /// variable that it predicts.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, frames, channels, height, width]`
    pub(crate) fn predict(
        &self,
        example: &Example,
        x: &Tensor<5>,
        level: NoiseLevel,
    ) -> Result<Tensor<5>> {
        let unet = self
            .networks
            .unet
            .as_ref()
            .ok_or_else(|| Error::Config("a stage needs a U-Net".into()))?;
        let [batch, frames, ..] = x.dims();
        let noisy = x.clone().mul_scalar(self.preconditioning.at(level).c_in);
        let levels = vec![level; batch];
        let asked = (example, noisy, levels.as_slice());
        let (input, time) = network_input(&self.networks, &self.preconditioning, asked)?;
        let output = match (&self.networks.temporal, time) {
            (Some(temporal), Some(time)) => unet.forward_video(input, temporal, &time),
            _ => unet.forward(input),
        };
        Ok(unfold_frames(output.cast(DType::F32), frames))
    }
}
