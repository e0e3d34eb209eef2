//! The sizes of a U-Net and of its temporal layers.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::temporal::{AlphaConfig, TemporalStart};

/// An image U-Net.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNetConfig {
    /// Channels of the input: the noisy latents and whatever is concatenated to them.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// The levels from the finest to the coarsest, each at half the resolution of the one before.
    pub levels: Vec<LevelConfig>,
    /// The transformer in the middle; `None` leaves two residual blocks alone.
    pub mid_transformer: Option<TransformerConfig>,
    /// Width of the tokens that cross-attention reads; `None` leaves cross-attention out.
    #[serde(default)]
    pub context_width: Option<usize>,
    /// Conditioning added to the noise-level embedding.
    #[serde(default)]
    pub vector: VectorConfig,
    /// Groups of every group normalisation.
    #[serde(default = "thirty_two")]
    pub norm_groups: usize,
    /// What the residual blocks' normalisations add to the variance.
    #[serde(default)]
    pub norm_eps: NormEps,
    /// Frequencies in which the transformers' tokens are told their place in the frame; 0 tells nothing,
    /// as in all public models.
    #[serde(default)]
    pub position_octaves: usize,
    /// How a file stores the projections around the transformers; the computation is the same.
    #[serde(default)]
    pub projection: ProjectionLayout,
}

/// One level of resolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelConfig {
    /// Channels of the level's features.
    pub channels: usize,
    /// Residual blocks on the way down; there is one more on the way up.
    pub resnet_blocks: usize,
    /// The transformer after each residual block.
    #[serde(default)]
    pub transformer: Option<TransformerConfig>,
}

/// The transformers of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Number of attention heads, each of ⌊channels / heads⌋ channels.
    pub heads: usize,
    /// Transformer blocks in a row.
    #[serde(default = "one")]
    pub blocks: usize,
    /// `false`: the first attention reads the context too (the x4-upscaler's outer levels).
    #[serde(default = "yes")]
    pub self_attention: bool,
}

/// Conditioning that enters through the noise-level embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum VectorConfig {
    /// None.
    #[default]
    None,
    /// One of `count` learned vectors (the upsamplers' noise level).
    Label {
        /// Number of labels.
        count: usize,
    },
    /// Several numbers, each as a sinusoidal code (Stable Video Diffusion: fps − 1, motion bucket,
    /// noise augmentation).
    Scalars {
        /// How many numbers.
        count: usize,
        /// Channels of each number's code.
        width: usize,
    },
}

/// ε of the residual blocks' group normalisations. Checkpoints differ, and it matters at the
/// fourth decimal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum NormEps {
    /// The same everywhere.
    Uniform {
        /// Its value.
        eps: f64,
    },
    /// As diffusers runs Stable Video Diffusion: 1e-6 in levels with a transformer and on the
    /// whole way up, 1e-5 in plain levels on the way down and in the middle.
    StableVideoDiffusion,
}

impl Default for NormEps {
    fn default() -> Self {
        NormEps::Uniform { eps: 1e-5 }
    }
}

/// Where in the U-Net a residual block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Down,
    Mid,
    Up,
}

impl NormEps {
    pub(crate) fn at(self, place: Place, has_transformer: bool) -> f64 {
        match (self, place) {
            (NormEps::Uniform { eps }, _) => eps,
            (NormEps::StableVideoDiffusion, Place::Up) => 1e-6,
            (NormEps::StableVideoDiffusion, Place::Down) if has_transformer => 1e-6,
            (NormEps::StableVideoDiffusion, _) => 1e-5,
        }
    }

    /// ε of the last normalisation.
    pub(crate) fn out(self) -> f64 {
        match self {
            NormEps::Uniform { eps } => eps,
            NormEps::StableVideoDiffusion => 1e-5,
        }
    }
}

/// How a checkpoint stores a transformer's entry and exit projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionLayout {
    /// As a 1×1 convolution (Stable Diffusion 1.x).
    #[default]
    Convolution,
    /// As a matrix (Stable Diffusion 2.x and later).
    Linear,
}

/// Temporal layers for a U-Net.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemporalConfig {
    /// Width of the tokens that temporal cross-attention reads; `None` leaves it out.
    #[serde(default)]
    pub context_width: Option<usize>,
    /// The context path c_S into the temporal convolutions.
    #[serde(default)]
    pub observed: Option<ObservedConfig>,
    /// Whether temporal attention knows the frame index.
    #[serde(default = "yes")]
    pub positions: bool,
    /// Number of mixing weights per mixer.
    #[serde(default = "scalar")]
    pub alpha: AlphaConfig,
    /// How fresh layers begin.
    #[serde(default = "identity")]
    pub start: TemporalStart,
}

