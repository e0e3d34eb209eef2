//! Words and pictures in, embeddings out: the frozen encoders that condition the networks.
//!
//! A prompt becomes token ids ([`tokenizer`]), token ids become one vector per token
//! ([`ClipTextEncoder`]), and a still picture becomes one vector ([`ClipVisionEncoder`]). The
//! paper takes its text encoder from Stable Diffusion (section 4.2); the picture encoder is that
//! of its public heir, Stable Video Diffusion.

mod clip_layers;
mod clip_text;
mod clip_vision;
pub mod tokenizer;

pub use clip_layers::{ClipActivation, ClipAttention, ClipEncoder, ClipLayer, ClipMlp};
pub use clip_text::{
    ClipTextConfig, ClipTextEmbeddings, ClipTextEncoder, ClipTextModel, input_ids,
};
pub use clip_vision::{ClipVisionConfig, ClipVisionEmbeddings, ClipVisionEncoder, ClipVisionModel};
pub use tokenizer::{PadToken, Tokenizer, TokenizerFiles, Tokens};
