//! Video latent diffusion.

pub mod diffusion;
pub mod error;
pub mod rng;
pub mod sampler;

pub use error::{Error, Result};
