//! The tables of a recipe.

use serde::{Deserialize, Serialize};

use crate::data::{DataConfig, Fit};
use crate::error::{Error, Result};

/// The data type of the arithmetic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkingType {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, with the range of 32.
    Bf16,
}

impl WorkingType {
    /// What recipes call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// Whether the activations of a diffusion stage's U-Net are kept for the way back: `true`, `false`
/// or `"auto"`. See [`block_pass`](super::block_pass).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "toml::Value", into = "toml::Value")]
pub enum ActivationCheckpointing {
    /// They are.
    #[default]
    Off,
    /// Those of one block at a time; the others are computed again. Less memory, more time.
    On,
    /// As `On` where the run is expected not to fit into the machine's memory otherwise.
    Auto,
}

impl ActivationCheckpointing {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl TryFrom<toml::Value> for ActivationCheckpointing {
    type Error = String;

    fn try_from(value: toml::Value) -> std::result::Result<Self, String> {
        match (value.as_bool(), value.as_str()) {
            (Some(false), _) => Ok(Self::Off),
            (Some(true), _) => Ok(Self::On),
            (_, Some("auto")) => Ok(Self::Auto),
            _ => Err(format!(
                "activation_checkpointing is {value}, expected true, false or \"auto\""
            )),
        }
    }
}

impl From<ActivationCheckpointing> for toml::Value {
    fn from(choice: ActivationCheckpointing) -> Self {
        match choice {
            ActivationCheckpointing::Off => false.into(),
            ActivationCheckpointing::On => true.into(),
            ActivationCheckpointing::Auto => "auto".into(),
        }
    }
}

/// How clips become batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Clips of one pass.
    pub size: usize,
    /// Passes of one step, whose gradients are averaged.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Frames of a clip; several make buckets. The model's own where it is empty.
    #[serde(default)]
    pub frames: Vec<usize>,
    /// Frames per second; the model's own where it is empty.
    #[serde(default)]
    pub fps: Vec<f64>,
    /// Sizes in pixels, `[height, width]` each; the model's own where it is empty.
    #[serde(default)]
    pub sizes: Vec<[u32; 2]>,
    /// How clips of other sizes are fitted.
    #[serde(default)]
    pub fit: Fit,
}

/// What the networks are told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConditioningConfig {
    /// How often words, labels, boxes or the picture are left out, for guidance; each by itself.
    pub drop: f64,
    /// The same for labels alone, in place of `drop`.
    pub drop_labels: Option<f64>,
    /// The same for boxes alone, in place of `drop`; 1 in models of clips that share an image
    /// network with boxes.
    pub drop_boxes: Option<f64>,
    /// The frame index begins at a random number up to and without this.
    pub first_frame: usize,
    /// Stable Video Diffusion's amount of motion in the clips.
    pub motion_bucket: f64,
}

impl ConditioningConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let drops = [
            ("drop", Some(self.drop)),
            ("drop_labels", self.drop_labels),
            ("drop_boxes", self.drop_boxes),
        ];
        for (name, drop) in drops {
            if drop.is_some_and(|drop| !(0.0..=1.0).contains(&drop)) {
                return Err(Error::Config(format!(
                    "conditioning.{name} is {}, expected a probability from 0 to 1",
                    drop.unwrap_or_default()
                )));
            }
        }
        Ok(())
    }
}

impl Default for ConditioningConfig {
    fn default() -> Self {
        Self {
            drop: 0.1,
            drop_labels: None,
            drop_boxes: None,
            first_frame: 65,
            motion_bucket: 127.0,
        }
    }
}

/// A subject and the class it belongs to.
///
/// # Source
/// Ruiz et al. 2023 (arXiv:2208.12242), eq. 2; Blattmann et al. 2023, appendix H.3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DreamboothConfig {
    /// What the subject's pictures are called: "a sks car on a road".
    pub prompt: String,
    /// What the class's pictures are called: "a car on a road".
    pub class_prompt: String,
    /// Pictures of the class; made with the model before training where there are none.
    pub class_data: Option<DataConfig>,
    /// How many are made.
    #[serde(default = "two_hundred_fifty_six")]
    pub class_pictures: usize,
    /// Weight of the class in the loss.
    #[serde(default = "unit")]
    pub prior_weight: f64,
}

/// When a run is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps from one to the next; the last step is always saved.
    pub every: u64,
    /// How many of the latest are kept, at least 1.
    pub keep_last: usize,
    /// How many of the best on held-out clips are kept besides.
    pub keep_best: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every: 1000,
            keep_last: 2,
            keep_best: 1,
        }
    }
}

/// When a run is measured on held-out clips, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Steps from one to the next; 0 is never.
    pub every: u64,
    /// Batches, always the same, with always the same noise.
    pub batches: u64,
    /// Noise levels as shares of the model's range, 0 to 1: timesteps of a table, logarithms of
    /// sigma where there is none.
    pub levels: Vec<f64>,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            every: 500,
            batches: 4,
            levels: vec![0.1, 0.3, 0.5, 0.7, 0.9],
        }
    }
}

/// When samples are made, and how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplesConfig {
    /// Steps from one set to the next; 0 is never.
    pub every: u64,
    /// How many, conditioned as the first held-out clips are. Of the stages `autoencoder` and
    /// `decoder`: how many of those clips are decoded again, and shown beneath themselves.
    pub count: usize,
    /// Sampling steps.
    pub steps: usize,
}

impl Default for SamplesConfig {
    fn default() -> Self {
        Self {
            every: 0,
            count: 4,
            steps: 50,
        }
    }
}

fn one() -> usize {
    1
}

fn two_hundred_fifty_six() -> usize {
    256
}

fn unit() -> f64 {
    1.0
}
