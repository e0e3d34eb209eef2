//! The stages of training.
//!
//! # Source
//! Blattmann et al. 2023, sections 3.1–3.4, 4.1 and appendix H; Blattmann et al. 2023
//! (arXiv:2311.15127), section 4.

use serde::{Deserialize, Serialize};

use super::adversarial::AdversarialStage;
use crate::error::{Error, Result};
use crate::preset::{ContextFrames, Part, Preset};

/// What is trained, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingStage {
    /// Between pixels and latents, on pictures.
    Autoencoder,
    /// An image model, from nothing or from a checkpoint.
    Image,
    /// An image model that reads boxes.
    Boxes,
    /// Temporal layers in a frozen image model: key frames.
    Temporal,
    /// Temporal layers that continue given frames.
    Prediction,
    /// Frames between given ones.
    Interpolation,
    /// The decoder over time.
    Decoder,
    /// The upsampler: its image model, or its temporal layers where the model has them.
    Upsampler,
    /// Stable Video Diffusion, image to video.
    Svd,
    /// A subject from a handful of pictures.
    Dreambooth,
}

impl TrainingStage {
    /// All of them, in the order in which a stack is trained.
    pub const ALL: [Self; 10] = [
        Self::Autoencoder,
        Self::Image,
        Self::Boxes,
        Self::Temporal,
        Self::Prediction,
        Self::Interpolation,
        Self::Decoder,
        Self::Upsampler,
        Self::Svd,
        Self::Dreambooth,
    ];

    /// What the command line and recipes call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Autoencoder => "autoencoder",
            Self::Image => "image",
            Self::Boxes => "boxes",
            Self::Temporal => "temporal",
            Self::Prediction => "prediction",
            Self::Interpolation => "interpolation",
            Self::Decoder => "decoder",
            Self::Upsampler => "upsampler",
            Self::Svd => "svd",
            Self::Dreambooth => "dreambooth",
        }
    }

    /// Which adversarial stage it is, if it is one.
    #[must_use]
    pub fn adversarial(self) -> Option<AdversarialStage> {
        match self {
            Self::Autoencoder => Some(AdversarialStage::Autoencoder),
            Self::Decoder => Some(AdversarialStage::Decoder),
            _ => None,
        }
    }

    /// Whether a discriminator takes part.
    #[must_use]
    pub fn is_adversarial(self) -> bool {
        self.adversarial().is_some()
    }

    /// Whether it learns from single pictures.
    #[must_use]
    pub fn reads_pictures(self, preset: &Preset) -> bool {
        match self {
            Self::Autoencoder | Self::Image | Self::Boxes | Self::Dreambooth => true,
            Self::Upsampler => preset.temporal.is_none(),
            _ => false,
        }
    }

    /// Whether the temporal layers of the model take part.
    #[must_use]
    pub fn uses_temporal_layers(self) -> bool {
        !matches!(
            self,
            Self::Autoencoder | Self::Image | Self::Boxes | Self::Decoder | Self::Dreambooth
        )
    }

    /// The parameters that learn, by the beginnings of their names, as the paper trains the stage.
    #[must_use]
    pub fn learns(self, preset: &Preset) -> Vec<&'static str> {
        match self {
            Self::Autoencoder => vec!["autoencoder.", "discriminator."],
            Self::Image => vec!["unet.", "conditions."],
            Self::Boxes => vec!["unet.", "conditions.boxes."],
            Self::Temporal | Self::Prediction => vec!["temporal."],
            Self::Interpolation => {
                let mut learns = vec!["temporal.", "conditions.frame_rate."];
                if preset.trained_on_video.contains(&Part::Unet) {
                    learns.push("unet.");
                }
                learns
            }
            Self::Decoder => vec![
                "autoencoder.decoder.",
                "autoencoder.post_quant_conv.",
                "temporal_decoder.",
                "discriminator.",
            ],
            Self::Upsampler if preset.temporal.is_some() => vec!["temporal."],
            Self::Upsampler => vec!["unet.", "conditions."],
            Self::Svd => vec!["unet.", "temporal."],
            Self::Dreambooth => vec!["unet.", "text_encoder."],
        }
    }

    /// Checks that a preset has what the stage needs.
    ///
    /// # Errors
    /// [`Error::Config`] naming the missing section.
    pub fn check(self, preset: &Preset) -> Result<()> {
        let needs: &[(&str, bool)] = &[
            (
                "[autoencoder]",
                self.is_adversarial() && preset.autoencoder.is_none(),
            ),
            (
                "[temporal_decoder]",
                self == Self::Decoder && preset.temporal_decoder.is_none(),
            ),
            ("[unet]", !self.is_adversarial() && preset.unet.is_none()),
            (
                "[diffusion]",
                !self.is_adversarial() && preset.diffusion.is_none(),
            ),
            ("[boxes]", self == Self::Boxes && preset.boxes.is_none()),
            (
                "[temporal]",
                matches!(
                    self,
                    Self::Temporal | Self::Prediction | Self::Interpolation | Self::Svd
                ) && preset.temporal.is_none(),
            ),
            (
                "[context_frames] of type \"first\"",
                self == Self::Prediction
                    && !matches!(preset.context_frames, Some(ContextFrames::First { .. })),
            ),
            (
                "[context_frames] of type \"ends\"",
                self == Self::Interpolation
                    && !matches!(preset.context_frames, Some(ContextFrames::Ends { .. })),
            ),
            (
                "[context_frames] of type \"image\"",
                self == Self::Svd
                    && !matches!(preset.context_frames, Some(ContextFrames::Image {})),
            ),
            (
                "clip.upscale",
                self == Self::Upsampler
                    && preset.clip.as_ref().and_then(|clip| clip.upscale).is_none()
                    && preset.name != "x4-upscaler",
            ),
            (
                "[text_encoder]",
                self == Self::Dreambooth && preset.text_encoder.is_none(),
            ),
        ];
        match needs.iter().find(|(_, missing)| *missing) {
            None => Ok(()),
            Some((section, _)) => Err(Error::Config(format!(
                "`train {}` needs {section} in the model, which \"{}\" does not have",
                self.name(),
                preset.name
            ))),
        }
    }
}

impl std::str::FromStr for TrainingStage {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.name() == name)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|stage| stage.name()).collect();
                Error::Input(format!(
                    "there is no stage \"{name}\"; expected one of {}",
                    names.join(", ")
                ))
            })
    }
}
