//! Video latent diffusion: image diffusion models become video models by inserted temporal layers.
//!
//! The system of "Align your Latents" (Blattmann et al. 2023, arXiv:2304.08818) and of its public
//! heir Stable Video Diffusion (arXiv:2311.15127), for training and generation.

pub mod autoencoder;
pub mod bench;
pub mod checkpoint;
pub mod conditioning;
pub mod data;
pub mod diffusion;
pub mod error;
pub mod layout;
pub mod lora;
pub mod metrics;
pub mod model;
pub mod nn;
pub mod perceptual;
pub mod pipeline;
pub mod preset;
pub mod rng;
pub mod sampler;
pub mod text;
pub mod train;
pub mod unet;
pub mod verify;

pub use error::{Error, Result};

/// Whether models compute faster in bf16 than in f32 on this machine's CPU.
pub fn cpu_prefers_half() -> bool {
    vldm_kernels::cpu::level::Level::best().prefers_half()
}
