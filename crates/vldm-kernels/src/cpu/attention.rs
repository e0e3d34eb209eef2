//! Scaled dot-product attention over tokens that lie apart, forward and backward.
//!
//! Attention over the pixels of an image, over the frames at a position and over the words of a
//! prompt are the same call with other [`Strides`]. Logits, softmax and sums are f32 whatever the
//! elements are; no more than a tile of a head's weights exists at a time. Where products run in matrix
//! tiles, weights are rounded to bf16 before they meet the values.

mod backward;
mod forward;
mod pack;
mod product;
mod scratch;
mod simd;
mod softmax;
mod spec;
#[cfg(test)]
mod tests;
mod tiles;
mod tiling;

pub use backward::{Gradients, Saved, attention_backward};
pub use forward::attention;
pub use spec::{AttentionSpec, Inputs, Mask, Strides, Tokens, TokensMut};
