//! Layers over time, inserted into an image network by composition.
//!
//! Every spatial residual block is followed by a [`TemporalResnet`], every spatial transformer
//! block by a block of a [`TemporalTransformer`]; a [`TemporalMixer`] blends each with the spatial
//! result. A spatial layer does not know about any of them: without them the image model is run,
//! bit for bit.
//!
//! # Source
//! Blattmann et al. 2023 (arXiv:2304.08818), section 3.1 and figure 4. The exact blocks are those
//! of Stable Video Diffusion (arXiv:2311.15127, appendix D), whose parameter counts equal the
//! paper's to the last printed digit.

mod conv;
mod mixer;
mod resnet;
mod transformer;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use conv::{TemporalConv, TimeKernel};
pub use mixer::{AlphaConfig, TemporalMixer};
pub use resnet::{TemporalResnet, TemporalResnetBlock, TemporalResnetConfig};
pub use transformer::{TemporalTransformer, TemporalTransformerBlock, TemporalTransformerConfig};

/// How fresh temporal layers begin. The paper does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemporalStart {
    /// Every temporal branch equals its input exactly, and α = sigmoid(0) = 0.5 can learn at once.
    Identity,
    /// As the public Stable Video Diffusion code: only the last convolution of a residual block is
    /// zero, and α = sigmoid(0.5) = 0.622.
    Svd,
}

/// What temporal layers need to know beside their input.
#[derive(Debug, Clone)]
pub struct TemporalContext {
    /// Frames of each clip in the batch.
    pub frames: usize,
    /// Absolute index of each clip's first frame, for the frame-index embedding.
    pub first_frame: usize,
    /// Text or other tokens for temporal cross-attention, `[batch, tokens, width]`.
    pub tokens: Option<Tensor<3>>,
    /// Farthest frame that temporal attention looks at; `None` is no limit.
    pub max_distance: Option<usize>,
    /// c_S: observed frames times their mask, and the mask, `[batch·frames, height, width, dim]`.
    pub observed: Option<Tensor<4>>,
}
