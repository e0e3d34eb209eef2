//! Half-precision tensors: what must not be computed in them is cast up and down again here.

use burn::tensor::{DType, FloatDType, Tensor};

/// Whether `dtype` is one of the 16-bit float types.
pub(super) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// `x` in f32 if it is half precision, else unchanged.
pub(super) fn widen<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if is_half(x.dtype()) {
        x.cast(FloatDType::F32)
    } else {
        x
    }
}

/// `x` in `dtype`.
pub(super) fn narrow<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}
