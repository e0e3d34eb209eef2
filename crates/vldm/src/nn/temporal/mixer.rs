//! The blend of a spatial layer with its temporal partner.
//!
//! # Source
//! Blattmann et al. 2023, section 3.1 and appendix D: z·α + z′·(1−α), α ∈ \[0, 1\] learned.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use serde::{Deserialize, Serialize};

use super::TemporalStart;
use crate::nn::{Fill, Init};

/// How many weights a mixer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AlphaConfig {
    /// One for all frames: the number of frames may change.
    Scalar,
    /// One for each of a fixed number of frames.
    PerFrame {
        /// The number of frames.
        frames: usize,
    },
}

/// out = α · spatial + (1 − α) · temporal, with α = sigmoid(`mix_factor`).
///
/// α weighs the *spatial* branch, always: α = 1 is the image model.
#[derive(Module, Debug)]
pub struct TemporalMixer {
    /// The logit of α, `[1]` or `[frames]`.
    pub mix_factor: Param<Tensor<1>>,
}

impl TemporalMixer {
    /// A mixer with its starting weight.
    pub fn new(alpha: AlphaConfig, start: TemporalStart, init: &Init) -> Self {
        let logit = match start {
            TemporalStart::Identity => 0.0,
            TemporalStart::Svd => 0.5,
        };
        let count = match alpha {
            AlphaConfig::Scalar => 1,
            AlphaConfig::PerFrame { frames } => frames,
        };
        Self {
            mix_factor: init.parameter([count], Fill::Constant(logit)),
        }
    }

    /// # Shapes
    /// - `spatial`, `temporal`, returns: `[batch, frames, pixels, channels]`
    pub fn forward(&self, spatial: Tensor<4>, temporal: Tensor<4>) -> Tensor<4> {
        vldm_kernels::mix(spatial, temporal, sigmoid(self.mix_factor.val()))
    }
}
