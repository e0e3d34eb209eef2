//! Everything that takes part in a stage of training, as one tree of parameters.

use burn::module::Module;
use burn::tensor::DType;

use super::discriminator::Discriminator;
use super::lora::Lora;
use super::parameters::{Reading, plain};
use crate::autoencoder::{Autoencoder, TemporalDecoderLayers};
use crate::conditioning::encoders::ConditionEncoders;
use crate::perceptual::Perceptual;
use crate::text::{ClipTextEncoder, ClipVisionEncoder};
use crate::unet::{TemporalLayers, UNet};

/// The networks of a stage; the field is the first part of a parameter's name.
#[derive(Module, Debug)]
pub struct Networks {
    /// The image network.
    pub unet: Option<UNet>,
    /// Its temporal layers.
    pub temporal: Option<TemporalLayers>,
    /// Labels, boxes and frame rates to tokens.
    pub conditions: Option<ConditionEncoders>,
    /// Words to tokens.
    pub text_encoder: Option<ClipTextEncoder>,
    /// Pictures to tokens.
    pub image_encoder: Option<ClipVisionEncoder>,
    /// Between pixels and latents.
    pub autoencoder: Option<Autoencoder>,
    /// The decoder's temporal layers.
    pub temporal_decoder: Option<TemporalDecoderLayers>,
    /// Tells decoded pictures or clips from true ones.
    pub discriminator: Option<Discriminator>,
    /// Says how different two pictures look; it never learns.
    pub perceptual: Option<Perceptual>,
    /// What is added to weights of the others.
    pub lora: Option<Lora>,
}

impl Networks {
    /// No network at all.
    pub fn none() -> Self {
        Self {
            unet: None,
            temporal: None,
            conditions: None,
            text_encoder: None,
            image_encoder: None,
            autoencoder: None,
            temporal_decoder: None,
            discriminator: None,
            perceptual: None,
            lora: None,
        }
    }

    /// The same with every parameter read through a cast to `dtype`, adapters added; gradients flow
    /// back to the parameters themselves.
    #[must_use]
    pub fn working(&self, dtype: DType) -> Self {
        self.read(Reading {
            tracked: true,
            ..self.reading(Some(dtype))
        })
    }

    /// The same for looking only: no gradients, adapters added, parameters in `dtype`.
    #[must_use]
    pub fn frozen(&self, dtype: DType) -> Self {
        match self.lora {
            None => plain(self.clone(), dtype),
            Some(_) => plain(self.read(self.reading(Some(dtype))), dtype),
        }
    }

    /// The same without gradients, adapters added, other parameters as they are.
    pub(crate) fn settled(&self) -> Self {
        self.read(self.reading(None))
    }

    /// How a pass reads these networks' parameters, without a way back.
    pub(crate) fn reading(&self, dtype: Option<DType>) -> Reading<'_> {
        Reading {
            dtype,
            tracked: false,
            lora: self.lora.as_ref(),
        }
    }

    fn read(&self, reading: Reading) -> Self {
        let networks = Self {
            lora: None,
            ..self.clone()
        };
        reading.read(networks)
    }
}
