//! Latents to pixels, frame by frame or over time.

use burn::module::Module;
use burn::tensor::Tensor;
use vldm_kernels::{Activation, Epilogue};

use super::blocks::{AutoencoderBlock, AutoencoderMiddle, Direction, EPS};
use super::{AutoencoderConfig, TemporalDecoderConfig};
use crate::nn::temporal::{TemporalContext, TemporalConv, TemporalResnet, TemporalResnetConfig};
use crate::nn::{Conv2d, GroupNorm, Init};

/// ε of the temporal residual blocks' normalisations, as in Stable Video Diffusion's decoder.
const TEMPORAL_EPS: f64 = 1e-5;

/// The decoder of an image autoencoder.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Into the last level's channels.
    pub conv_in: Conv2d,
    /// At the latents' resolution.
    pub mid_block: AutoencoderMiddle,
    /// From the latents' to full resolution.
    pub up_blocks: Vec<AutoencoderBlock>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// To pixels.
    pub conv_out: Conv2d,
}

/// The temporal partners of one level of a decoder.
#[derive(Module, Debug)]
pub struct TemporalDecoderLevel {
    /// One for each residual block.
    pub resnets: Vec<TemporalResnet>,
}

/// The temporal layers of a decoder, a tree of the same form.
///
/// # Source
/// Blattmann et al. 2023, section 3.1.1.
#[derive(Module, Debug)]
pub struct TemporalDecoderLayers {
    /// At the latents' resolution.
    pub mid_block: TemporalDecoderLevel,
    /// From the latents' to full resolution.
    pub up_blocks: Vec<TemporalDecoderLevel>,
    /// A convolution over time on the decoded pixels.
    pub time_conv_out: TemporalConv,
}

impl Decoder {
    /// A decoder with fresh parameters.
    pub fn new(config: &AutoencoderConfig, init: &Init) -> Self {
        let last = config.levels.len() - 1;
        let mut width = config.levels[last].channels;
        let conv_in = Conv2d::new(config.latent_channels, width, 3, init);
        let mid_block = AutoencoderMiddle::new(config, config.decoder_mid_resnet_blocks, init);
        let mut up_blocks = Vec::new();
        for (index, level) in config.levels.iter().enumerate().rev() {
            up_blocks.push(AutoencoderBlock::new(
                config,
                index,
                width,
                Direction::Up,
                init,
            ));
            width = level.channels;
        }
        Self {
            conv_in,
            mid_block,
            up_blocks,
            conv_norm_out: GroupNorm::new(config.norm_groups, width, EPS, init),
            conv_out: Conv2d::new(width, config.image_channels, 3, init),
        }
    }

    /// # Shapes
    /// - `latents`: `[n, height, width, latent channels]`; with temporal layers n = batch·frames
    /// - returns: `[n, height·factor, width·factor, image channels]`
    pub fn forward(
        &self,
        latents: Tensor<4>,
        temporal: Option<(&TemporalDecoderLayers, &TemporalContext)>,
    ) -> Tensor<4> {
        self.last(self.before_last(latents, temporal), temporal)
    }

    /// Everything but the last layer, at which adversarial training weighs its losses.
    ///
    /// # Shapes
    /// - `latents`: as [`Decoder::forward`]
    /// - returns: `[n, height·factor, width·factor, channels of the last layer's input]`
    pub(crate) fn before_last(
        &self,
        latents: Tensor<4>,
        temporal: Option<(&TemporalDecoderLayers, &TemporalContext)>,
    ) -> Tensor<4> {
        let after = |level: Option<&TemporalDecoderLevel>, index: usize, x| match (
            level.and_then(|level| level.resnets.get(index)),
            temporal,
        ) {
            (Some(resnet), Some((_, time))) => resnet.forward(x, None, time),
            _ => x,
        };
        let layers = temporal.map(|(layers, _)| layers);
        let middle = layers.map(|layers| &layers.mid_block);
        let x = self.conv_in.forward(latents);
        let mut x = self
            .mid_block
            .forward(x, |index, x| after(middle, index, x));
        for (number, block) in self.up_blocks.iter().enumerate() {
            let level = layers.map(|layers| &layers.up_blocks[number]);
            for (index, resnet) in block.resnets.iter().enumerate() {
                x = after(level, index, resnet.forward(x, None));
                if let Some(attention) = block.attentions.get(index) {
                    x = attention.forward(x);
                }
            }
            for upsampler in &block.upsamplers {
                let [_, h, w, _] = x.dims();
                x = upsampler.forward(x, [2 * h, 2 * w]);
            }
        }
        let features = self.conv_norm_out.forward_image(x, Activation::Silu);
        match temporal {
            Some(_) => self.conv_out.forward(features),
            None => features,
        }
    }

    /// The last layer: the convolution over time where there are temporal layers, else the one to
    /// pixels.
    ///
    /// # Shapes
    /// - `hidden`: from [`Decoder::before_last`]
    /// - returns: `[n, height·factor, width·factor, image channels]`
    pub(crate) fn last(
        &self,
        hidden: Tensor<4>,
        temporal: Option<(&TemporalDecoderLayers, &TemporalContext)>,
    ) -> Tensor<4> {
        match temporal {
            Some((layers, time)) => {
                layers
                    .time_conv_out
                    .forward(hidden, time.frames, Epilogue::default())
            }
            None => self.conv_out.forward(hidden),
        }
    }
}

impl TemporalDecoderLayers {
    /// Fresh temporal layers for the decoder of `config`.
    pub fn new(config: &AutoencoderConfig, temporal: TemporalDecoderConfig, init: &Init) -> Self {
        let level = |channels: usize, count: usize| {
            let sizes = TemporalResnetConfig {
                channels,
                embedding: None,
                observed: None,
                kernel: temporal.kernel,
                groups: config.norm_groups,
                eps: TEMPORAL_EPS,
                alpha: temporal.alpha,
                start: temporal.start,
            };
            TemporalDecoderLevel {
                resnets: (0..count)
                    .map(|_| TemporalResnet::new(sizes, init))
                    .collect(),
            }
        };
        let last = config.levels[config.levels.len() - 1].channels;
        Self {
            mid_block: level(last, config.decoder_mid_resnet_blocks),
            up_blocks: config
                .levels
                .iter()
                .rev()
                .map(|at| level(at.channels, config.resnet_blocks + 1))
                .collect(),
            time_conv_out: TemporalConv::identity(config.image_channels, temporal.kernel, init),
        }
    }
}
