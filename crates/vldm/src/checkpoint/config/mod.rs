//! Configurations that other programs wrote, understood key by key: diffusers' `config.json` of
//! each part, its `model_index.json`, and transformers' CLIP configurations.
//!
//! Defaults are those of diffusers 0.42.1 and transformers 5.23.0. What we do not support is an
//! error that says so, never a silently different computation.

mod autoencoder;
mod clip;
mod folder;
mod noise;
mod reader;
mod unet;

pub use autoencoder::{DiffusersAutoencoder, DiffusersAutoencoderConfig};
pub use clip::{ClipActivation, ClipTextConfig, ClipVisionConfig};
pub use folder::{Component, ModelFolder, ModelSource};
pub use noise::{BetaSchedule, DiffusersNoiseConfig, FinalSigma, Prediction, Spacing};
pub use reader::Json;
pub use unet::{DiffusersUNetConfig, Scalars};

#[cfg(test)]
mod tests;
