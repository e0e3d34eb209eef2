//! Latents to pixels and back.

use burn::tensor::{DType, Device, Tensor};

use super::weights::{Parameters, count, materialised, noise};
use super::{BenchSize, Work};
use crate::autoencoder::{Autoencoder, AutoencoderConfig, Regularization, TemporalDecoderLayers};
use crate::checkpoint::count_parameters;
use crate::error::{Error, Result};
use crate::nn::Init;
use crate::preset::Preset;

fn config(preset: &Preset) -> Result<&AutoencoderConfig> {
    let missing = || Error::Input(format!("{} has no autoencoder", preset.name));
    preset.autoencoder.as_ref().ok_or_else(missing)
}

/// The decoder: over time where it has layers for that, else frame by frame.
#[derive(Debug)]
pub(super) struct Decode {
    autoencoder: Autoencoder,
    temporal: Option<TemporalDecoderLayers>,
    /// `[batch, frames, channels, height, width]`
    latents: Tensor<5>,
    dtype: DType,
}

impl Decode {
    pub(super) fn new(preset: &Preset, size: &BenchSize, device: &Device) -> Result<Self> {
        let config = config(preset)?;
        let init = Init::new(device, 0);
        let mut autoencoder = Autoencoder::new(config, &init);
        autoencoder.decoder = materialised(autoencoder.decoder, size.dtype);
        autoencoder.post_quant_conv = materialised(autoencoder.post_quant_conv, size.dtype);
        autoencoder.quantize = materialised(autoencoder.quantize, size.dtype);
        let temporal = preset.temporal_decoder;
        let temporal = temporal.map(|layers| TemporalDecoderLayers::new(config, layers, &init));
        let [height, width] = size.latents();
        let channels = match config.regularization {
            Regularization::Kl => config.latent_channels,
            Regularization::Vq { code_channels, .. } => code_channels,
        };
        let dims = [size.batch, size.frames, channels, height, width];
        Ok(Self {
            autoencoder,
            temporal: temporal.map(|layers| materialised(layers, size.dtype)),
            latents: noise(dims, 1, (device, size.dtype)),
            dtype: size.dtype,
        })
    }
}

impl Work for Decode {
    fn run(&mut self) {
        match &self.temporal {
            Some(layers) => drop(self.autoencoder.decode_video(self.latents.clone(), layers)),
            None => each_frame(&self.latents, |frame| self.autoencoder.decode(frame)),
        }
    }

    fn parameters(&self) -> Parameters {
        let image = count_parameters(&self.autoencoder.decoder)
            + count(self.autoencoder.post_quant_conv.as_ref())
            + count(self.autoencoder.quantize.as_ref());
        Parameters::frozen(image + count(self.temporal.as_ref()), self.dtype)
    }
}

/// The encoder, frame by frame.
#[derive(Debug)]
pub(super) struct Encode {
    autoencoder: Autoencoder,
    /// `[batch, frames, channels, height, width]`
    pixels: Tensor<5>,
    dtype: DType,
}

impl Encode {
    pub(super) fn new(preset: &Preset, size: &BenchSize, device: &Device) -> Result<Self> {
        let config = config(preset)?;
        let mut autoencoder = Autoencoder::new(config, &Init::new(device, 0));
        autoencoder.encoder = materialised(autoencoder.encoder, size.dtype);
        autoencoder.quant_conv = materialised(autoencoder.quant_conv, size.dtype);
        let channels = config.image_channels;
        let dims = [size.batch, size.frames, channels, size.height, size.width];
        Ok(Self {
            autoencoder,
            pixels: noise(dims, 1, (device, size.dtype)),
            dtype: size.dtype,
        })
    }
}

impl Work for Encode {
    fn run(&mut self) {
        each_frame(&self.pixels, |frame| self.autoencoder.encode(frame).mode());
    }

    fn parameters(&self) -> Parameters {
        let count = count_parameters(&self.autoencoder.encoder)
            + count(self.autoencoder.quant_conv.as_ref());
        Parameters::frozen(count, self.dtype)
    }
}

/// Runs on one frame of all clips after the other.
fn each_frame(clips: &Tensor<5>, run: impl Fn(Tensor<4>) -> Tensor<4>) {
    for frame in 0..clips.dims()[1] {
        drop(run(clips.clone().narrow(1, frame, 1).squeeze_dim(1)));
    }
}
