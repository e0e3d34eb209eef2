//! The patch discriminators of the adversarial stages: one over frames, one over clips.
//!
//! # Source
//! Isola et al. 2017 (arXiv:1611.07004), section 3.2.2; for clips Blattmann et al. 2023, section
//! 3.1.1 ("patch-wise temporal discriminator built from 3D convolutions"), whose layers are not
//! stated. Group normalisation instead of batch normalisation: a sample's verdict does not depend
//! on the batch.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::leaky_relu;
use serde::{Deserialize, Serialize};
use vldm_kernels::{Activation, Conv3dOptions, Epilogue};

use crate::error::{Error, Result};
use crate::nn::{Fill, GroupNorm, Init};

/// The sizes of a [`Discriminator`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscriminatorConfig {
    /// Channels of the first layer; each next one has twice as many.
    pub channels: usize,
    /// Layers that halve the resolution.
    pub layers: usize,
    /// Whether it looks along time.
    pub over_time: bool,
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        Self {
            channels: 64,
            layers: 3,
            over_time: false,
        }
    }
}

impl DiscriminatorConfig {
    /// Four halving convolutions over time and space, as design decides for the decoder stage.
    #[must_use]
    pub fn video() -> Self {
        Self {
            layers: 4,
            over_time: true,
            ..Self::default()
        }
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// [`Error::Config`] names what is wrong.
    pub fn validate(&self) -> Result<()> {
        if self.channels < 4 || !self.channels.is_power_of_two() || self.layers == 0 {
            return Err(Error::Config(format!(
                "discriminator: expected a power of two of at least 4 channels and at least one \
                 layer, got {} and {}",
                self.channels, self.layers
            )));
        }
        Ok(())
    }

    /// Outputs and spatial stride of every convolution.
    fn convolutions(&self) -> Vec<(usize, usize)> {
        let mut layers: Vec<(usize, usize)> = (0..self.layers)
            .map(|layer| (self.channels << layer, 2))
            .collect();
        if !self.over_time {
            layers.push((self.channels << self.layers, 1));
        }
        layers.push((1, 1));
        layers
    }
}

/// Rates patches: above 0 is true, below made.
#[derive(Module, Debug)]
pub struct Discriminator {
    /// All convolutions, the last to one channel.
    pub convs: Vec<PatchConv>,
    /// One after every convolution but the first and the last.
    pub norms: Vec<GroupNorm>,
}

/// A convolution of a [`Discriminator`].
#[derive(Module, Debug)]
pub struct PatchConv {
    /// `[outputs, inputs, time, 4, 4]`, one or three frames in time
    pub weight: Param<Tensor<5>>,
    /// `[outputs]`
    pub bias: Param<Tensor<1>>,
    stride: usize,
}

impl PatchConv {
    fn new([inputs, outputs]: [usize; 2], time: usize, stride: usize, init: &Init) -> Self {
        Self {
            // As pix2pix starts its networks.
            weight: init.parameter([outputs, inputs, time, 4, 4], Fill::Normal(0.02)),
            bias: init.parameter([outputs], Fill::Constant(0.0)),
            stride,
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let weight = self.weight.val();
        let time = weight.dims()[2];
        let options = Conv3dOptions {
            stride: [1, self.stride, self.stride],
            padding: [time / 2, 1, 1],
        };
        let bias = Some(self.bias.val());
        vldm_kernels::conv3d(x, weight, bias, options, Epilogue::default())
    }
}

impl Discriminator {
    /// A discriminator of clips with `inputs` channels; `config` has been validated.
    pub fn new(config: &DiscriminatorConfig, inputs: usize, init: &Init) -> Self {
        let time = if config.over_time { 3 } else { 1 };
        let mut width = inputs;
        let (mut convs, mut norms) = (Vec::new(), Vec::new());
        let layers = config.convolutions();
        for (index, &(outputs, stride)) in layers.iter().enumerate() {
            convs.push(PatchConv::new([width, outputs], time, stride, init));
            if index > 0 && index + 1 < layers.len() {
                norms.push(GroupNorm::new((outputs / 4).min(32), outputs, 1e-5, init));
            }
            width = outputs;
        }
        Self { convs, norms }
    }

    /// # Shapes
    /// - `x`: `[batch, frames, height, width, channels]`
    /// - returns: `[batch, frames, patches down, patches across, 1]`
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let mut x = self.convs[0].forward(x);
        for (conv, norm) in self.convs[1..].iter().zip(&self.norms) {
            x = leaky_relu(x, 0.2);
            x = normed(norm, conv.forward(x), conv.weight.dims()[2] > 1);
        }
        self.convs[self.convs.len() - 1].forward(leaky_relu(x, 0.2))
    }
}

/// Statistics over a clip, or over each frame alone.
fn normed(norm: &GroupNorm, x: Tensor<5>, over_time: bool) -> Tensor<5> {
    let [b, f, h, w, c] = x.dims();
    let view = match over_time {
        true => [b, f * h * w, c],
        false => [b * f, h * w, c],
    };
    norm.forward(x.reshape(view), Activation::None)
        .reshape([b, f, h, w, c])
}
