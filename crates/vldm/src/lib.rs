//! Video latent diffusion.

pub mod checkpoint;
mod error;

pub use error::{Error, Result};
