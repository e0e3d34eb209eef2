//! Normalisation layers.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use vldm_kernels::{Activation, Channels, Norm};

use super::{Fill, Init};
use crate::layout::tokens_to_pixels;

/// Group normalisation (Wu & He 2018): statistics over a group's channels and all positions.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`
    pub weight: Param<Tensor<1>>,
    /// `[channels]`
    pub bias: Param<Tensor<1>>,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// `groups` must divide `channels`; `eps` is added to the variance.
    pub fn new(groups: usize, channels: usize, eps: f64, init: &Init) -> Self {
        assert!(
            channels.is_multiple_of(groups),
            "group normalisation: {groups} groups do not divide {channels} channels"
        );
        Self {
            weight: init.parameter([channels], Fill::Constant(1.0)),
            bias: init.parameter([channels], Fill::Constant(0.0)),
            groups,
            eps,
        }
    }

    /// Statistics over all tokens of each entry.
    ///
    /// # Shapes
    /// - `x`, returns: `[n, tokens, channels]`
    pub fn forward(&self, x: impl Into<Channels<3>>, activation: Activation) -> Tensor<3> {
        let norm = Norm {
            weight: self.weight.val(),
            bias: self.bias.val(),
            eps: self.eps,
        };
        vldm_kernels::group_norm(x, norm, self.groups, activation)
    }

    /// The same on images.
    ///
    /// # Shapes
    /// - `x`, returns: `[n, height, width, channels]`
    pub fn forward_image(&self, x: impl Into<Channels<4>>, activation: Activation) -> Tensor<4> {
        let flat = |x: Tensor<4>| {
            let [n, h, w, c] = x.dims();
            (x.reshape([n, h * w, c]), h, w)
        };
        let (tokens, h, w) = match x.into() {
            Channels::One(x) => {
                let (x, h, w) = flat(x);
                (Channels::One(x), h, w)
            }
            Channels::Two(a, b) => {
                let ((a, h, w), (b, ..)) = (flat(a), flat(b));
                (Channels::Two(a, b), h, w)
            }
        };
        tokens_to_pixels(self.forward(tokens, activation), h, w)
    }
}

/// Layer normalisation (Ba et al. 2016) over the last axis.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[channels]`
    pub weight: Param<Tensor<1>>,
    /// `[channels]`
    pub bias: Param<Tensor<1>>,
    eps: f64,
}

impl LayerNorm {
    /// `eps` is added to the variance (1e-5 throughout the published models).
    pub fn new(channels: usize, eps: f64, init: &Init) -> Self {
        Self {
            weight: init.parameter([channels], Fill::Constant(1.0)),
            bias: init.parameter([channels], Fill::Constant(0.0)),
            eps,
        }
    }

    /// # Shapes
    /// - `x`, returns: `[…, channels]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let norm = Norm {
            weight: self.weight.val(),
            bias: self.bias.val(),
            eps: self.eps,
        };
        vldm_kernels::layer_norm(x, norm)
    }
}
