//! The transformer that CLIP's text and picture encoders share.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use vldm_kernels::AttentionMask;

use crate::error::{Error, Result};
use crate::nn::{Init, LayerNorm, Linear};

/// The function between the two layers of a feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipActivation {
    /// x · sigmoid(1.702 x): OpenAI's models, among them the text encoder of Stable Diffusion 1.x.
    QuickGelu,
    /// The exact x · Φ(x): OpenCLIP's models (Stable Diffusion 2.x, Stable Video Diffusion).
    Gelu,
}

/// The sizes of a [`ClipEncoder`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ClipEncoderConfig {
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) mlp_width: usize,
    pub(super) activation: ClipActivation,
    pub(super) norm_eps: f64,
}

impl ClipEncoderConfig {
    /// Refuses sizes that describe no encoder; `what` names it.
    pub(super) fn validate(&self, what: &str) -> Result<()> {
        let Self {
            width,
            layers,
            heads,
            mlp_width,
            norm_eps,
            ..
        } = *self;
        if width == 0 || layers == 0 || heads == 0 || mlp_width == 0 {
            return Err(Error::Config(format!(
                "the {what} has a size of zero: width {width}, layers {layers}, heads {heads}, \
                 mlp_width {mlp_width}"
            )));
        }
        if width % heads != 0 {
            return Err(Error::Config(format!(
                "the {what}'s {heads} heads do not divide its width of {width}"
            )));
        }
        if !(norm_eps > 0.0 && norm_eps.is_finite()) {
            return Err(Error::Config(format!(
                "the {what}'s norm_eps is {norm_eps}: expected a small positive number (CLIP: 1e-5)"
            )));
        }
        Ok(())
    }
}

/// Pre-norm transformer layers in a row (Radford et al. 2021, arXiv:2103.00020, section 2.4).
#[derive(Module, Debug)]
pub struct ClipEncoder {
    /// First to last.
    pub layers: Vec<ClipLayer>,
}

impl ClipEncoder {
    /// Fresh layers.
    pub(super) fn new(config: ClipEncoderConfig, init: &Init) -> Self {
        let layers = (0..config.layers)
            .map(|_| ClipLayer::new(config, init))
            .collect();
        Self { layers }
    }

    /// # Shapes
    /// - `x`, returns: `[n, tokens, width]`
    pub fn forward(&self, x: Tensor<3>, mask: AttentionMask) -> Tensor<3> {
        self.layers
            .iter()
            .fold(x, |x, layer| layer.forward(x, mask))
    }
}

/// One layer: attention, then a feed-forward network, each added to what it read.
#[derive(Module, Debug)]
pub struct ClipLayer {
    /// Before the attention.
    pub layer_norm1: LayerNorm,
    /// Attention among the tokens.
    pub self_attn: ClipAttention,
    /// Before the feed-forward network.
    pub layer_norm2: LayerNorm,
    /// The feed-forward network.
    pub mlp: ClipMlp,
}

impl ClipLayer {
    fn new(config: ClipEncoderConfig, init: &Init) -> Self {
        let ClipEncoderConfig {
            width, norm_eps, ..
        } = config;
        Self {
            layer_norm1: LayerNorm::new(width, norm_eps, init),
            self_attn: ClipAttention::new(width, config.heads, init),
            layer_norm2: LayerNorm::new(width, norm_eps, init),
            mlp: ClipMlp::new(width, config.mlp_width, config.activation, init),
        }
    }

    /// # Shapes
    /// - `x`, returns: `[n, tokens, width]`
    pub fn forward(&self, x: Tensor<3>, mask: AttentionMask) -> Tensor<3> {
        let x = self
            .self_attn
            .forward(self.layer_norm1.forward(x.clone()), x, mask);
        self.mlp.forward(self.layer_norm2.forward(x.clone()), x)
    }
}

/// Multi-head self-attention; every projection has a bias.
#[derive(Module, Debug)]
pub struct ClipAttention {
    /// Query projection.
    pub q_proj: Linear,
    /// Key projection.
    pub k_proj: Linear,
    /// Value projection.
    pub v_proj: Linear,
    /// Output projection.
    pub out_proj: Linear,
    heads: usize,
}

impl ClipAttention {
    fn new(width: usize, heads: usize, init: &Init) -> Self {
        let projection = || Linear::new(width, width, true, init);
        Self {
            q_proj: projection(),
            k_proj: projection(),
            v_proj: projection(),
            out_proj: projection(),
            heads,
        }
    }

    /// Attends among the tokens of `x` and adds the result to `residual`.
    ///
    /// # Shapes
    /// - `x`, `residual`, returns: `[n, tokens, width]`
    pub fn forward(&self, x: Tensor<3>, residual: Tensor<3>, mask: AttentionMask) -> Tensor<3> {
        let q = self.q_proj.forward(x.clone());
        let k = self.k_proj.forward(x.clone());
        let v = self.v_proj.forward(x);
        let attended = vldm_kernels::attention(q, k, v, self.heads, mask);
        self.out_proj.forward_onto(attended, residual)
    }
}

/// Two linear layers with an activation between them.
#[derive(Module, Debug)]
pub struct ClipMlp {
    /// To the inner width.
    pub fc1: Linear,
    /// From the inner width.
    pub fc2: Linear,
    #[module(skip)]
    activation: ClipActivation,
}

impl ClipMlp {
    fn new(width: usize, inner: usize, activation: ClipActivation, init: &Init) -> Self {
        Self {
            fc1: Linear::new(width, inner, true, init),
            fc2: Linear::new(inner, width, true, init),
            activation,
        }
    }

    /// The network's output added to `residual`.
    ///
    /// # Shapes
    /// - `x`, `residual`, returns: `[n, tokens, width]`
    pub fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let hidden = self.fc1.forward(x);
        let hidden = match self.activation {
            ClipActivation::QuickGelu => vldm_kernels::quick_gelu(hidden),
            ClipActivation::Gelu => vldm_kernels::gelu(hidden),
        };
        self.fc2.forward_onto(hidden, residual)
    }
}
