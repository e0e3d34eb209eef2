//! One pass of the denoising network.

use burn::tensor::{DType, Device, Int, Tensor};

use super::weights::{Parameters, count, materialised, noise};
use super::{BenchSize, Work};
use crate::checkpoint::count_parameters;
use crate::error::{Error, Result};
use crate::nn::Init;
use crate::nn::temporal::TemporalContext;
use crate::preset::Preset;
use crate::unet::{TemporalLayers, UNet, UNetConfig, UNetInput, Vector, VectorConfig};

/// Tokens of a context that no encoder of the preset makes: as many as CLIP's.
const TOKENS: usize = 77;

/// A U-Net, and its temporal layers where the preset has them.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) unet: UNet,
    pub(super) temporal: Option<TemporalLayers>,
}

impl Network {
    /// Random weights, made one after the other.
    pub(super) fn new(preset: &Preset, device: &Device, dtype: DType) -> Result<Self> {
        let config = config(preset)?;
        let init = Init::new(device, 0);
        let temporal = preset.temporal.as_ref();
        let temporal = temporal.map(|temporal| TemporalLayers::new(config, temporal, &init));
        Ok(Self {
            unet: materialised(UNet::new(config, &init), dtype),
            temporal: temporal.map(|layers| materialised(layers, dtype)),
        })
    }

    /// The prediction, `[batch·frames, height, width, channels]`.
    pub(super) fn run(&self, question: &Question) -> Tensor<4> {
        let input = question.input.clone();
        match &self.temporal {
            Some(layers) => self.unet.forward_video(input, layers, &question.time),
            None => self.unet.forward(input),
        }
    }

    pub(super) fn count(&self) -> usize {
        count_parameters(&self.unet) + count(self.temporal.as_ref())
    }
}

/// What the network is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) input: UNetInput,
    pub(super) time: TemporalContext,
}

impl Question {
    pub(super) fn new(preset: &Preset, size: &BenchSize, device: &Device) -> Result<Self> {
        let config = config(preset)?;
        let place = (device, size.dtype);
        let (batch, images) = (size.batch, size.batch * size.frames);
        let [height, width] = size.latents();
        let tokens = |count, width| noise([batch, count, width], 1, place);
        let context = config
            .context_width
            .map(|width| tokens(context_tokens(preset), width));
        let temporal = preset.temporal.as_ref();
        let time = TemporalContext {
            frames: size.frames,
            first_frame: 0,
            tokens: temporal.and_then(|temporal| {
                let width = temporal.context_width?;
                match &preset.frame_rate {
                    Some(rates) => Some(tokens(rates.tokens(), width)),
                    None => context.clone(),
                }
            }),
            max_distance: None,
            observed: temporal
                .and_then(|temporal| temporal.observed)
                .map(|observed| noise([images, height, width, observed.in_channels], 2, place)),
        };
        let input = UNetInput {
            sample: noise([images, height, width, config.in_channels], 3, place),
            timestep: Tensor::full([batch], 500.0, device),
            context,
            vector: vector(config, batch, device),
        };
        Ok(Self { input, time })
    }
}

pub(super) fn config(preset: &Preset) -> Result<&UNetConfig> {
    let missing = || Error::Input(format!("{} has no U-Net", preset.name));
    preset.unet.as_ref().ok_or_else(missing)
}

/// How many tokens the preset's own encoder makes.
fn context_tokens(preset: &Preset) -> usize {
    if let Some(text) = &preset.text_encoder {
        text.max_tokens
    } else if let Some(boxes) = &preset.boxes {
        boxes.max_boxes
    } else if preset.image_encoder.is_some() || preset.labels.is_some() {
        1
    } else {
        TOKENS
    }
}

fn vector(config: &UNetConfig, batch: usize, device: &Device) -> Vector {
    match config.vector {
        VectorConfig::None => Vector::None,
        VectorConfig::Label { .. } => Vector::Label(Tensor::<1, Int>::zeros([batch], device)),
        VectorConfig::Scalars { count, .. } => {
            Vector::Scalars(Tensor::full([batch, count], 6.0, device))
        }
    }
}

/// One pass.
#[derive(Debug)]
pub(super) struct Pass {
    network: Network,
    question: Question,
    dtype: DType,
}

impl Pass {
    pub(super) fn new(preset: &Preset, size: &BenchSize, device: &Device) -> Result<Self> {
        Ok(Self {
            network: Network::new(preset, device, size.dtype)?,
            question: Question::new(preset, size, device)?,
            dtype: size.dtype,
        })
    }
}

impl Work for Pass {
    fn run(&mut self) {
        drop(self.network.run(&self.question));
    }

    fn parameters(&self) -> Parameters {
        Parameters::frozen(self.network.count(), self.dtype)
    }
}
