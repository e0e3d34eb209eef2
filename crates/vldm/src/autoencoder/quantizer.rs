//! Vector quantisation: the nearest entry of a codebook.
//!
//! # Source
//! van den Oord et al. 2017 (arXiv:1711.00937), section 3; the driving models' first stage has
//! 16,384 codes of 4 channels (Blattmann et al. 2023, table 8).

use burn::module::Module;
use burn::tensor::{DType, Int, Tensor};

use crate::nn::{Embedding, Init};

/// A codebook.
#[derive(Module, Debug)]
pub struct Codebook {
    /// `[codes, channels]`
    pub embedding: Embedding,
}

impl Codebook {
    /// A codebook with fresh entries.
    pub fn new(codes: usize, channels: usize, init: &Init) -> Self {
        Self {
            embedding: Embedding::new(codes, channels, 1.0 / codes as f32, init),
        }
    }

    /// The index of the entry nearest to each position, in squared distance.
    ///
    /// # Shapes
    /// - `x`: `[positions, channels]`
    /// - returns: `[positions]`
    pub fn nearest(&self, x: Tensor<2>) -> Tensor<1, Int> {
        // In f32: half a digit decides between neighbours among many.
        let codes = self.embedding.weight.val().cast(DType::F32); // [codes, channels]
        // |x − e|² without |x|², which all codes share.
        let lengths = codes.clone().powi_scalar(2).sum_dim(1).transpose(); // [1, codes]
        let x = x.cast(DType::F32);
        let distances = lengths - x.matmul(codes.transpose()) * 2.0; // [positions, codes]
        distances.argmin(1).squeeze_dim(1)
    }

    /// Replaces each position by its nearest entry.
    ///
    /// # Shapes
    /// - `x`, returns: `[n, height, width, channels]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, h, w, c] = x.dims();
        // A chunk at a time: the table of distances to 16,384 codes is the largest thing here.
        let flat = x.reshape([n * h * w, c]);
        let rows = flat
            .split(1024, 0)
            .into_iter()
            .map(|chunk| self.embedding.forward(self.nearest(chunk).unsqueeze_dim(0)))
            .collect();
        Tensor::cat(rows, 1).reshape([n, h, w, c])
    }
}

impl Codebook {
    /// Replaces each position by its nearest entry for training: the gradient passes through
    /// unchanged, and the second result is the loss that draws entries and positions together.
    ///
    /// # Shapes
    /// - `x`, first result: `[n, height, width, channels]`
    /// - second result: a scalar
    ///
    /// # Source
    /// van den Oord et al. 2017 (arXiv:1711.00937), eq. 3.
    pub(crate) fn quantise(&self, x: Tensor<4>, commitment: f64) -> (Tensor<4>, Tensor<1>) {
        let entries = self.forward(x.clone().detach());
        let towards_positions = (entries.clone() - x.clone().detach()).powi_scalar(2).mean();
        let towards_entries = (x.clone() - entries.clone().detach()).powi_scalar(2).mean();
        let through = x.clone() + (entries - x).detach();
        (through, towards_positions + towards_entries * commitment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn every_entry_is_its_own_nearest() {
        let codebook = Codebook::new(37, 4, &Init::new(&Device::flex(), 3));
        let nearest = codebook.nearest(codebook.embedding.weight.val());
        let nearest: Vec<i64> = nearest
            .into_data()
            .convert::<i64>()
            .try_to_vec()
            .expect("i64");
        assert_eq!(nearest, (0..37).collect::<Vec<i64>>());
        let entries = codebook.embedding.weight.val().reshape([1, 1, 37, 4]);
        let quantised = codebook.forward(entries.clone());
        assert_eq!(quantised.into_data(), entries.into_data());
    }
}
