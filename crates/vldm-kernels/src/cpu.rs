//! Bodies for the CPU: plain slices and strides, no tensors.
//!
//! Everything here takes the [`Level`](level::Level) to use as its first argument, runs on
//! rayon's threads, and computes the same bits whatever their number: work is split by outputs,
//! and the order of every sum depends on the shape of one sample only.

#![allow(
    clippy::too_many_arguments,
    reason = "a body takes its level, its shape and its operands, one by one"
)]

#[macro_use]
pub mod leveled;
pub mod activation;
pub mod arrange;
pub mod attention;
pub mod conv;
pub mod element;
pub mod group_norm;
#[cfg(all(test, unix))]
mod guarded;
pub mod layer_norm;
pub mod level;
pub mod math;
pub mod mix;
pub mod norm;
pub mod optim;
mod product;
pub mod resample;
mod shared;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tile_unit;
