//! What encoder and decoder are made of.

use burn::module::Module;
use burn::tensor::Tensor;
use vldm_kernels::{Activation, AttentionMask};

use super::AutoencoderConfig;
use crate::layout::{pixels_to_tokens, tokens_to_pixels};
use crate::nn::{Downsample, GroupNorm, Init, Linear, ResnetBlock, ResnetBlockConfig, Upsample};

/// ε of every normalisation of an image autoencoder.
pub(super) const EPS: f64 = 1e-6;

/// Single-head self-attention over all pixels, with norm and residual.
#[derive(Module, Debug)]
pub struct PixelAttention {
    /// Normalises the input.
    pub group_norm: GroupNorm,
    /// Query projection.
    pub to_q: Linear,
    /// Key projection.
    pub to_k: Linear,
    /// Value projection.
    pub to_v: Linear,
    /// Output projection.
    pub to_out: Linear,
}

impl PixelAttention {
    /// An attention with fresh parameters.
    pub fn new(channels: usize, groups: usize, init: &Init) -> Self {
        let projection = || Linear::new(channels, channels, true, init);
        Self {
            group_norm: GroupNorm::new(groups, channels, EPS, init),
            to_q: projection(),
            to_k: projection(),
            to_v: projection(),
            to_out: projection(),
        }
    }

    /// # Shapes
    /// - `x`, returns: `[n, height, width, channels]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, h, w, _] = x.dims();
        let residual = pixels_to_tokens(x);
        let tokens = self.group_norm.forward(residual.clone(), Activation::None);
        let q = self.to_q.forward(tokens.clone());
        let k = self.to_k.forward(tokens.clone());
        let v = self.to_v.forward(tokens);
        let attended = vldm_kernels::attention(q, k, v, 1, AttentionMask::None);
        tokens_to_pixels(self.to_out.forward_onto(attended, residual), h, w)
    }
}

/// One level of an encoder or decoder.
#[derive(Module, Debug)]
pub struct AutoencoderBlock {
    /// Residual blocks, in order.
    pub resnets: Vec<ResnetBlock>,
    /// Attention after each residual block, or none at all.
    pub attentions: Vec<PixelAttention>,
    /// At most one, at the end of an encoder's level.
    pub downsamplers: Vec<Downsample>,
    /// At most one, at the end of a decoder's level.
    pub upsamplers: Vec<Upsample>,
}

/// Which way a level goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Down,
    Up,
}

impl AutoencoderBlock {
    pub(super) fn new(
        config: &AutoencoderConfig,
        level: usize,
        inputs: usize,
        direction: Direction,
        init: &Init,
    ) -> Self {
        let super::AutoencoderLevel {
            channels,
            attention,
        } = config.levels[level];
        let (count, resamples) = match direction {
            Direction::Down => (config.resnet_blocks, level + 1 != config.levels.len()),
            Direction::Up => (config.resnet_blocks + 1, level != 0),
        };
        let resnet = |index| {
            let inputs = if index == 0 { inputs } else { channels };
            resnet(inputs, channels, config, init)
        };
        let resample = |way| (resamples && direction == way).then_some(channels);
        Self {
            resnets: (0..count).map(resnet).collect(),
            attentions: (0..if attention { count } else { 0 })
                .map(|_| PixelAttention::new(channels, config.norm_groups, init))
                .collect(),
            downsamplers: resample(Direction::Down)
                .map(|channels| Downsample::new(channels, init))
                .into_iter()
                .collect(),
            upsamplers: resample(Direction::Up)
                .map(|channels| Upsample::new(channels, init))
                .into_iter()
                .collect(),
        }
    }
}

/// Residual blocks with attention between the first and the second.
#[derive(Module, Debug)]
pub struct AutoencoderMiddle {
    /// Residual blocks; those after the second are kept in files but never run.
    pub resnets: Vec<ResnetBlock>,
    /// At most one.
    pub attentions: Vec<PixelAttention>,
}

impl AutoencoderMiddle {
    pub(super) fn new(config: &AutoencoderConfig, resnet_blocks: usize, init: &Init) -> Self {
        let channels = config.levels[config.levels.len() - 1].channels;
        Self {
            resnets: (0..resnet_blocks)
                .map(|_| resnet(channels, channels, config, init))
                .collect(),
            attentions: (0..usize::from(config.mid_attention))
                .map(|_| PixelAttention::new(channels, config.norm_groups, init))
                .collect(),
        }
    }

    /// Runs the middle, calling `after` on the result of each residual block.
    ///
    /// # Shapes
    /// - `x`, returns: `[n, height, width, channels]`
    pub fn forward(
        &self,
        x: Tensor<4>,
        after: impl Fn(usize, Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        let mut x = after(0, self.resnets[0].forward(x, None));
        if let Some(second) = self.resnets.get(1) {
            if let Some(attention) = self.attentions.first() {
                x = attention.forward(x);
            }
            x = after(1, second.forward(x, None));
        }
        x
    }
}

fn resnet(inputs: usize, outputs: usize, config: &AutoencoderConfig, init: &Init) -> ResnetBlock {
    let sizes = ResnetBlockConfig {
        inputs,
        outputs,
        embedding: None,
        groups: config.norm_groups,
        eps: EPS,
    };
    ResnetBlock::new(sizes, init)
}
