//! Presets: every model of the paper, and the public models it builds on, as data.
//!
//! A preset says what a model is made of, how it was trained and how it is sampled, and how many
//! parameters each part must have. The files lie in `presets/` and are compiled in;
//! [`Preset::load`] also reads a file of one's own. No public weights are shipped: [`Preset::weights`]
//! says where the public ones come from, and under which licence.
//!
//! Every preset `x` of a model, but those of the driving world, which are small themselves, has a
//! sibling `tiny-x` of the same form with few channels, which tests build and run.
//!
//! # Inheritance
//!
//! `base = "sd15"` starts from that preset, without its name, summary, weights and sizes; `without`
//! lists sections of it that are left out. The file's own tables are then laid over it key by key. A
//! table that has a `type` and a list are replaced whole.
//!
//! # Source
//! Blattmann et al. 2023 (arXiv:2304.08818), tables 6 and 8 and appendix H; Blattmann et al. 2023
//! (arXiv:2311.15127), appendix D; the configurations published with the public weights.

mod config;
mod embedded;
mod inspection;
mod load;
mod validate;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use config::{
    ClipConfig, ContextFrames, DiffusionConfig, Evidence, ExpectedSize, ExpectedTotal,
    NoiseAugmentationConfig, Part, SamplingConfig, Stage, StageConfig, WeightsNote,
};
pub use inspection::{Inspection, PartSize, inspect};

use crate::autoencoder::{AutoencoderConfig, TemporalDecoderConfig};
use crate::conditioning::boxes::BoxEncoderConfig;
use crate::conditioning::encoders::ConditionEncodersConfig;
use crate::conditioning::frame_rate::FrameRateConfig;
use crate::conditioning::labels::LabelEncoderConfig;
use crate::text::{ClipTextConfig, ClipVisionConfig, PadToken};
use crate::unet::{TemporalConfig, UNetConfig};

/// A model, or a stack of models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What commands and other presets call it.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Public weights, where there are any.
    pub weights: Option<WeightsNote>,
    /// What the model was trained on and is run at.
    pub clip: Option<ClipConfig>,
    /// Noise levels and what the network predicts.
    pub diffusion: Option<DiffusionConfig>,
    /// Published settings of a sampling run.
    pub sampling: Option<SamplingConfig>,
    /// Frames that are given to the model.
    pub context_frames: Option<ContextFrames>,
    /// The denoising network.
    pub unet: Option<UNetConfig>,
    /// Its temporal layers.
    pub temporal: Option<TemporalConfig>,
    /// Between pixels and latents.
    pub autoencoder: Option<AutoencoderConfig>,
    /// The decoder's temporal layers.
    pub temporal_decoder: Option<TemporalDecoderConfig>,
    /// Reads prompts.
    pub text_encoder: Option<ClipTextConfig>,
    /// The only words that the text encoder's table has rows for; all of CLIP's where it is empty.
    #[serde(default)]
    pub words: Vec<String>,
    /// What fills prompts up to the text encoder's window.
    #[serde(default)]
    pub pad_token: PadToken,
    /// Reads a still picture.
    pub image_encoder: Option<ClipVisionConfig>,
    /// Reads boxes.
    pub boxes: Option<BoxEncoderConfig>,
    /// Reads labels.
    pub labels: Option<LabelEncoderConfig>,
    /// Reads frame rates, for temporal cross-attention.
    pub frame_rate: Option<FrameRateConfig>,
    /// Parts whose parameters are learned from video. [`Part::Decoder`] is allowed here.
    #[serde(default)]
    pub trained_on_video: Vec<Part>,
    /// Exact parameter counts, and the paper's beside them. [`Part::VideoUnet`] is allowed here.
    #[serde(default)]
    pub sizes: BTreeMap<Part, ExpectedSize>,
    /// The stages of a stack, in order; empty for a model.
    #[serde(default)]
    pub stages: Vec<StageConfig>,
    /// Exact sums over a stack, and the paper's beside them.
    pub total: Option<ExpectedTotal>,
}

impl Preset {
    /// Whether this is a stack of other presets.
    #[must_use]
    pub fn is_stack(&self) -> bool {
        !self.stages.is_empty()
    }

    /// The parts the preset describes, in the order they are listed.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        Part::ALL.into_iter().filter(|p| self.has(*p)).collect()
    }

    /// The encoders of labels, boxes and frame rates.
    #[must_use]
    pub fn conditions(&self) -> ConditionEncodersConfig {
        ConditionEncodersConfig {
            labels: self.labels.clone(),
            boxes: self.boxes.clone(),
            frame_rate: self.frame_rate,
        }
    }

    fn has(&self, part: Part) -> bool {
        match part {
            Part::Autoencoder | Part::Decoder => self.autoencoder.is_some(),
            Part::Unet => self.unet.is_some(),
            Part::Temporal => self.temporal.is_some(),
            Part::VideoUnet => self.unet.is_some() && self.temporal.is_some(),
            Part::TemporalDecoder => self.temporal_decoder.is_some(),
            Part::Labels => self.labels.is_some(),
            Part::Boxes => self.boxes.is_some(),
            Part::FrameRate => self.frame_rate.is_some(),
            Part::TextEncoder => self.text_encoder.is_some(),
            Part::ImageEncoder => self.image_encoder.is_some(),
        }
    }
}
