//! The temporal transformer: attention over the frames at each latent pixel.
//!
//! # Source
//! Blattmann et al. 2023, section 3.1 (temporal attention with a sinusoidal frame-index embedding,
//! not causal) and appendix D (attention limited to a distance for longer clips than trained).

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use super::{AlphaConfig, TemporalContext, TemporalMixer, TemporalStart};
use crate::layout::{time_to_tokens, tokens_to_time};
use crate::nn::{
    Attention, AttentionConfig, FeedForward, Init, LayerNorm, TimestepEmbedding, sinusoidal,
};

/// The sizes of a [`TemporalTransformer`].
#[derive(Debug, Clone, Copy)]
pub struct TemporalTransformerConfig {
    /// Channels of the frame-index code: those of the level.
    pub channels: usize,
    /// Number of attention heads, those of the spatial partner.
    pub heads: usize,
    /// Channels per head, those of the spatial partner.
    pub head_channels: usize,
    /// Number of blocks, one per spatial block.
    pub blocks: usize,
    /// Channels of the temporal cross-attention's tokens; `None` leaves it out.
    pub context: Option<usize>,
    /// Whether the first attention is over time; if not it reads the context, as its partner does.
    pub self_attention: bool,
    /// Whether the frame index is embedded (not in the pixel upsampler).
    pub positions: bool,
    /// Number of mixing weights.
    pub alpha: AlphaConfig,
    /// How the transformer begins.
    pub start: TemporalStart,
}

/// Feed-forward, attention over time, cross-attention, feed-forward; each with norm and residual.
#[derive(Module, Debug)]
pub struct TemporalTransformerBlock {
    /// Before the first feed-forward network.
    pub norm_in: LayerNorm,
    /// The first feed-forward network.
    pub ff_in: FeedForward,
    /// Before the first attention.
    pub norm1: LayerNorm,
    /// Over time.
    pub attn1: Attention,
    /// Before the second attention.
    pub norm2: Option<LayerNorm>,
    /// Over the context.
    pub attn2: Option<Attention>,
    /// Before the second feed-forward network.
    pub norm3: LayerNorm,
    /// The second feed-forward network.
    pub ff: FeedForward,
    self_attention: bool,
}

impl TemporalTransformerBlock {
    fn new(config: TemporalTransformerConfig, init: &Init) -> Self {
        let inner = config.heads * config.head_channels;
        let identity = config.start == TemporalStart::Identity;
        let feed_forward = || match identity {
            true => FeedForward::zeros(inner, init),
            false => FeedForward::new(inner, init),
        };
        let attention = |context| {
            let sizes = AttentionConfig {
                channels: inner,
                context,
                heads: config.heads,
                inner,
                bias: false,
            };
            match identity {
                true => Attention::zeros(sizes, init),
                false => Attention::new(sizes, init),
            }
        };
        let norm = || LayerNorm::new(inner, 1e-5, init);
        let first = match config.context {
            Some(context) if !config.self_attention => context,
            _ => inner,
        };
        Self {
            norm_in: norm(),
            ff_in: feed_forward(),
            norm1: norm(),
            attn1: attention(first),
            norm2: config.context.map(|_| norm()),
            attn2: config.context.map(attention),
            norm3: norm(),
            ff: feed_forward(),
            self_attention: config.self_attention,
        }
    }

    /// Whether the first attention reads the context in place of other frames.
    pub(crate) fn reads_context(&self) -> bool {
        !self.self_attention
    }

    /// # Shapes
    /// - `x`, returns: `[batch, frames, pixels, channels]`
    pub fn forward(&self, x: Tensor<4>, time: &TemporalContext) -> Tensor<4> {
        let x = self.ff_in.forward(self.norm_in.forward(x.clone()), x);
        let normed = self.norm1.forward(x.clone());
        let x = match &time.tokens {
            Some(tokens) if !self.self_attention => {
                self.over_tokens(&self.attn1, normed, tokens, x)
            }
            _ => self.attn1.forward_over_time(normed, x, time.max_distance),
        };
        let x = match (&self.norm2, &self.attn2, &time.tokens) {
            (Some(norm), Some(attention), Some(tokens)) => {
                self.over_tokens(attention, norm.forward(x.clone()), tokens, x)
            }
            _ => x,
        };
        self.ff.forward(self.norm3.forward(x.clone()), x)
    }

    /// All positions of all frames read the same tokens.
    fn over_tokens(
        &self,
        attention: &Attention,
        x: Tensor<4>,
        tokens: &Tensor<3>,
        residual: Tensor<4>,
    ) -> Tensor<4> {
        let [b, f, p, c] = x.dims();
        let flat = [b, f * p, c];
        attention
            .forward(x.reshape(flat), tokens.clone(), residual.reshape(flat))
            .reshape([b, f, p, c])
    }
}

/// One temporal block for each block of a spatial transformer, on the same tokens.
#[derive(Module, Debug)]
pub struct TemporalTransformer {
    /// The blocks, in the order of their spatial partners.
    pub temporal_transformer_blocks: Vec<TemporalTransformerBlock>,
    /// Reads the code of the frame index.
    pub time_pos_embed: Option<TimestepEmbedding>,
    /// Blends each block with its spatial partner.
    pub time_mixer: TemporalMixer,
    channels: usize,
}

impl TemporalTransformer {
    /// A transformer with fresh parameters.
    pub fn new(config: TemporalTransformerConfig, init: &Init) -> Self {
        let inner = config.heads * config.head_channels;
        let positions = || match config.start {
            TemporalStart::Identity => {
                TimestepEmbedding::zeros(config.channels, 4 * config.channels, inner, init)
            }
            TemporalStart::Svd => {
                TimestepEmbedding::new(config.channels, 4 * config.channels, inner, init)
            }
        };
        Self {
            temporal_transformer_blocks: (0..config.blocks)
                .map(|_| TemporalTransformerBlock::new(config, init))
                .collect(),
            time_pos_embed: config.positions.then(positions),
            time_mixer: TemporalMixer::new(config.alpha, config.start, init),
            channels: config.channels,
        }
    }

    /// Runs the temporal partner of spatial block `index`.
    ///
    /// # Shapes
    /// - `tokens`, returns: `[batch·frames, pixels, channels]`
    pub fn forward(&self, index: usize, tokens: Tensor<3>, time: &TemporalContext) -> Tensor<3> {
        let spatial = tokens_to_time(tokens, time.frames);
        let mut x = spatial.clone();
        if let Some(positions) = &self.time_pos_embed {
            x = vldm_kernels::add_per_frame(x, self.frame_embedding(positions, time, &spatial));
        }
        let temporal = self.temporal_transformer_blocks[index].forward(x, time);
        time_to_tokens(self.time_mixer.forward(spatial, temporal))
    }

    /// `[frames, channels]`
    fn frame_embedding(
        &self,
        positions: &TimestepEmbedding,
        time: &TemporalContext,
        like: &Tensor<4>,
    ) -> Tensor<2> {
        let first = time.first_frame as i64;
        let frames = first..first + time.frames as i64;
        let index = Tensor::<1, Int>::arange(frames, &like.device()).float();
        let code = sinusoidal(index, self.channels).cast(like.dtype());
        positions.forward(code)
    }
}
