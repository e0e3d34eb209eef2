//! The tensor operations that diffusion networks spend their time in.
//!
//! One function per operation, all of them on tensors whose **last axis is the channel**:
//! images `[n, height, width, channels]`, tokens `[n, tokens, channels]`, clips
//! `[batch, frames, positions, channels]`. Those three are the same memory, so a network goes
//! from one view to the next by a reshape. Weights keep PyTorch's shapes (`[out, in, kh, kw]`,
//! `[out, in]`).
//!
//! # Tour
//!
//! | operation | function |
//! |---|---|
//! | convolution in space, in time, in both | [`conv2d`], [`temporal_conv`], [`conv3d`] |
//! | matrix with bias, and with a gated half | [`linear`], [`linear_geglu`] |
//! | normalisation | [`group_norm`], [`layer_norm`] |
//! | attention over positions, over frames | [`attention`], [`temporal_attention`] |
//! | activations | [`silu`], [`gelu`], [`gelu_tanh`], [`quick_gelu`] |
//! | resampling | [`upsample_nearest`], [`pad`] |
//! | blend of the spatial and the temporal branch, frame embedding | [`mix`], [`add_per_frame`] |
//! | optimiser | [`adamw`], [`sum_squares`] |
//!
//! What usually happens directly before or after an operation is an argument of it, so that a
//! device body can do it in the same pass over memory: [`Channels::Two`] is a skip connection
//! that is never concatenated, [`Epilogue`] is the time embedding and the residual that are
//! added to a convolution's output, [`Activation`] follows a group norm.
//!
//! # Bodies
//!
//! Every operation has a [`composed`] body made of Burn primitives. It runs on every device,
//! Burn's autodiff differentiates it, and it is the oracle of any faster body. The functions
//! at the root of the crate are the ones to call: they choose the body, by the device and by the
//! shape of the layer, never by the batch.
//!
//! [`flops::count`] says how much arithmetic the operations were asked for, [`peak::measure`] how
//! fast the processor could do it.

#[macro_use]
mod shape;

pub mod composed;
pub mod cpu;
mod fast;
mod flex;
pub mod flops;
pub mod memory;
mod operands;
mod operation;
pub mod peak;

#[cfg(test)]
mod tests;

pub use composed::pad;
pub use fast::{
    adamw, add_per_frame, arrange, attention, conv2d, conv2d_upsampled, conv3d, from_memory_order,
    gelu, gelu_tanh, group_norm, layer_norm, linear, linear_geglu, memory_order, memory_order_of,
    mix, pack, quick_gelu, rounds_weights, silu, sum_squares, temporal_attention, temporal_conv,
    unpack, upsample_nearest,
};
pub use operands::{
    Activation, AdamW, AdamWStep, AttentionMask, Channels, Conv2dOptions, Conv3dOptions, Ema,
    Epilogue, Moments, Norm, Padding,
};
