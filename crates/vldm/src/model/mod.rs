//! Whole models: which parts a path on disk holds, and those parts filled with its weights.
//!
//! [`ModelDescription::open`] reads configurations only: enough to plan, count and refuse.
//! [`ModelDescription::load`] reads the weights. A diffusers folder, one part of one, and a
//! single-file checkpoint all become the same [`Model`].

mod assemble;
mod foreign;
mod load;
mod noise;
mod open;
mod save;
mod stack;
mod to_foreign;

use std::path::PathBuf;

use burn::tensor::{DType, Device};

pub use assemble::assemble;
pub(crate) use load::temporal_parameters;
pub use load::{LoadSettings, load_temporal};
pub use noise::NoiseDescription;
pub use save::{SaveSettings, save, save_temporal};
pub(crate) use save::{Unchanged, save_beside};
pub use stack::{STACK_FORMAT, StackConfig, StageConfig, UsualSettings};

use crate::autoencoder::{
    Autoencoder, AutoencoderConfig, TemporalDecoderConfig, TemporalDecoderLayers,
};
use crate::checkpoint::LoadReport;
use crate::conditioning::encoders::{ConditionEncoders, ConditionEncodersConfig};
use crate::diffusion::Parameterization;
use crate::error::{Error, Result};
use crate::preset::Preset;
use crate::text::{
    ClipTextConfig, ClipTextEncoder, ClipVisionConfig, ClipVisionEncoder, PadToken, Tokenizer,
};
use crate::train::latest_model;
use crate::unet::{TemporalConfig, TemporalLayers, UNet, UNetConfig};

/// What a model on disk is made of, without its weights.
#[derive(Debug, Clone)]
pub struct ModelDescription {
    /// The folder or file.
    pub path: PathBuf,
    /// What it calls itself, for messages ("StableVideoDiffusionPipeline").
    pub kind: String,
    /// The denoising network.
    pub unet: Option<UNetDescription>,
    /// Between pixels and latents.
    pub autoencoder: Option<AutoencoderDescription>,
    /// Reads prompts.
    pub text_encoder: Option<ClipTextConfig>,
    /// Of a preset: the only words its text encoder knows, all where it is empty. A folder's
    /// tokenizer has them.
    pub known_words: Vec<String>,
    /// Of a preset: what fills prompts. A folder's tokenizer says it.
    pub pad_token: PadToken,
    /// Reads pictures.
    pub image_encoder: Option<ClipVisionConfig>,
    /// Reads labels, boxes and frame rates.
    pub conditions: Option<ConditionEncodersConfig>,
    /// Noise levels and how steps are picked from them.
    pub noise: Option<NoiseDescription>,
    /// A file of temporal layers to put onto the U-Net: the stack's, or the model folder's own.
    pub temporal_file: Option<PathBuf>,
    /// A file of the decoder's temporal layers, where they are not in the autoencoder's own.
    pub decoder_file: Option<PathBuf>,
    /// What the stack usually runs the model with.
    pub usual: UsualSettings,
    /// What the stack says a user should know.
    pub note: Option<String>,
    source: open::Source,
}

/// A U-Net on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetDescription {
    /// The image network.
    pub config: UNetConfig,
    /// Its temporal layers, where the model has them.
    pub temporal: Option<TemporalConfig>,
    /// Height and width of the latents it was trained on.
    pub sample_size: Option<[usize; 2]>,
    /// Frames per clip it was trained on.
    pub num_frames: Option<usize>,
}

/// An autoencoder on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoencoderDescription {
    /// The image autoencoder.
    pub config: AutoencoderConfig,
    /// The decoder's temporal layers, where the model has them.
    pub temporal: Option<TemporalDecoderConfig>,
}

/// A model with its weights.
#[derive(Debug)]
pub struct Model {
    /// What was read to build it.
    pub description: ModelDescription,
    /// The denoising network.
    pub unet: Option<VideoUNet>,
    /// Between pixels and latents.
    pub autoencoder: Option<VideoAutoencoder>,
    /// Reads prompts.
    pub text_encoder: Option<ClipTextEncoder>,
    /// Turns prompts into what the text encoder reads.
    pub tokenizer: Option<Tokenizer>,
    /// Reads pictures.
    pub image_encoder: Option<ClipVisionEncoder>,
    /// Reads labels, boxes and frame rates.
    pub conditions: Option<ConditionEncoders>,
    /// What each load did, in order.
    pub reports: Vec<LoadReport>,
    /// Where the parameters are.
    pub device: Device,
    /// The parameters' data type.
    pub dtype: DType,
}

/// A U-Net with the temporal layers that were put onto it.
#[derive(Debug)]
pub struct VideoUNet {
    /// The sizes of the image network.
    pub config: UNetConfig,
    /// The image network.
    pub unet: UNet,
    /// Temporal layers; without them each frame is an image of its own.
    pub temporal: Option<TemporalLayers>,
    /// The sizes of the temporal layers.
    pub temporal_config: Option<TemporalConfig>,
}

