//! The transformer inside an image U-Net, with a place for its temporal partner.

use burn::module::Module;
use burn::tensor::Tensor;
use vldm_kernels::Activation;

use super::temporal::{TemporalContext, TemporalTransformer};
use super::{
    Attention, AttentionConfig, FeedForward, GroupNorm, Init, LayerNorm, Linear, PositionEmbedding,
};
use crate::layout::{pixels_to_tokens, tokens_to_pixels};

/// The sizes of a [`SpatialTransformer`].
#[derive(Debug, Clone, Copy)]
pub struct SpatialTransformerConfig {
    /// Channels in, out, and of the tokens.
    pub channels: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Channels per head; `channels / heads` in every published model.
    pub head_channels: usize,
    /// Number of transformer blocks.
    pub blocks: usize,
    /// Channels of the cross-attention's context; `None` leaves cross-attention out.
    pub context: Option<usize>,
    /// Whether the first attention is over the image itself; if not, it too reads the context.
    pub self_attention: bool,
    /// Groups of the normalisation at the entry.
    pub groups: usize,
    /// Frequencies of a [`PositionEmbedding`]; 0 leaves it out, as every published model does.
    pub position_octaves: usize,
}

/// Self-attention, cross-attention and a feed-forward network, each with its norm and residual.
#[derive(Module, Debug)]
pub struct TransformerBlock {
    /// Before the first attention.
    pub norm1: LayerNorm,
    /// Over the image, or over the context in cross-attention-only levels.
    pub attn1: Attention,
    /// Before the second attention.
    pub norm2: Option<LayerNorm>,
    /// Over the context.
    pub attn2: Option<Attention>,
    /// Before the feed-forward network.
    pub norm3: LayerNorm,
    /// The feed-forward network.
    pub ff: FeedForward,
    self_attention: bool,
}

impl TransformerBlock {
    fn new(config: SpatialTransformerConfig, init: &Init) -> Self {
        let inner = config.heads * config.head_channels;
        let attention = |context| AttentionConfig {
            channels: inner,
            context,
            heads: config.heads,
            inner,
            bias: false,
        };
        let first = match config.context {
            Some(context) if !config.self_attention => context,
            _ => inner,
        };
        Self {
            norm1: LayerNorm::new(inner, 1e-5, init),
            attn1: Attention::new(attention(first), init),
            norm2: config.context.map(|_| LayerNorm::new(inner, 1e-5, init)),
            attn2: config
                .context
                .map(|context| Attention::new(attention(context), init)),
            norm3: LayerNorm::new(inner, 1e-5, init),
            ff: FeedForward::new(inner, init),
            self_attention: config.self_attention,
        }
    }

    /// Whether the first attention reads the context in place of the image.
    pub(crate) fn reads_context(&self) -> bool {
        !self.self_attention
    }

    /// # Shapes
    /// - `x`, returns: `[n, tokens, channels]`
    /// - `context`: `[batch, context tokens, context channels]`
    pub fn forward(&self, x: Tensor<3>, context: Option<&Tensor<3>>) -> Tensor<3> {
        let normed = self.norm1.forward(x.clone());
        let keys = match context {
            Some(context) if !self.self_attention => context.clone(),
            _ => normed.clone(),
        };
        let mut x = self.attn1.forward(normed, keys, x);
        if let (Some(norm), Some(attention), Some(context)) = (&self.norm2, &self.attn2, context) {
            x = attention.forward(norm.forward(x.clone()), context.clone(), x);
        }
        self.ff.forward(self.norm3.forward(x.clone()), x)
    }
}

/// norm → project → blocks → project → + input; every spatial block may be followed by a temporal
/// one on the same tokens.
///
/// # Source
/// Rombach et al. 2022 (arXiv:2112.10752), section 3.3 and appendix E.2.1.
#[derive(Module, Debug)]
pub struct SpatialTransformer {
    /// At the entry, without activation.
    pub norm: GroupNorm,
    /// Into the tokens' channels.
    pub proj_in: Linear,
    /// What the tokens are told of their places.
    pub position_embedding: Option<PositionEmbedding>,
    /// The blocks, in order.
    pub transformer_blocks: Vec<TransformerBlock>,
    /// Back from the tokens' channels.
    pub proj_out: Linear,
}

impl SpatialTransformer {
    /// A transformer with fresh parameters.
    pub fn new(config: SpatialTransformerConfig, init: &Init) -> Self {
        let inner = config.heads * config.head_channels;
        Self {
            norm: GroupNorm::new(config.groups, config.channels, 1e-6, init),
            proj_in: Linear::new(config.channels, inner, true, init),
            position_embedding: (config.position_octaves > 0)
                .then(|| PositionEmbedding::new(config.position_octaves, inner, init)),
            transformer_blocks: (0..config.blocks)
                .map(|_| TransformerBlock::new(config, init))
                .collect(),
            proj_out: Linear::new(inner, config.channels, true, init),
        }
    }

    /// # Shapes
    /// - `x`, returns: `[n, height, width, channels]`
    /// - `context`: `[batch, context tokens, context channels]`, `batch` divides `n`
    pub fn forward(
        &self,
        x: Tensor<4>,
        context: Option<&Tensor<3>>,
        temporal: Option<(&TemporalTransformer, &TemporalContext)>,
    ) -> Tensor<4> {
        let [_, h, w, _] = x.dims();
        let residual = pixels_to_tokens(x);
        let mut tokens = self
            .proj_in
            .forward(self.norm.forward(residual.clone(), Activation::None));
        if let Some(positions) = &self.position_embedding {
            tokens = positions.forward(tokens, [h, w]);
        }
        for (index, block) in self.transformer_blocks.iter().enumerate() {
            tokens = block.forward(tokens, context);
            if let Some((layer, time)) = temporal {
                tokens = layer.forward(index, tokens, time);
            }
        }
        tokens_to_pixels(self.proj_out.forward_onto(tokens, residual), h, w)
    }
}
