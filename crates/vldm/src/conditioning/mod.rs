//! What networks are told besides the noisy latents.

pub mod clip_image;
