//! CLIP's text encoder: token ids in, one vector per token out.
//!
//! The paper's text-to-video model is conditioned on it through Stable Diffusion (section 4.2);
//! cross-attention reads the vectors after the last normalisation. Radford et al. 2021
//! (arXiv:2103.00020), section 2.4; names and results as in `transformers`' `CLIPTextModel`.

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use vldm_kernels::AttentionMask;

use super::Tokens;
use super::clip_layers::{ClipActivation, ClipEncoder, ClipEncoderConfig};
use crate::error::{Error, Result};
use crate::nn::{Embedding, Init, LayerNorm};

/// The sizes of a [`ClipTextEncoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipTextConfig {
    /// Number of token ids.
    pub vocabulary: usize,
    /// Width of the vectors.
    pub width: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Inner width of the feed-forward networks.
    pub mlp_width: usize,
    /// Longest window of tokens.
    pub max_tokens: usize,
    /// Between the layers of the feed-forward networks.
    pub activation: ClipActivation,
    /// What the normalisations add to the variance.
    pub norm_eps: f64,
}

impl ClipTextConfig {
    /// OpenAI's ViT-L/14, the text encoder of Stable Diffusion 1.x: 123,060,480 parameters.
    #[must_use]
    pub fn vit_l() -> Self {
        Self {
            vocabulary: 49_408,
            width: 768,
            layers: 12,
            heads: 12,
            mlp_width: 3072,
            max_tokens: 77,
            activation: ClipActivation::QuickGelu,
            norm_eps: 1e-5,
        }
    }

    /// OpenCLIP's ViT-H/14 without its last layer, the text encoder of Stable Diffusion 2.x:
    /// 340,387,840 parameters.
    ///
    /// These models read the next-to-last of 24 layers, after the final normalisation; diffusers'
    /// files hold only the 23 layers that count, and so does this.
    #[must_use]
    pub fn vit_h() -> Self {
        Self {
            width: 1024,
            layers: 23,
            heads: 16,
            mlp_width: 4096,
            activation: ClipActivation::Gelu,
            ..Self::vit_l()
        }
    }

    /// Checks that the sizes describe an encoder.
    ///
    /// # Errors
    /// [`Error::Config`] names the size that is wrong.
    pub fn validate(&self) -> Result<()> {
        if self.vocabulary == 0 || self.max_tokens < 2 {
            return Err(Error::Config(format!(
                "the text encoder has a vocabulary of {} and a window of {} tokens: expected at \
                 least 1 and 2 (CLIP has 49408 and 77)",
                self.vocabulary, self.max_tokens
            )));
        }
        self.encoder().validate("text encoder")
    }

    fn encoder(&self) -> ClipEncoderConfig {
        ClipEncoderConfig {
            width: self.width,
            layers: self.layers,
            heads: self.heads,
            mlp_width: self.mlp_width,
            activation: self.activation,
            norm_eps: self.norm_eps,
        }
    }
}

/// CLIP's text encoder.
#[derive(Module, Debug)]
pub struct ClipTextEncoder {
    /// The whole encoder, under the name that published checkpoints give it.
    pub text_model: ClipTextModel,
}

impl ClipTextEncoder {
    /// An encoder with fresh parameters; `config` has been validated.
    pub fn new(config: &ClipTextConfig, init: &Init) -> Self {
        Self {
            text_model: ClipTextModel::new(config, init),
        }
    }

    /// The parameters' data type.
    pub(crate) fn dtype(&self) -> DType {
        self.text_model.final_layer_norm.bias.val().dtype()
    }

    /// One vector per token, each knowing the tokens up to its own.
    ///
    /// # Shapes
    /// - `input_ids`: `[batch, tokens]`, ids below the vocabulary's size, at most `max_tokens`
    /// - returns: `[batch, tokens, width]`, after the final normalisation
    pub fn forward(&self, input_ids: Tensor<2, Int>) -> Tensor<3> {
        self.text_model.forward(input_ids)
    }
}

/// The parts of a [`ClipTextEncoder`].
#[derive(Module, Debug)]
pub struct ClipTextModel {
    /// Vectors of tokens and of their places.
    pub embeddings: ClipTextEmbeddings,
    /// The transformer.
    pub encoder: ClipEncoder,
    /// After the last layer.
    pub final_layer_norm: LayerNorm,
}

impl ClipTextModel {
    fn new(config: &ClipTextConfig, init: &Init) -> Self {
        Self {
            embeddings: ClipTextEmbeddings::new(config, init),
            encoder: ClipEncoder::new(config.encoder(), init),
            final_layer_norm: LayerNorm::new(config.width, config.norm_eps, init),
        }
    }

    /// # Shapes
    /// - `input_ids`: `[batch, tokens]`
    /// - returns: `[batch, tokens, width]`
    pub fn forward(&self, input_ids: Tensor<2, Int>) -> Tensor<3> {
        let x = self.embeddings.forward(input_ids);
        // Padding is not masked: the published models were trained, and are run, without it.
        self.final_layer_norm
            .forward(self.encoder.forward(x, AttentionMask::Causal))
    }
}

/// Learned vectors of the tokens and of their places in the window.
#[derive(Module, Debug)]
pub struct ClipTextEmbeddings {
    /// One vector per token id.
    pub token_embedding: Embedding,
    /// One vector per place.
    pub position_embedding: Embedding,
}

impl ClipTextEmbeddings {
    fn new(config: &ClipTextConfig, init: &Init) -> Self {
        Self {
            token_embedding: Embedding::new(config.vocabulary, config.width, 0.02, init),
            position_embedding: Embedding::new(config.max_tokens, config.width, 0.01, init),
        }
    }

    /// # Shapes
    /// - `input_ids`: `[batch, tokens]`
    /// - returns: `[batch, tokens, width]`
    pub fn forward(&self, input_ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, tokens] = input_ids.dims();
        let positions = self.position_embedding.weight.val();
        let [window, width] = positions.dims();
        assert!(
            tokens <= window,
            "the text encoder reads {window} tokens, not {tokens}"
        );
        let positions = positions.slice([0..tokens, 0..width]).unsqueeze_dim(0); // [1, tokens, width]
        self.token_embedding.forward(input_ids) + positions
    }
}

/// The ids of several prompts as a tensor.
///
/// # Shapes
/// - returns: `[prompts, tokens]`
///
/// # Errors
/// [`Error::Input`] when there is no prompt or the windows differ in length.
pub fn input_ids(prompts: &[Tokens], device: &Device) -> Result<Tensor<2, Int>> {
    let tokens = prompts.first().map_or(0, |prompt| prompt.ids.len());
    if tokens == 0 || prompts.iter().any(|prompt| prompt.ids.len() != tokens) {
        return Err(Error::Input(format!(
            "expected prompts with windows of one length, got lengths {:?}: encode them with one \
             tokenizer",
            prompts
                .iter()
                .map(|prompt| prompt.ids.len())
                .collect::<Vec<_>>()
        )));
    }
    let ids: Vec<i64> = prompts
        .iter()
        .flat_map(|p| p.ids.iter().map(|&id| i64::from(id)))
        .collect();
    Ok(Tensor::from_data(
        TensorData::new(ids, [prompts.len(), tokens]),
        device,
    ))
}