impl VideoUNet {
    /// Checks that the temporal layers can run on `frames` frames with nothing given.
    ///
    /// # Errors
    /// [`Error::Input`] when they wait for given frames, or are made for another number of frames;
    /// [`Error::Config`] when they read tokens of another model.
    pub(crate) fn check_frames(&self, frames: usize) -> Result<()> {
        let Some(config) = self
            .temporal_config
            .as_ref()
            .filter(|_| self.temporal.is_some())
        else {
            return Ok(());
        };
        if config.observed.is_some() {
            return Err(Error::Input(
                "these temporal layers read given frames (a context path), which cannot be given \
                 here: use temporal layers of key frames"
                    .into(),
            ));
        }
        config.check_width([self.config.context_width, None])?;
        config.check_frames(frames)
    }
}

/// An autoencoder with the temporal layers that were put onto its decoder.
#[derive(Debug, Clone)]
pub struct VideoAutoencoder {
    /// The sizes of the image autoencoder.
    pub config: AutoencoderConfig,
    /// The image autoencoder.
    pub autoencoder: Autoencoder,
    /// The decoder's temporal layers.
    pub temporal: Option<TemporalDecoderLayers>,
}

impl ModelDescription {
    /// Width of the tokens of the frame rate, where the model makes any.
    pub(crate) fn frame_rate_width(&self) -> Option<usize> {
        let conditions = self.conditions.as_ref()?;
        Some(conditions.frame_rate?.width)
    }

    /// Reads what a model is made of: configurations, or the names and shapes in a single file. Of a
    /// training run that is its latest checkpoint.
    ///
    /// `parameterization` overrides what the model says it predicts, and must be given for single
    /// files that cannot tell (Stable Diffusion 2.x).
    ///
    /// # Errors
    /// When the path is no model, or one that is not supported; the message says what was looked
    /// for, found and expected.
    pub fn open(
        path: impl Into<PathBuf>,
        parameterization: Option<Parameterization>,
    ) -> Result<Self> {
        let path = path.into();
        let path = latest_model(&path)?.unwrap_or(path);
        let mut description = open::open(path, parameterization)?;
        if let (Some(noise), Some(parameterization)) = (&mut description.noise, parameterization) {
            noise.parameterization = parameterization;
        }
        Ok(description)
    }

    /// Bytes of all parameters, at so many for each.
    #[must_use]
    pub fn weight_bytes(&self, bytes_per_value: u64) -> u64 {
        let counts = self.parameter_counts();
        counts.iter().map(|part| part.1 as u64).sum::<u64>() * bytes_per_value
    }

    /// What the classes of boxes are called; empty where it reads none, or they have no names.
    #[must_use]
    pub fn box_classes(&self) -> &[String] {
        let boxes = self.conditions.as_ref().and_then(|all| all.boxes.as_ref());
        boxes.map_or(&[], |boxes| boxes.class_names.as_slice())
    }

    /// A preset's model with fresh weights from `seed`, for measuring and for trying things out.
    ///
    /// # Errors
    /// [`Error::Config`] when the preset is a stack of several models.
    pub fn from_preset(preset: &Preset, seed: u64) -> Result<Self> {
        open::preset(preset, seed)
    }

    /// Exact parameter counts by part, nothing allocated: (part, count).
    pub fn parameter_counts(&self) -> Vec<(&'static str, usize)> {
        load::parameter_counts(self)
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// When weights are missing, surplus, misshapen or damaged: all of it listed at once.
    pub fn load(self, settings: &LoadSettings) -> Result<Model> {
        load::load(self, settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::temporal::AlphaConfig;

    #[test]
    fn layers_that_wait_for_given_frames_are_refused() {
        let settings = LoadSettings {
            device: Device::flex(),
            dtype: DType::F32,
            temporal: None,
        };
        let model = |preset: &str| {
            let preset = Preset::load(preset).unwrap();
            let description = ModelDescription::from_preset(&preset, 0).unwrap();
            description.load(&settings).unwrap()
        };
        let mut unet = model("tiny-driving-prediction").unet.unwrap();
        let error = unet.check_frames(10).unwrap_err().to_string();
        assert!(error.contains("read given frames"), "{error}");
        if let Some(config) = &mut unet.temporal_config {
            config.observed = None;
            config.alpha = AlphaConfig::PerFrame { frames: 5 };
        }
        let error = unet.check_frames(8).unwrap_err().to_string();
        assert!(error.contains("made for 5 frames, not 8"), "{error}");
        assert!(unet.check_frames(5).is_ok());
        let unet = model("tiny-sd15-video").unet.unwrap();
        assert!(unet.check_frames(3).is_ok());
    }
}
