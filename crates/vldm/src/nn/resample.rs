//! Halving and doubling the resolution.

use burn::module::Module;
use burn::tensor::Tensor;
use vldm_kernels::{Conv2dOptions, Padding};

use super::{Conv2d, Init};

/// A 3×3 convolution with stride 2.
#[derive(Module, Debug)]
pub struct Downsample {
    /// The convolution, channels unchanged.
    pub conv: Conv2d,
}

impl Downsample {
    /// Keeps the number of channels.
    pub fn new(channels: usize, init: &Init) -> Self {
        Self {
            conv: Conv2d::new(channels, channels, 3, init),
        }
    }

    /// With one pixel of padding on every side, as the U-Net does.
    ///
    /// # Shapes
    /// - `x`: `[n, height, width, channels]`
    /// - returns: `[n, ⌈height/2⌉, ⌈width/2⌉, channels]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.strided(x, Padding::same(1))
    }

    /// With padding only below and to the right, as the autoencoder does.
    ///
    /// # Shapes
    /// - `x`: `[n, height, width, channels]`
    /// - returns: `[n, ⌊height/2⌋, ⌊width/2⌋, channels]`
    pub fn forward_one_sided(&self, x: Tensor<4>) -> Tensor<4> {
        let padding = Padding {
            bottom: 1,
            right: 1,
            ..Padding::NONE
        };
        self.strided(x, padding)
    }

    fn strided(&self, x: Tensor<4>, padding: Padding) -> Tensor<4> {
        self.conv
            .forward_strided(x, Conv2dOptions { stride: 2, padding })
    }
}

/// Nearest-neighbour enlargement followed by a 3×3 convolution.
#[derive(Module, Debug)]
pub struct Upsample {
    /// The convolution, channels unchanged.
    pub conv: Conv2d,
}

impl Upsample {
    /// Keeps the number of channels.
    pub fn new(channels: usize, init: &Init) -> Self {
        Self {
            conv: Conv2d::new(channels, channels, 3, init),
        }
    }

    /// To an explicit size: a skip connection of odd size decides it.
    ///
    /// # Shapes
    /// - `x`: `[n, height, width, channels]`
    /// - returns: `[n, size[0], size[1], channels]`
    pub fn forward(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        self.conv.forward_upsampled(x, size)
    }
}
