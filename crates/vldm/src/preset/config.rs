//! The sections of a preset that no other module has a type for.

use serde::{Deserialize, Serialize};

use crate::diffusion::{
    Guidance, NoiseLevelSampling, NoiseScheduleConfig, Parameterization, StepsConfig,
};
use crate::sampler::SamplerConfig;

/// Where public weights come from. None are shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsNote {
    /// Who publishes them, and where.
    pub source: String,
    /// Their licence.
    pub license: String,
}

/// The clips of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// Height of the result, in pixels.
    pub height: usize,
    /// Width of the result, in pixels.
    pub width: usize,
    /// Frames of a window; 1 for an image model.
    #[serde(default = "one")]
    pub num_frames: usize,
    /// Frame rates it was trained at, in frames per second; empty for an image model.
    #[serde(default)]
    pub fps: Vec<f64>,
    /// Of an upsampler: how many times larger than its input the result is.
    pub upscale: Option<usize>,
}

/// How a model was trained to denoise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffusionConfig {
    /// The noise levels it knows.
    pub schedule: NoiseScheduleConfig,
    /// What the network predicts.
    pub parameterization: Parameterization,
    /// The law of noise levels in training; without it, uniform over the table.
    pub noise_levels: Option<NoiseLevelSampling>,
    /// Noise on what is given to the model: frames, or a low-resolution clip.
    pub noise_augmentation: Option<NoiseAugmentationConfig>,
    /// Of an upsampler in pixels: it makes what enlarging the low-resolution clip lacks, times this;
    /// one over that residual's deviation. Without it, the whole clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual_scale: Option<f64>,
}

/// Noise on a condition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseAugmentationConfig {
    /// The law in training.
    pub training: NoiseLevelSampling,
    /// The level when sampling: a timestep where the law is uniform, a sigma where it is
    /// log-normal. Without it the condition stays clean.
    pub level: Option<f64>,
}

/// Published settings of a sampling run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// The stepping rule.
    pub sampler: SamplerConfig,
    /// Number of steps.
    pub steps: usize,
    /// How strongly the condition is followed.
    pub guidance: Guidance,
    /// Which levels the steps visit.
    pub spacing: StepsConfig,
}

/// The frames that are given, and so not generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ContextFrames {
    /// The first frames of the window: prediction.
    First {
        /// Probability in training of 0, 1, 2, … given frames.
        probabilities: Vec<f64>,
    },
    /// As many frames at either end of the window: interpolation.
    Ends {
        /// Frames at each end.
        each: usize,
    },
    /// The first frame, shown through every frame's input: image to video.
    Image {},
}

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Encoder and decoder.
    Autoencoder,
    /// The decoder alone, a share of [`Part::Autoencoder`]: names what is trained.
    Decoder,
    /// The image U-Net.
    Unet,
    /// Its temporal layers.
    Temporal,
    /// [`Part::Unet`] and [`Part::Temporal`] together: names a printed sum.
    VideoUnet,
    /// The decoder's temporal layers.
    TemporalDecoder,
    /// The label encoder.
    Labels,
    /// The box encoder.
    Boxes,
    /// The frame-rate tokens.
    FrameRate,
    /// The text encoder.
    TextEncoder,
    /// The picture encoder.
    ImageEncoder,
}

impl Part {
    /// All that stand for themselves, in the order they are listed.
    pub(crate) const ALL: [Part; 9] = [
        Part::Autoencoder,
        Part::Unet,
        Part::Temporal,
        Part::TemporalDecoder,
        Part::Labels,
        Part::Boxes,
        Part::FrameRate,
        Part::TextEncoder,
        Part::ImageEncoder,
    ];

    /// What people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Part::Autoencoder => "autoencoder",
            Part::Decoder => "decoder",
            Part::Unet => "U-Net",
            Part::Temporal => "temporal layers",
            Part::VideoUnet => "U-Net with temporal layers",
            Part::TemporalDecoder => "decoder's temporal layers",
            Part::Labels => "label encoder",
            Part::Boxes => "box encoder",
            Part::FrameRate => "frame-rate tokens",
            Part::TextEncoder => "text encoder",
            Part::ImageEncoder => "picture encoder",
        }
    }

    /// Whether sums count it. The paper's leave out the frozen encoders of text; so do ours, and
    /// those of pictures.
    #[must_use]
    pub fn in_total(self) -> bool {
        !matches!(
            self,
            Part::TextEncoder | Part::ImageEncoder | Part::VideoUnet | Part::Decoder
        )
    }
}

/// Where a size is known from, beside our own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The paper prints it.
    Stated,
    /// It follows from the paper's tables, which print no size.
    Derived,
    /// The public weights have it.
    Public,
    /// It is of our own making: where the paper is silent, and tiny models.
    Ours,
}

impl Evidence {
    /// As it is printed.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Evidence::Stated => "stated",
            Evidence::Derived => "derived",
            Evidence::Public => "public",
            Evidence::Ours => "ours",
        }
    }
}

/// The size a part must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedSize {
    /// Exact number of parameters.
    pub parameters: usize,
    /// The number as printed, in the paper or with public weights.
    pub paper: Option<String>,
    /// Where it is known from.
    pub evidence: Evidence,
    /// What is not obvious.
    pub note: Option<String>,
}

/// The sums a stack must have. Parts of the stack that are trained on video count as such, and
/// parts with `counted = false` not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedTotal {
    /// Exact number of parameters.
    pub parameters: usize,
    /// Exact number of parameters trained on video.
    pub trained_on_video: usize,
    /// The first as printed.
    pub paper: Option<String>,
    /// The second as printed.
    pub paper_trained: Option<String>,
}

/// A stage of the whole system (Blattmann et al. 2023, figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A first frame from labels.
    Image,
    /// A first frame from boxes.
    Boxes,
    /// Sparse key frames.
    KeyFrames,
    /// Sparse key frames after given ones.
    Prediction,
    /// Frames between, run twice with the same weights.
    Interpolation,
    /// Latents to pixels.
    Decoder,
    /// To four times the resolution.
    Upsampler,
}

impl Stage {
    /// As it is printed.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Stage::Image => "image",
            Stage::Boxes => "boxes",
            Stage::KeyFrames => "key frames",
            Stage::Prediction => "prediction",
            Stage::Interpolation => "interpolation",
            Stage::Decoder => "decoder",
            Stage::Upsampler => "upsampler",
        }
    }
}

/// One stage of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Which stage.
    pub stage: Stage,
    /// The preset that serves it.
    pub preset: String,
    /// The parts of the preset that this stage brings. A part that another stage already brought
    /// is not named again, so that it is counted once.
    pub parts: Vec<Part>,
    /// Whether the paper's sum counts these parts.
    #[serde(default = "yes")]
    pub counted: bool,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}
