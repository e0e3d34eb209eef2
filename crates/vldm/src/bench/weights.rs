//! Random weights and inputs in the data type that is measured.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::checkpoint::count_parameters;
use crate::nn::arrange_as;
use crate::rng::{Draw, NoiseKey, Stage};

/// How many parameters there are, and what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Their number.
    pub count: usize,
    /// How many of them learn.
    pub trained: usize,
    /// What they take in memory, in bytes, without gradients and moments.
    pub bytes: usize,
}

impl Parameters {
    /// Parameters of one data type that do not learn.
    pub(super) fn frozen(count: usize, dtype: DType) -> Self {
        Self {
            count,
            trained: 0,
            bytes: count * dtype.size(),
        }
    }
}

/// Makes every parameter's values, one at a time, in `dtype`, as a loaded model holds them.
pub(super) fn materialised<M: Module>(module: M, dtype: DType) -> M {
    arrange_as(module, dtype)
}

/// Has every parameter's gradient computed from now on.
pub(super) struct Learn;

impl ModuleMapper for Learn {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|values| values.autodiff().require_grad())
    }
}

/// Number of parameters of a part that may be absent.
pub(super) fn count<M: Module>(module: Option<&M>) -> usize {
    module.map_or(0, count_parameters)
}

/// Normal values; another `index` gives others.
pub(super) fn noise<const D: usize>(
    dims: [usize; D],
    index: u64,
    (device, dtype): (&Device, DType),
) -> Tensor<D> {
    let key = NoiseKey {
        seed: 0,
        stage: Stage::Validation,
        draw: Draw::Initial,
    };
    let count = dims.iter().product();
    let values = key.normal(index..index + 1, [1, 1, count]);
    Tensor::<D>::from_data(TensorData::new(values, dims), device).cast(dtype)
}
