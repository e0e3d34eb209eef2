//! Video latent diffusion.
