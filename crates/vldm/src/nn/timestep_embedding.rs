//! Sinusoidal codes of a number, and the small network that reads them.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{Init, Linear};

/// The sinusoidal code of each value: cosines in the first half, sines in the second, with
/// geometrically spaced frequencies from 1 down to 1/10000. An odd last channel is zero.
///
/// # Shapes
/// - `values`: `[n]`, any real numbers (timesteps, `c_noise`, frame indices)
/// - returns: `[n, channels]`
///
/// # Source
/// Vaswani et al. 2017, section 3.5, in the \[cos‖sin\] order of Stable Diffusion.
pub fn sinusoidal(values: Tensor<1>, channels: usize) -> Tensor<2> {
    let half = channels / 2;
    let device = values.device();
    let n = values.dims()[0];
    let frequencies: Vec<f32> = (0..half)
        .map(|i| (-(10_000f64.ln()) * i as f64 / half as f64).exp() as f32)
        .collect();
    let frequencies = Tensor::<1>::from_floats(frequencies.as_slice(), &device).reshape([1, half]);
    let angles = values.reshape([n, 1]) * frequencies; // [n, half]
    let mut parts = vec![angles.clone().cos(), angles.sin()];
    if channels % 2 == 1 {
        parts.push(Tensor::zeros([n, 1], &device));
    }
    Tensor::cat(parts, 1)
}

/// Two linear layers with a SiLU between: the code of a noise level, of micro-conditioning, or of
/// a frame index becomes an embedding.
#[derive(Module, Debug)]
pub struct TimestepEmbedding {
    /// Into the hidden width.
    pub linear_1: Linear,
    /// Out of the hidden width.
    pub linear_2: Linear,
}

impl TimestepEmbedding {
    /// `inputs → hidden → outputs`.
    pub fn new(inputs: usize, hidden: usize, outputs: usize, init: &Init) -> Self {
        Self {
            linear_1: Linear::new(inputs, hidden, true, init),
            linear_2: Linear::new(hidden, outputs, true, init),
        }
    }

    /// As [`TimestepEmbedding::new`], with an output that starts at zero.
    pub fn zeros(inputs: usize, hidden: usize, outputs: usize, init: &Init) -> Self {
        Self {
            linear_1: Linear::new(inputs, hidden, true, init),
            linear_2: Linear::zeros(hidden, outputs, true, init),
        }
    }

    /// # Shapes
    /// - `code`: `[n, inputs]`
    /// - returns: `[n, outputs]`
    pub fn forward(&self, code: Tensor<2>) -> Tensor<2> {
        self.linear_2
            .forward(vldm_kernels::silu(self.linear_1.forward(code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn cosines_come_first() {
        let code = sinusoidal(Tensor::from_floats([0.0, 2.0], &Device::flex()), 5);
        let code: Vec<f32> = code.into_data().try_to_vec().expect("f32");
        let expected = [
            1.0,
            1.0,
            0.0,
            0.0,
            0.0,
            2f32.cos(),
            0.02f32.cos(),
            2f32.sin(),
            0.02f32.sin(),
            0.0,
        ];
        for (got, expected) in code.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
    }
}
