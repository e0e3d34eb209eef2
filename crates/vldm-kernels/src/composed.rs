//! Bodies made of Burn primitives: they run on every device and can be differentiated.
//!
//! They are also the oracles of every faster body, so what matters here is that they are right
//! and hold no more memory than the operation needs; they are as fast as the primitives allow.

mod activation;
mod attention;
mod conv;
mod conv3d;
mod half;
mod linear;
mod mix;
mod norm;
mod optim;
mod resample;
mod temporal_attention;
mod temporal_conv;

pub use activation::{gelu, gelu_tanh, quick_gelu, silu};
pub use attention::attention;
pub use conv::conv2d;
pub use conv3d::conv3d;
pub use linear::{linear, linear_geglu};
pub use mix::{add_per_frame, mix};
pub use norm::{group_norm, layer_norm};
pub use optim::{adamw, sum_squares};
pub use resample::{pad, upsample_nearest};
pub use temporal_attention::temporal_attention;
pub use temporal_conv::temporal_conv;
