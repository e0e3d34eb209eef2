//! Prompts to vectors.

use burn::tensor::{DType, Device, Int, Tensor};

use super::weights::{Parameters, materialised};
use super::{BenchSize, Work};
use crate::checkpoint::count_parameters;
use crate::error::{Error, Result};
use crate::nn::Init;
use crate::preset::Preset;
use crate::text::ClipTextEncoder;

/// The text encoder on full windows of tokens.
#[derive(Debug)]
pub(super) struct Encode {
    encoder: ClipTextEncoder,
    /// `[batch, tokens]`
    ids: Tensor<2, Int>,
    dtype: DType,
}

impl Encode {
    pub(super) fn new(preset: &Preset, size: &BenchSize, device: &Device) -> Result<Self> {
        let missing = || Error::Input(format!("{} has no text encoder", preset.name));
        let config = preset.text_encoder.as_ref().ok_or_else(missing)?;
        let encoder = ClipTextEncoder::new(config, &Init::new(device, 0));
        Ok(Self {
            encoder: materialised(encoder, size.dtype),
            ids: Tensor::ones([size.batch, config.max_tokens], device),
            dtype: size.dtype,
        })
    }
}

impl Work for Encode {
    fn run(&mut self) {
        drop(self.encoder.forward(self.ids.clone()));
    }

    fn parameters(&self) -> Parameters {
        Parameters::frozen(count_parameters(&self.encoder), self.dtype)
    }
}
