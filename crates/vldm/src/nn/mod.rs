//! Layers, as small as the field draws them; [`crate::unet`] and [`crate::autoencoder`] put them
//! together.
//!
//! All of them work channels last and call [`vldm_kernels`] for every heavy operation. Parameters
//! keep the shapes of the reference (`[out, in, kh, kw]`, `[out, in]`) and are created lazily, so
//! a model of any size can be described and counted without its memory.

mod arrange;
mod attention;
mod conv;
mod embedding;
mod feed_forward;
mod init;
mod linear;
mod norm;
mod position_embedding;
mod resample;
mod resnet_block;
mod spatial_transformer;
pub mod temporal;
mod timestep_embedding;

pub use arrange::arrange;
pub(crate) use arrange::{arrange_as, cast, is_arranged, stays_wide};
pub use attention::{Attention, AttentionConfig};
pub use conv::Conv2d;
pub use embedding::Embedding;
pub use feed_forward::FeedForward;
pub use init::{Fill, Init};
pub use linear::Linear;
pub use norm::{GroupNorm, LayerNorm};
pub use position_embedding::{PositionEmbedding, fourier};
pub use resample::{Downsample, Upsample};
pub use resnet_block::{ResnetBlock, ResnetBlockConfig};
pub use spatial_transformer::{SpatialTransformer, SpatialTransformerConfig, TransformerBlock};
pub use timestep_embedding::{TimestepEmbedding, sinusoidal};
