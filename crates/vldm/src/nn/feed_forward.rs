//! The gated feed-forward network of a transformer block.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{Init, Linear};

/// GEGLU (Shazeer 2020, arXiv:2002.05202) to four times the width, and back.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// To twice the inner width: values and gates.
    pub proj_in: Linear,
    /// From the inner width.
    pub proj_out: Linear,
}

impl FeedForward {
    /// A network of width `channels` with fresh parameters.
    pub fn new(channels: usize, init: &Init) -> Self {
        Self {
            proj_in: Linear::new(channels, 8 * channels, true, init),
            proj_out: Linear::new(4 * channels, channels, true, init),
        }
    }

    /// As [`FeedForward::new`], with an output that starts at zero.
    pub fn zeros(channels: usize, init: &Init) -> Self {
        Self {
            proj_in: Linear::new(channels, 8 * channels, true, init),
            proj_out: Linear::zeros(4 * channels, channels, true, init),
        }
    }

    /// The network's output added to `residual`.
    ///
    /// # Shapes
    /// - `x`, `residual`, returns: `[…, channels]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        let bias = self.proj_in.bias.as_ref().map(Param::val);
        let hidden = vldm_kernels::linear_geglu(x, self.proj_in.weight.val(), bias);
        self.proj_out.forward_onto(hidden, residual)
    }
}
