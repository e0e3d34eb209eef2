//! What a diffusion stage learns from in one pass: clean latents, the noise that is put on them,
//! and everything the networks are told.

use burn::tensor::{Int, Tensor};

use crate::conditioning::boxes::BoxBatch;
use crate::diffusion::NoiseLevel;

/// A batch for a diffusion stage. Nothing random is left to be drawn.
#[derive(Debug, Clone)]
pub struct Example {
    /// What the network learns to make: scaled latents, or pixels of a pixel-space model,
    /// `[batch, frames, channels, height, width]`.
    pub clean: Tensor<5>,
    /// Unit-variance noise, shape of `clean`.
    pub noise: Tensor<5>,
    /// One noise level per clip.
    pub levels: Vec<NoiseLevel>,
    /// Weight of each frame of each clip in the loss, clip after clip; see [`frame_weights`].
    pub weights: Vec<f64>,
    /// What spatial cross-attention reads.
    pub context: Words,
    /// What temporal cross-attention reads.
    pub temporal_context: TemporalWords,
    /// Frames that are given to the model.
    pub given: Option<Given>,
    /// What the result is conditioned on pixel by pixel.
    pub low: Option<LowResolution>,
    /// Latents of a still picture for every frame's input, `[batch, channels, height, width]`.
    pub image: Option<Tensor<4>>,
    /// Stable Video Diffusion's scalars, `[batch, 3]`.
    pub scalars: Option<Tensor<2>>,
    /// Absolute index of the first frame.
    pub first_frame: usize,
    /// Farthest frame that temporal attention looks at; `None` looks at all.
    pub max_distance: Option<usize>,
}

/// What cross-attention reads, before the encoder that makes tokens of it.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
pub enum Words {
    /// Nothing.
    None,
    /// Tokens, `[batch, tokens, width]`.
    Tokens(Tensor<3>),
    /// Token ids of prompts, `[batch, tokens]`.
    Text(Tensor<2, Int>),
    /// Label indices, `[batch, labels]`.
    Labels(Tensor<2, Int>),
    /// Boxes, one list per clip.
    Boxes(BoxBatch),
    /// The tokens of all of these, one after the other.
    All(Vec<Words>),
}

/// What temporal cross-attention reads.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
pub enum TemporalWords {
    /// The same as spatial cross-attention.
    Spatial,
    /// Tokens of their own, `[batch, tokens, width]`.
    Tokens(Tensor<3>),
    /// Frame rates.
    FrameRate {
        /// Which interpolation, counted from 0, `[batch]`.
        regime: Tensor<1, Int>,
        /// Frames per second, `[batch]`.
        fps: Tensor<1>,
    },
}

/// Given frames and the noise on them.
#[derive(Debug, Clone)]
pub struct Given {
    /// 1 where a frame is given, else 0, `[batch, frames]`.
    pub mask: Tensor<2>,
    /// Noise augmentation.
    pub augmentation: Augmentation,
}

/// A low-resolution clip and the noise on it.
#[derive(Debug, Clone)]
pub struct LowResolution {
    /// RGB in \[−1, 1\], `[batch, frames, 3, height, width]`: at the size of `clean`, or smaller by
    /// a whole factor and then enlarged by repetition.
    pub pixels: Tensor<5>,
    /// Noise augmentation; the network is told its timestep as a label.
    pub augmentation: Augmentation,
}

/// Noise on what a model is conditioned on, against its drifting off its own errors.
///
/// # Source
/// Blattmann et al. 2023, sections 3.3 and 3.4 (from Ho et al. 2022, arXiv:2106.15282).
#[derive(Debug, Clone)]
pub struct Augmentation {
    /// Unit-variance noise, shape of what it is put on.
    pub noise: Tensor<5>,
    /// One level per clip.
    pub levels: Vec<NoiseLevel>,
}

/// Weights of frames that make the loss a mean over everything that is not given: 1/n for each of
/// n frames to be made, 0 for given ones.
///
/// `given` has one entry per frame of each clip, clip after clip.
#[must_use]
pub fn frame_weights(given: &[bool]) -> Vec<f64> {
    let count = given.iter().filter(|given| !**given).count().max(1);
    given
        .iter()
        .map(|&given| if given { 0.0 } else { 1.0 / count as f64 })
        .collect()
}

impl Example {
    /// The same on the device that keeps track of gradients.
    #[must_use]
    pub fn tracked(self) -> Self {
        let augmentation = |augmentation: Augmentation| Augmentation {
            noise: augmentation.noise.autodiff(),
            ..augmentation
        };
        Self {
            clean: self.clean.autodiff(),
            noise: self.noise.autodiff(),
            context: self.context.tracked(),
            temporal_context: match self.temporal_context {
                TemporalWords::Spatial => TemporalWords::Spatial,
                TemporalWords::Tokens(tokens) => TemporalWords::Tokens(tokens.autodiff()),
                TemporalWords::FrameRate { regime, fps } => TemporalWords::FrameRate {
                    regime: regime.autodiff(),
                    fps: fps.autodiff(),
                },
            },
            given: self.given.map(|given| Given {
                mask: given.mask.autodiff(),
                augmentation: augmentation(given.augmentation),
            }),
            low: self.low.map(|low| LowResolution {
                pixels: low.pixels.autodiff(),
                augmentation: augmentation(low.augmentation),
            }),
            image: self.image.map(Tensor::autodiff),
            scalars: self.scalars.map(Tensor::autodiff),
            ..self
        }
    }
}

impl Words {
    fn tracked(self) -> Self {
        match self {
            Words::None => Words::None,
            Words::Tokens(tokens) => Words::Tokens(tokens.autodiff()),
            Words::Text(ids) => Words::Text(ids.autodiff()),
            Words::Labels(labels) => Words::Labels(labels.autodiff()),
            Words::Boxes(boxes) => Words::Boxes(BoxBatch {
                coordinates: boxes.coordinates.autodiff(),
                classes: boxes.classes.autodiff(),
            }),
            Words::All(all) => Words::All(all.into_iter().map(Words::tracked).collect()),
        }
    }
}
