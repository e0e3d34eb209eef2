//! The sizes of an autoencoder.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::temporal::{AlphaConfig, TemporalStart, TimeKernel};

/// An autoencoder between pixels and latents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderConfig {
    /// Channels of the pixels.
    #[serde(default = "three")]
    pub image_channels: usize,
    /// Channels of the latents.
    #[serde(default = "four")]
    pub latent_channels: usize,
    /// From full resolution to the latents', each at half the resolution of the one before.
    pub levels: Vec<AutoencoderLevel>,
    /// Residual blocks of each level of the encoder; the decoder has one more.
    #[serde(default = "two")]
    pub resnet_blocks: usize,
    /// Residual blocks in the decoder's middle. Two, except in odd SVD-type configurations.
    #[serde(default = "two")]
    pub decoder_mid_resnet_blocks: usize,
    /// Whether the middle has attention.
    #[serde(default = "yes")]
    pub mid_attention: bool,
    /// Groups of every group normalisation.
    #[serde(default = "thirty_two")]
    pub norm_groups: usize,
    /// What keeps the latents in bounds.
    pub regularization: Regularization,
    /// A 1×1 convolution after the encoder.
    #[serde(default = "yes")]
    pub quant_conv: bool,
    /// A 1×1 convolution before the decoder.
    #[serde(default = "yes")]
    pub post_quant_conv: bool,
    /// Latents are multiplied by this before diffusion and divided by it before decoding.
    pub scale_factor: f64,
}

/// One level of resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderLevel {
    /// Channels of the level's features.
    pub channels: usize,
    /// Whether each residual block is followed by attention.
    #[serde(default)]
    pub attention: bool,
}

/// What keeps the latents in bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Regularization {
    /// A Gaussian posterior, slightly pulled towards the standard normal.
    Kl,
    /// The nearest of a codebook's entries, taken when decoding.
    Vq {
        /// Entries of the codebook.
        codes: usize,
        /// Channels of an entry.
        code_channels: usize,
    },
}

/// Temporal layers of a decoder.
///
/// # Source
/// Blattmann et al. 2023, section 3.1.1 and table 8 (kernel 3×3×3); Stable Video Diffusion's
/// decoder (3×1×1, with a last convolution over time on the pixels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemporalDecoderConfig {
    /// Extent of the convolutions over time.
    pub kernel: TimeKernel,
    /// Number of mixing weights per mixer.
    #[serde(default = "scalar")]
    pub alpha: AlphaConfig,
    /// How fresh layers begin.
    #[serde(default = "identity")]
    pub start: TemporalStart,
}

impl AutoencoderConfig {
    /// Pixels per latent along each side.
    pub fn factor(&self) -> usize {
        1 << (self.levels.len() - 1)
    }

    /// Channels of the encoder's output: mean and log-variance, or the code alone.
    pub fn encoder_channels(&self) -> usize {
        match self.regularization {
            Regularization::Kl => 2 * self.latent_channels,
            Regularization::Vq { .. } => self.latent_channels,
        }
    }

    /// Checks what a constructor relies on.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::Config(format!("autoencoder: {message}")));
        if self.levels.is_empty() {
            return fail("`levels` is empty, expected at least one level".into());
        }
        for (index, level) in self.levels.iter().enumerate() {
            if level.channels == 0
                || self.norm_groups == 0
                || level.channels % self.norm_groups != 0
            {
                return fail(format!(
                    "level {index} has {} channels, expected a multiple of norm_groups = {}",
                    level.channels, self.norm_groups
                ));
            }
        }
        if self.resnet_blocks == 0 || self.decoder_mid_resnet_blocks == 0 {
            return fail("resnet_blocks and decoder_mid_resnet_blocks must be at least 1".into());
        }
        if !(self.scale_factor.is_finite() && self.scale_factor > 0.0) {
            return fail(format!(
                "scale_factor is {}, expected above 0",
                self.scale_factor
            ));
        }
        Ok(())
    }
}

fn two() -> usize {
    2
}

fn three() -> usize {
    3
}

fn four() -> usize {
    4
}

fn thirty_two() -> usize {
    32
}

fn yes() -> bool {
    true
}

fn scalar() -> AlphaConfig {
    AlphaConfig::Scalar
}

fn identity() -> TemporalStart {
    TemporalStart::Identity
}
