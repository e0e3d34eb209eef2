//! The operations as they are called: where a fast body runs, and where the composed one.

mod attention;
mod conv;
mod norm;
mod optim;
mod pointwise;

pub use attention::{attention, temporal_attention};
pub use conv::{
    arrange, conv2d, conv2d_upsampled, conv3d, linear, linear_geglu, pack, temporal_conv, unpack,
};
pub use norm::{group_norm, layer_norm};
pub use optim::{adamw, from_memory_order, memory_order, memory_order_of, sum_squares};
pub use pointwise::{add_per_frame, gelu, gelu_tanh, mix, quick_gelu, silu, upsample_nearest};

use burn::backend::DispatchTensor;
use burn::tensor::{DType, Device, Tensor};

/// Whether convolutions and linear layers on this device round an f32 `weight` as they read it, where
/// activations are in half precision: it need not be cast, and its gradient is f32 as it is.
pub fn rounds_weights<const D: usize>(weight: &Tensor<D>) -> bool {
    takes(weight)
}

/// Whether a fast body takes `tensor`: on the CPU, in a type it has, with something in it.
fn takes<const D: usize>(tensor: &Tensor<D>) -> bool {
    let has_body = matches!(tensor.dtype(), DType::F32 | DType::BF16);
    has_body && tensor.shape().num_elements() > 0 && tensor.device() == Device::flex()
}

/// Whether `other`, if it is there, has the type of `tensor`.
fn agrees<const D: usize, const E: usize>(tensor: &Tensor<D>, other: Option<&Tensor<E>>) -> bool {
    other.is_none_or(|other| other.dtype() == tensor.dtype())
}

/// An operand that is there.
fn some<const D: usize>(tensor: Tensor<D>) -> Option<DispatchTensor> {
    Some(tensor.into_dispatch())
}
