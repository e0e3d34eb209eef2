//! transformers' CLIP configurations.

use serde_json::{Value, json};

use super::Json;
use crate::checkpoint::CheckpointError;

type Result<T> = std::result::Result<T, CheckpointError>;

/// A CLIP text encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipTextConfig {
    /// Entries of the token table.
    pub vocabulary: usize,
    /// Length of a prompt in tokens.
    pub positions: usize,
    /// Width of a token.
    pub width: usize,
    /// Width inside the MLP.
    pub mlp_width: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Activation of the MLP.
    pub activation: ClipActivation,
    /// ε of the layer normalisations.
    pub layer_norm_eps: f64,
    /// Width of the projected embedding.
    pub projection: usize,
}

/// A CLIP image encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipVisionConfig {
    /// Side of the picture in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Colour channels.
    pub channels: usize,
    /// Width of a token.
    pub width: usize,
    /// Width inside the MLP.
    pub mlp_width: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Activation of the MLP.
    pub activation: ClipActivation,
    /// ε of the layer normalisations.
    pub layer_norm_eps: f64,
    /// Width of the projected embedding.
    pub projection: usize,
}

/// Activation of a CLIP encoder's MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipActivation {
    /// x · sigmoid(1.702 x) (OpenAI's weights, SD 1.x).
    QuickGelu,
    /// The exact one (OpenCLIP's weights, SD 2.x and SVD).
    Gelu,
}

const ACTIVATIONS: [(&str, ClipActivation); 2] = [
    ("quick_gelu", ClipActivation::QuickGelu),
    ("gelu", ClipActivation::Gelu),
];

impl ClipActivation {
    fn word(self) -> &'static str {
        match self {
            Self::QuickGelu => "quick_gelu",
            Self::Gelu => "gelu",
        }
    }
}

impl ClipTextConfig {
    /// Reads a text encoder's `config.json`, alone or as `text_config` of a whole CLIP.
    ///
    /// # Errors
    ///
    /// Names the first key that is not understood.
    pub fn from_json(json: &Json) -> Result<Self> {
        let json = &json.inner("text_config").unwrap_or_else(|| json.clone());
        let config = Self {
            vocabulary: json.size("vocab_size", 49408)?,
            positions: json.size("max_position_embeddings", 77)?,
            width: json.size("hidden_size", 512)?,
            mlp_width: json.size("intermediate_size", 2048)?,
            layers: json.size("num_hidden_layers", 12)?,
            heads: json.size("num_attention_heads", 8)?,
            activation: json.choice("hidden_act", "quick_gelu", &ACTIVATIONS)?,
            layer_norm_eps: json.positive("layer_norm_eps", 1e-5)?,
            projection: json.size("projection_dim", 512)?,
        };
        heads_divide(json, config.width, config.heads)?;
        Ok(config)
    }

    /// The configuration in transformers' own form, to be saved beside the weights.
    pub fn to_json(&self) -> Value {
        json!({
            "architectures": ["CLIPTextModel"],
            "model_type": "clip_text_model",
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "hidden_size": self.width,
            "intermediate_size": self.mlp_width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "hidden_act": self.activation.word(),
            "layer_norm_eps": self.layer_norm_eps,
            "projection_dim": self.projection,
        })
    }
}

impl ClipVisionConfig {
    /// Reads an image encoder's `config.json`, alone or as `vision_config` of a whole CLIP.
    ///
    /// # Errors
    ///
    /// Names the first key that is not understood.
    pub fn from_json(json: &Json) -> Result<Self> {
        let json = &json.inner("vision_config").unwrap_or_else(|| json.clone());
        let config = Self {
            image_size: json.size("image_size", 224)?,
            patch_size: json.size("patch_size", 32)?,
            channels: json.size("num_channels", 3)?,
            width: json.size("hidden_size", 768)?,
            mlp_width: json.size("intermediate_size", 3072)?,
            layers: json.size("num_hidden_layers", 12)?,
            heads: json.size("num_attention_heads", 12)?,
            activation: json.choice("hidden_act", "quick_gelu", &ACTIVATIONS)?,
            layer_norm_eps: json.positive("layer_norm_eps", 1e-5)?,
            projection: json.size("projection_dim", 512)?,
        };
        heads_divide(json, config.width, config.heads)?;
        if config.patch_size > config.image_size {
            return Err(json.wrong(
                "patch_size",
                format!("at most image_size = {}", config.image_size),
            ));
        }
        Ok(config)
    }

    /// The configuration in transformers' own form, to be saved beside the weights.
    pub fn to_json(&self) -> Value {
        json!({
            "architectures": ["CLIPVisionModelWithProjection"],
            "model_type": "clip_vision_model",
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "num_channels": self.channels,
            "hidden_size": self.width,
            "intermediate_size": self.mlp_width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "hidden_act": self.activation.word(),
            "layer_norm_eps": self.layer_norm_eps,
            "projection_dim": self.projection,
        })
    }
}

fn heads_divide(json: &Json, width: usize, heads: usize) -> Result<()> {
    if width.is_multiple_of(heads) {
        Ok(())
    } else {
        Err(json.wrong(
            "num_attention_heads",
            format!("a divisor of hidden_size = {width}"),
        ))
    }
}
