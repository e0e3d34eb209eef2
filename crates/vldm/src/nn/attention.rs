//! Multi-head attention with its projections.

use burn::module::Module;
use burn::tensor::Tensor;
use vldm_kernels::AttentionMask;

use super::{Init, Linear};

/// The sizes of an [`Attention`].
#[derive(Debug, Clone, Copy)]
pub struct AttentionConfig {
    /// Channels of the queries and of the output.
    pub channels: usize,
    /// Channels of what is attended to.
    pub context: usize,
    /// Number of heads; each has `inner / heads` channels.
    pub heads: usize,
    /// Channels of queries, keys and values over all heads.
    pub inner: usize,
    /// Whether the query, key and value projections have a bias.
    pub bias: bool,
}

/// Multi-head attention (Vaswani et al. 2017, section 3.2).
#[derive(Module, Debug)]
pub struct Attention {
    /// Query projection.
    pub to_q: Linear,
    /// Key projection.
    pub to_k: Linear,
    /// Value projection.
    pub to_v: Linear,
    /// Output projection, always with a bias.
    pub to_out: Linear,
    heads: usize,
}

impl Attention {
    /// An attention with fresh parameters.
    pub fn new(config: AttentionConfig, init: &Init) -> Self {
        let AttentionConfig {
            channels,
            context,
            heads,
            inner,
            bias,
        } = config;
        assert!(
            inner % heads == 0,
            "attention: {heads} heads do not divide {inner} channels"
        );
        Self {
            to_q: Linear::new(channels, inner, bias, init),
            to_k: Linear::new(context, inner, bias, init),
            to_v: Linear::new(context, inner, bias, init),
            to_out: Linear::new(inner, channels, true, init),
            heads,
        }
    }

    /// As [`Attention::new`], with an output that starts at zero.
    pub fn zeros(config: AttentionConfig, init: &Init) -> Self {
        let mut attention = Self::new(config, init);
        attention.to_out = Linear::zeros(config.inner, config.channels, true, init);
        attention
    }

    /// Attends from `x` to `context`, and adds the result to `residual`.
    ///
    /// A context of fewer entries serves equally many consecutive entries of `x`: one text for all
    /// frames of a clip.
    ///
    /// # Shapes
    /// - `x`, `residual`, returns: `[n, tokens, channels]`
    /// - `context`: `[batch, context tokens, context channels]`, `batch` divides `n`
    pub fn forward(&self, x: Tensor<3>, context: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let [n, tokens, _] = x.dims();
        let batch = context.dims()[0];
        let q = self.to_q.forward(x);
        let inner = q.dims()[2];
        let q = q.reshape([batch, n / batch * tokens, inner]);
        let k = self.to_k.forward(context.clone());
        let v = self.to_v.forward(context);
        let attended = vldm_kernels::attention(q, k, v, self.heads, AttentionMask::None);
        self.to_out
            .forward_onto(attended.reshape([n, tokens, inner]), residual)
    }

    /// Attends over time: each position to the same position of frames at most `max_distance`
    /// away, and adds the result to `residual`.
    ///
    /// # Shapes
    /// - `x`, `residual`, returns: `[batch, frames, positions, channels]`
    pub fn forward_over_time(
        &self,
        x: Tensor<4>,
        residual: Tensor<4>,
        max_distance: Option<usize>,
    ) -> Tensor<4> {
        let q = self.to_q.forward(x.clone());
        let k = self.to_k.forward(x.clone());
        let v = self.to_v.forward(x);
        let attended = vldm_kernels::temporal_attention(q, k, v, self.heads, max_distance);
        self.to_out.forward_onto(attended, residual)
    }
}
