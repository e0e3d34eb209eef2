//! A table of learned vectors.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use super::{Fill, Init};

/// Learned vectors, looked up by index.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[entries, channels]`
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// `entries` vectors, each value normal with the given deviation.
    pub fn new(entries: usize, channels: usize, deviation: f32, init: &Init) -> Self {
        Self {
            weight: init.parameter([entries, channels], Fill::Normal(deviation)),
        }
    }

    /// # Shapes
    /// - `indices`: `[batch, tokens]`, each below the number of entries
    /// - returns: `[batch, tokens, channels]`
    pub fn forward(&self, indices: Tensor<2, Int>) -> Tensor<3> {
        burn::tensor::module::embedding(self.weight.val(), indices)
    }
}
