//! Where parameters come from.

use std::cell::Cell;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How a fresh parameter is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// One value everywhere.
    Constant(f32),
    /// Uniform in `[-bound, bound]`.
    Uniform(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
}

/// Creates parameters on a device, lazily and reproducibly.
///
/// The n-th parameter asked for draws from the n-th stream of the seed, so a model's initial
/// values depend on its architecture and the seed alone: not on the device, not on the order in
/// which the values are first used.
#[derive(Debug)]
pub struct Init {
    device: Device,
    seed: u64,
    created: Cell<u64>,
}

impl Init {
    /// Parameters for `device` from `seed`.
    pub fn new(device: &Device, seed: u64) -> Self {
        Self {
            device: device.clone(),
            seed,
            created: Cell::new(0),
        }
    }

    /// The device that parameters are created on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A new parameter of `shape`; nothing is allocated before its first use.
    pub fn parameter<const D: usize>(&self, shape: [usize; D], fill: Fill) -> Param<Tensor<D>> {
        let stream = self.created.get();
        self.created.set(stream + 1);
        let seed = self.seed;
        self.parameter_from(shape, move || {
            values(fill, shape.iter().product(), seed, stream)
        })
    }

    /// A new parameter whose values, in row-major order, are computed at its first use.
    pub fn parameter_from<const D: usize>(
        &self,
        shape: [usize; D],
        values: impl FnOnce() -> Vec<f32> + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        Param::uninitialized(
            ParamId::new(),
            move |device, require_grad| {
                let data = TensorData::new(values(), shape);
                Tensor::from_data(data, device).set_require_grad(require_grad)
            },
            self.device.clone(),
            true,
            shape.into(),
        )
    }

    /// The usual start of a weight with `fan_in` inputs: uniform in ±1/√fan_in (He et al. 2015 with
    /// a = √5, what the reference implementations use for linear and convolution layers).
    pub fn weight<const D: usize>(&self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        self.parameter(shape, Fill::Uniform(1.0 / (fan_in.max(1) as f32).sqrt()))
    }
}

fn values(fill: Fill, count: usize, seed: u64, stream: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    // 24 bits are what an f32 in [0, 1) can hold; the half step keeps logarithms finite.
    let mut unit = || ((rng.next_u32() >> 8) as f32 + 0.5) / (1u32 << 24) as f32;
    match fill {
        Fill::Constant(value) => vec![value; count],
        Fill::Uniform(bound) => (0..count).map(|_| (2.0 * unit() - 1.0) * bound).collect(),
        Fill::Normal(deviation) => (0..count)
            .map(|_| {
                let (u1, u2) = (unit(), unit());
                deviation * (-2.0 * libm::logf(u1)).sqrt() * libm::cosf(std::f32::consts::TAU * u2)
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_depend_on_the_order_of_first_use() {
        let device = Device::flex();
        let (a, b) = (Init::new(&device, 7), Init::new(&device, 7));
        let (a1, a2) = (a.weight([3, 4], 4), a.weight([3, 4], 4));
        let (b1, b2) = (b.weight([3, 4], 4), b.weight([3, 4], 4));
        let (b2, b1) = (b2.val().into_data(), b1.val().into_data());
        assert_eq!(a1.val().into_data(), b1);
        assert_eq!(a2.val().into_data(), b2);
        assert_ne!(b1, b2);
    }

    #[test]
    fn normal_values_have_the_asked_deviation() {
        let values = values(Fill::Normal(0.5), 20_000, 1, 0);
        let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!((variance.sqrt() - 0.5).abs() < 0.01, "{variance}");
    }

    #[test]
    fn a_parameter_is_not_allocated_before_its_use() {
        let parameter = Init::new(&Device::flex(), 0).weight([1 << 20, 1 << 20], 1 << 20);
        assert!(!parameter.is_initialized());
        assert_eq!(parameter.lazy_shape().num_elements(), 1 << 40);
    }
}