/// The context path: observed frames, masked, and the mask.
///
/// # Source
/// Blattmann et al. 2023, section 3.2, table 6 ("dim c_S", "context channels").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservedConfig {
    /// Channels of c_S: the observed latents and one mask channel, or low-resolution RGB.
    pub in_channels: usize,
    /// Channels after the learned downsampling.
    pub channels: usize,
}

impl TemporalConfig {
    /// Checks what a constructor relies on, for layers in a U-Net of these sizes.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that does not fit.
    pub fn validate(&self, unet: &UNetConfig) -> Result<()> {
        let fail = |message: String| Err(Error::Config(format!("temporal layers: {message}")));
        if self.alpha == (AlphaConfig::PerFrame { frames: 0 }) {
            return fail("alpha.frames is 0, expected at least 1".into());
        }
        match self.observed {
            Some(observed) if observed.in_channels == 0 || observed.channels == 0 => {
                fail("observed.in_channels and observed.channels must be at least 1".into())
            }
            Some(observed) if observed.channels % unet.norm_groups != 0 => fail(format!(
                "observed.channels is {}, expected a multiple of norm_groups = {}",
                observed.channels, unet.norm_groups
            )),
            _ => Ok(()),
        }
    }

    /// Whether the layers read tokens of one of the widths that there are.
    ///
    /// # Errors
    /// [`Error::Config`] where they belong to another model.
    pub(crate) fn check_width(&self, made: [Option<usize>; 2]) -> Result<()> {
        match self.context_width {
            Some(width) if !made.contains(&Some(width)) => Err(Error::Config(format!(
                "temporal layers: context_width is {width}, but the tokens that they are given have {:?}: \
                 they belong to another model",
                made.into_iter().flatten().collect::<Vec<_>>()
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the layers can be run over so many frames at a time.
    ///
    /// # Errors
    /// [`Error::Input`] where each of another number of frames has a weight of its own.
    pub(crate) fn check_frames(&self, frames: usize) -> Result<()> {
        match self.alpha {
            AlphaConfig::PerFrame { frames: own } if own != frames => Err(Error::Input(format!(
                "these temporal layers are made for {own} frames, not {frames}"
            ))),
            _ => Ok(()),
        }
    }
}

impl UNetConfig {
    /// Width of the noise-level embedding.
    pub fn embedding_width(&self) -> usize {
        4 * self.levels[0].channels
    }

    /// Latent sizes that halve evenly are a multiple of this; others work too, with one row or
    /// column more on the coarse side.
    pub fn size_factor(&self) -> usize {
        1 << (self.levels.len() - 1)
    }

    /// Checks what a constructor relies on.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::Config(format!("U-Net: {message}")));
        if self.levels.is_empty() {
            return fail("`levels` is empty, expected at least one level".into());
        }
        if self.in_channels == 0 || self.out_channels == 0 || self.norm_groups == 0 {
            return fail("in_channels, out_channels and norm_groups must be at least 1".into());
        }
        let last = &self.levels[self.levels.len() - 1];
        let middle = LevelConfig {
            transformer: self.mid_transformer,
            ..last.clone()
        };
        for (index, level) in self.levels.iter().chain([&middle]).enumerate() {
            let place = format!("level {index}");
            if level.channels == 0 || level.channels % self.norm_groups != 0 {
                return fail(format!(
                    "{place} has {} channels, expected a multiple of norm_groups = {}",
                    level.channels, self.norm_groups
                ));
            }
            if level.resnet_blocks == 0 {
                return fail(format!(
                    "{place} has no residual blocks, expected at least 1"
                ));
            }
            if let Some(transformer) = level.transformer {
                transformer.validate(&place, level.channels, self.context_width)?;
            }
        }
        Ok(())
    }
}

impl TransformerConfig {
    fn validate(self, place: &str, channels: usize, context: Option<usize>) -> Result<()> {
        if self.heads == 0 || self.heads > channels {
            return Err(Error::Config(format!(
                "U-Net: {place} has {} heads for {channels} channels, expected between 1 and that",
                self.heads
            )));
        }
        if self.blocks == 0 {
            return Err(Error::Config(format!(
                "U-Net: {place} has a transformer of 0 blocks, expected at least 1"
            )));
        }
        if !self.self_attention && context.is_none() {
            return Err(Error::Config(format!(
                "U-Net: {place} has self_attention = false, which needs context_width"
            )));
        }
        Ok(())
    }
}

fn one() -> usize {
    1
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
