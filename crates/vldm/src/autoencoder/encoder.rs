//! Pixels to latents.

use burn::module::Module;
use burn::tensor::Tensor;
use vldm_kernels::Activation;

use super::AutoencoderConfig;
use super::blocks::{AutoencoderBlock, AutoencoderMiddle, Direction, EPS};
use crate::nn::{Conv2d, GroupNorm, Init};

/// The encoder. It knows nothing of time: the paper leaves it as it is.
#[derive(Module, Debug)]
pub struct Encoder {
    /// Into the first level's channels.
    pub conv_in: Conv2d,
    /// From full resolution to the latents'.
    pub down_blocks: Vec<AutoencoderBlock>,
    /// At the latents' resolution.
    pub mid_block: AutoencoderMiddle,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// To the moments or the code.
    pub conv_out: Conv2d,
}

impl Encoder {
    /// An encoder with fresh parameters.
    pub fn new(config: &AutoencoderConfig, init: &Init) -> Self {
        let mut width = config.levels[0].channels;
        let conv_in = Conv2d::new(config.image_channels, width, 3, init);
        let mut down_blocks = Vec::new();
        for (index, level) in config.levels.iter().enumerate() {
            down_blocks.push(AutoencoderBlock::new(
                config,
                index,
                width,
                Direction::Down,
                init,
            ));
            width = level.channels;
        }
        Self {
            conv_in,
            down_blocks,
            mid_block: AutoencoderMiddle::new(config, 2, init),
            conv_norm_out: GroupNorm::new(config.norm_groups, width, EPS, init),
            conv_out: Conv2d::new(width, config.encoder_channels(), 3, init),
        }
    }

    /// # Shapes
    /// - `x`: `[n, height, width, image channels]`
    /// - returns: `[n, height/factor, width/factor, encoder channels]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = self.conv_in.forward(x);
        for block in &self.down_blocks {
            for (index, resnet) in block.resnets.iter().enumerate() {
                x = resnet.forward(x, None);
                if let Some(attention) = block.attentions.get(index) {
                    x = attention.forward(x);
                }
            }
            for downsampler in &block.downsamplers {
                x = downsampler.forward_one_sided(x);
            }
        }
        let x = self.mid_block.forward(x, |_, x| x);
        self.conv_out
            .forward(self.conv_norm_out.forward_image(x, Activation::Silu))
    }
}
