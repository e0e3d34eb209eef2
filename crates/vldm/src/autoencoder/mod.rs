//! Between pixels and latents: image autoencoders, and decoders with temporal layers.
//!
//! Vocabulary: *pixels* in \[−1, 1\] → *moments* (mean and log-variance of the posterior) →
//! *latents* (scaled by [`AutoencoderConfig::scale_factor`], what diffusion sees). [`Autoencoder`]
//! itself never scales; pipelines do.
//!
//! # Source
//! Rombach et al. 2022 (arXiv:2112.10752), section 3.1; Blattmann et al. 2023, section 3.1.1.

mod blocks;
mod config;
mod decoder;
mod encoder;
mod posterior;
mod quantizer;

use burn::module::Module;
use burn::tensor::Tensor;

pub use blocks::{AutoencoderBlock, AutoencoderMiddle, PixelAttention};
pub use config::{AutoencoderConfig, AutoencoderLevel, Regularization, TemporalDecoderConfig};
pub use decoder::{Decoder, TemporalDecoderLayers, TemporalDecoderLevel};
pub use encoder::Encoder;
pub use posterior::Posterior;
pub use quantizer::Codebook;

use crate::layout::{
    fold_frames, images_to_channels_first, images_to_channels_last, unfold_frames,
};
use crate::nn::temporal::TemporalContext;
use crate::nn::{Conv2d, Init};

/// An image autoencoder. Names are those of diffusers' `AutoencoderKL` and `VQModel`.
#[derive(Module, Debug)]
pub struct Autoencoder {
    /// Pixels to moments or codes.
    pub encoder: Encoder,
    /// Latents to pixels.
    pub decoder: Decoder,
    /// After the encoder.
    pub quant_conv: Option<Conv2d>,
    /// Before the decoder.
    pub post_quant_conv: Option<Conv2d>,
    /// The codebook of a VQ autoencoder.
    pub quantize: Option<Codebook>,
}

impl Autoencoder {
    /// An autoencoder with fresh parameters; `config` must have passed
    /// [`AutoencoderConfig::validate`].
    pub fn new(config: &AutoencoderConfig, init: &Init) -> Self {
        let (code_channels, codes) = match config.regularization {
            Regularization::Kl => (config.latent_channels, None),
            Regularization::Vq {
                codes,
                code_channels,
            } => (code_channels, Some(codes)),
        };
        let moments = match codes {
            None => 2 * code_channels,
            Some(_) => code_channels,
        };
        Self {
            encoder: Encoder::new(config, init),
            decoder: Decoder::new(config, init),
            quant_conv: config
                .quant_conv
                .then(|| Conv2d::new(config.encoder_channels(), moments, 1, init)),
            post_quant_conv: config
                .post_quant_conv
                .then(|| Conv2d::new(code_channels, config.latent_channels, 1, init)),
            quantize: codes.map(|codes| Codebook::new(codes, code_channels, init)),
        }
    }

    /// The distribution of latents for each picture. Of a VQ autoencoder, a point: quantisation
    /// happens when decoding.
    ///
    /// # Shapes
    /// - `pixels`: `[n, channels, height, width]` in \[−1, 1\], sides multiples of the factor
    /// - returns: moments of shape `[n, latent channels, height/factor, width/factor]`, unscaled
    pub fn encode(&self, pixels: Tensor<4>) -> Posterior {
        let mut moments = self.encoder.forward(images_to_channels_last(pixels));
        if let Some(conv) = &self.quant_conv {
            moments = conv.forward(moments);
        }
        let moments = images_to_channels_first(moments);
        match self.quantize {
            None => Posterior::gaussian(moments),
            Some(_) => Posterior::point(moments),
        }
    }

    /// Pictures, each by itself.
    ///
    /// # Shapes
    /// - `latents`: `[n, latent channels, height, width]`, unscaled
    /// - returns: `[n, channels, height·factor, width·factor]`, in \[−1, 1\] but not clamped
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = self.before_decoder(images_to_channels_last(latents));
        images_to_channels_first(self.decoder.forward(latents, None))
    }

    /// A clip, with the decoder's temporal layers.
    ///
    /// # Shapes
    /// - `latents`: `[batch, frames, latent channels, height, width]`, unscaled
    /// - returns: `[batch, frames, channels, height·factor, width·factor]`
    pub fn decode_video(&self, latents: Tensor<5>, temporal: &TemporalDecoderLayers) -> Tensor<5> {
        let frames = latents.dims()[1];
        let time = TemporalContext {
            frames,
            first_frame: 0,
            tokens: None,
            max_distance: None,
            observed: None,
        };
        let latents = self.before_decoder(fold_frames(latents));
        unfold_frames(
            self.decoder.forward(latents, Some((temporal, &time))),
            frames,
        )
    }

    fn before_decoder(&self, mut latents: Tensor<4>) -> Tensor<4> {
        if let Some(codebook) = &self.quantize {
            latents = codebook.forward(latents);
        }
        match &self.post_quant_conv {
            Some(conv) => conv.forward(latents),
            None => latents,
        }
    }
}
