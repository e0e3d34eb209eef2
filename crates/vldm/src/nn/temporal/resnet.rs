//! The temporal residual block: two convolutions over time, blended with the spatial block.
//!
//! # Source
//! Blattmann et al. 2023, section 3.1, figure 4 ("Conv3D"), and for the context path section 3.2
//! and appendix F.1 (learned downsampling of c_S, concatenated to the convolution's input).

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::adaptive_avg_pool2d;
use vldm_kernels::{Activation, Channels, Epilogue};

use super::{AlphaConfig, TemporalContext, TemporalConv, TemporalMixer, TemporalStart, TimeKernel};
use crate::layout::{images_to_channels_first, images_to_channels_last};
use crate::nn::{Conv2d, GroupNorm, Init, Linear};

/// The sizes of a [`TemporalResnet`].
#[derive(Debug, Clone, Copy)]
pub struct TemporalResnetConfig {
    /// Channels in and out.
    pub channels: usize,
    /// Width of the noise-level embedding; `None` in a decoder.
    pub embedding: Option<usize>,
    /// Channels of c_S and of its learned downsampling; `None` where there is no context path.
    pub observed: Option<[usize; 2]>,
    /// Extent of the convolutions.
    pub kernel: TimeKernel,
    /// Groups of the normalisations.
    pub groups: usize,
    /// Added to the variance in the normalisations.
    pub eps: f64,
    /// Number of mixing weights.
    pub alpha: AlphaConfig,
    /// How the block begins.
    pub start: TemporalStart,
}

/// norm → SiLU → conv → + embedding → norm → SiLU → conv → + input, all over whole clips: the
/// normalisations' statistics run over all frames.
#[derive(Module, Debug)]
pub struct TemporalResnetBlock {
    /// Learned downsampling of c_S.
    pub context_conv: Option<Conv2d>,
    /// Normalises the input, with c_S beside it.
    pub norm1: GroupNorm,
    /// First convolution.
    pub conv1: TemporalConv,
    /// The noise level's part, one value per channel and frame.
    pub time_emb_proj: Option<Linear>,
    /// Normalises between the convolutions.
    pub norm2: GroupNorm,
    /// Second convolution; starts at zero.
    pub conv2: TemporalConv,
}

impl TemporalResnetBlock {
    fn new(config: TemporalResnetConfig, init: &Init) -> Self {
        let TemporalResnetConfig {
            channels,
            groups,
            eps,
            kernel,
            ..
        } = config;
        let inputs = channels + config.observed.map_or(0, |[_, learned]| learned);
        Self {
            context_conv: config
                .observed
                .map(|[observed, learned]| Conv2d::new(observed, learned, 3, init)),
            norm1: GroupNorm::new(groups, inputs, eps, init),
            conv1: TemporalConv::new(inputs, channels, kernel, init),
            time_emb_proj: config
                .embedding
                .map(|width| Linear::new(width, channels, true, init)),
            norm2: GroupNorm::new(groups, channels, eps, init),
            conv2: TemporalConv::zeros(channels, channels, kernel, init),
        }
    }

    /// # Shapes
    /// - `x`, returns: `[batch·frames, height, width, channels]`
    /// - `embedding`: `[batch·frames, width]`, already through its SiLU
    pub fn forward(
        &self,
        x: Tensor<4>,
        embedding: Option<Tensor<2>>,
        time: &TemporalContext,
    ) -> Tensor<4> {
        let shift = match (&self.time_emb_proj, embedding) {
            (Some(projection), Some(embedding)) => Some(projection.forward(embedding)),
            _ => None,
        };
        let hidden = self.norm_over_clip(&self.norm1, self.with_observed(x.clone(), time), time);
        let hidden = self.conv1.forward(
            hidden,
            time.frames,
            Epilogue {
                shift,
                residual: None,
            },
        );
        let hidden = self.norm_over_clip(&self.norm2, hidden.into(), time);
        let epilogue = Epilogue {
            shift: None,
            residual: Some(x),
        };
        self.conv2.forward(hidden, time.frames, epilogue)
    }

    fn with_observed(&self, x: Tensor<4>, time: &TemporalContext) -> Channels<4> {
        match (&self.context_conv, &time.observed) {
            (Some(conv), Some(observed)) => {
                let [_, h, w, _] = x.dims();
                // The paper says "resize" only; averaging keeps what a coarse level could not see.
                let resized =
                    adaptive_avg_pool2d(images_to_channels_first(observed.clone()), [h, w]);
                Channels::Two(x, conv.forward(images_to_channels_last(resized)))
            }
            _ => x.into(),
        }
    }

    fn norm_over_clip(
        &self,
        norm: &GroupNorm,
        x: Channels<4>,
        time: &TemporalContext,
    ) -> Tensor<4> {
        let [n, h, w, c] = x.dims();
        let tokens = x.map(|x| {
            let c = x.dims()[3];
            x.reshape([n / time.frames, time.frames * h * w, c])
        });
        norm.forward(tokens, Activation::Silu).reshape([n, h, w, c])
    }
}

/// A temporal residual block and the mixer that blends it with its input, the spatial result.
#[derive(Module, Debug)]
pub struct TemporalResnet {
    /// The block.
    pub temporal_res_block: TemporalResnetBlock,
    /// The blend.
    pub time_mixer: TemporalMixer,
}

impl TemporalResnet {
    /// A block with fresh parameters; both starts give the identity before mixing.
    pub fn new(config: TemporalResnetConfig, init: &Init) -> Self {
        Self {
            temporal_res_block: TemporalResnetBlock::new(config, init),
            time_mixer: TemporalMixer::new(config.alpha, config.start, init),
        }
    }

    /// # Shapes
    /// - `x`, returns: `[batch·frames, height, width, channels]`
    /// - `embedding`: `[batch·frames, width]`, already through its SiLU
    pub fn forward(
        &self,
        x: Tensor<4>,
        embedding: Option<Tensor<2>>,
        time: &TemporalContext,
    ) -> Tensor<4> {
        let [n, h, w, c] = x.dims();
        let temporal = self.temporal_res_block.forward(x.clone(), embedding, time);
        let view = [n / time.frames, time.frames, h * w, c];
        self.time_mixer
            .forward(x.reshape(view), temporal.reshape(view))
            .reshape([n, h, w, c])
    }
}
