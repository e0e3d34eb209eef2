//! Low-rank adapters: what a model learns on top of weights that stay as they are,
//! W + (α/r)·B·A with A of r rows and B of r columns.
//!
//! An adapter is a small file beside a model ([`LoraFile`]); [`merge`] adds it to the model's weights,
//! after which the model runs as any other. [`crate::train`] makes them.
//!
//! # Source
//! Hu et al. 2021 (arXiv:2106.09685), section 4.1; files as diffusers and peft write them.

mod file;
mod merge;

use burn::tensor::Tensor;

pub use file::LoraFile;
pub(crate) use file::{AdapterTensors, write};
pub use merge::{LoraReport, merge};

/// What an adapter adds to a weight: (`scale`)·B·A.
///
/// # Shapes
/// - `a`: `[rank, inputs]`
/// - `b`: `[outputs, rank]`
/// - returns: `[outputs, inputs]`, in memory as layers read their weights
pub(crate) fn difference(a: Tensor<2>, b: Tensor<2>, scale: f64) -> Tensor<2> {
    vldm_kernels::linear((a * scale).transpose(), b, None, None).transpose()
}
