//! What networks are told besides the noisy latents.

pub mod boxes;
pub mod clip_image;
pub mod encoders;
pub mod frame_rate;
pub mod labels;
