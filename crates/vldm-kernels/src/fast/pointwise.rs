//! Operations that touch each value once.

use burn::tensor::{Shape, Tensor};

use super::{agrees, some, takes};
use crate::composed;
use crate::cpu::activation::Kind;
use crate::operation::{Call, Operation};

/// `x * sigmoid(x)`.
///
/// # Shapes
/// - `x`: any
/// - returns: the shape of `x`
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation(Kind::Silu, x, composed::silu)
}

/// `x * (1 + erf(x / sqrt(2))) / 2`: the exact form.
///
/// # Shapes
/// - `x`: any
/// - returns: the shape of `x`
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation(Kind::Gelu, x, composed::gelu)
}

/// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`: PyTorch's `approximate="tanh"`.
///
/// # Shapes
/// - `x`: any
/// - returns: the shape of `x`
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation(Kind::GeluTanh, x, composed::gelu_tanh)
}

/// `x * sigmoid(1.702 x)`: the activation of CLIP's first text encoders.
///
/// # Shapes
/// - `x`: any
/// - returns: the shape of `x`
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation(Kind::QuickGelu, x, composed::quick_gelu)
}

fn activation<const D: usize>(
    kind: Kind,
    x: Tensor<D>,
    composed: fn(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    if !takes(&x) {
        return composed(x);
    }
    let (device, dtype) = (x.device(), x.dtype());
    let call = Call {
        operation: Operation::Activation(kind),
        shape: x.shape(),
    };
    call.apply(&device, dtype, [some(x), None, None, None, None, None])
}

/// `alpha * spatial + (1 - alpha) * temporal`; `alpha` weighs the **spatial** branch.
///
/// # Shapes
/// - `spatial`, `temporal`, returns: `[batch, frames, ...]`
/// - `alpha`: `[1]`, or `[frames]` for one weight per frame
///
/// # Source
/// Blattmann et al. 2023 (arXiv:2304.08818), section 3.1.
pub fn mix<const D: usize>(spatial: Tensor<D>, temporal: Tensor<D>, alpha: Tensor<1>) -> Tensor<D> {
    if D < 2 || !takes(&spatial) || !agrees(&spatial, Some(&temporal)) {
        return composed::mix(spatial, temporal, alpha);
    }
    let dims = spatial.dims();
    let [weights] = alpha.dims();
    debug_assert!(
        temporal.dims() == dims,
        "mix: spatial is {dims:?}, temporal {:?}",
        temporal.dims()
    );
    debug_assert!(
        weights == 1 || weights == dims[1],
        "mix: alpha must have 1 value or one per frame, got {weights} for {dims:?}"
    );
    let row = dims[2..].iter().product();
    let (device, dtype) = (spatial.device(), spatial.dtype());
    let call = Call {
        operation: Operation::Mix {
            dims: [dims[0], dims[1], row],
        },
        shape: Shape::from(dims),
    };
    call.apply(
        &device,
        dtype,
        [some(spatial), some(temporal), some(alpha), None, None, None],
    )
}

/// `x` plus a row of `shift` per frame, the same for all samples and positions.
///
/// # Shapes
/// - `x`, returns: `[batch, frames, positions, channels]`
/// - `shift`: `[frames, channels]`
pub fn add_per_frame(x: Tensor<4>, shift: Tensor<2>) -> Tensor<4> {
    let shape = x.dims();
    let [batch, frames, positions, channels] = shape;
    debug_assert_shape!("shift", shift, [frames, channels]);
    if !takes(&x) || !agrees(&x, Some(&shift)) {
        return composed::add_per_frame(x, shift);
    }
    let (device, dtype) = (x.device(), x.dtype());
    let call = Call {
        operation: Operation::Shift {
            dims: [batch, frames, positions * channels],
            channels,
        },
        shape: Shape::from(shape),
    };
    call.apply(
        &device,
        dtype,
        [some(x), some(shift), None, None, None, None],
    )
}

/// Resizes to `height`×`width` by repeating pixels: output row `i` is input row
/// `floor(i * in / out)`, PyTorch's `nearest`.
///
/// # Shapes
/// - `x`: `[n, h, w, channels]`
/// - returns: `[n, height, width, channels]`
pub fn upsample_nearest(x: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    if !takes(&x) || height * width == 0 {
        return composed::upsample_nearest(x, height, width);
    }
    let input = x.dims();
    let [n, _, _, channels] = input;
    let (device, dtype) = (x.device(), x.dtype());
    let call = Call {
        operation: Operation::Upsample {
            input,
            size: [height, width],
        },
        shape: Shape::from([n, height, width, channels]),
    };
    call.apply(&device, dtype, [some(x), None, None, None, None, None])
}
