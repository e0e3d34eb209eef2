//! Convolution over time alone, kernel 3×1×1.

use burn::tensor::{DType, Device, Tensor};

use super::linear::rows_by_weight;
use crate::flops;
use crate::operands::{Channels, Epilogue};

/// Convolution over the frames of a clip with kernel 3×1×1, zero padding 1 in time, plus
/// `epilogue`.
///
/// # Shapes
/// - `x`: `[batch, frames, positions, in]`
/// - `weight`: `[out, in, 3, 1, 1]`
/// - `bias`: `[out]`
/// - `epilogue.shift`: `[batch * frames, out]`
/// - `epilogue.residual`, returns: `[batch, frames, positions, out]`
pub fn temporal_conv(
    x: impl Into<Channels<4>>,
    weight: Tensor<5>,
    bias: Option<Tensor<1>>,
    epilogue: Epilogue<4>,
) -> Tensor<4> {
    let x = x.into();
    let [b, f, p, inputs] = x.dims();
    let [out, ..] = weight.dims();
    let _flops = flops::record(|| flops::convolution(b * f * p, 3, [inputs, out]));
    debug_assert_shape!("weight", weight, [out, inputs, 3, 1, 1]);
    if b * f * p == 0 {
        return zeros([b, f, p, out], &(weight.device(), weight.dtype()));
    }
    let y = convolve(x.joined(), weight);
    let y = match bias {
        Some(bias) => y + bias.reshape([1, 1, 1, out]),
        None => y,
    };
    let y = match epilogue.shift {
        Some(shift) => {
            debug_assert_shape!("epilogue.shift", shift, [b * f, out]);
            y + shift.reshape([b, f, 1, out])
        }
        None => y,
    };
    match epilogue.residual {
        Some(residual) => {
            debug_assert_shape!("epilogue.residual", residual, [b, f, p, out]);
            y + residual
        }
        None => y,
    }
}

/// Three products, one per tap, over views shifted by a frame.
fn convolve(x: Tensor<4>, weight: Tensor<5>) -> Tensor<4> {
    let [b, f, p, inputs] = x.dims();
    let [out, ..] = weight.dims();
    let context = (x.device(), x.dtype());
    let pad = zeros([b, 1, p, inputs], &context);
    let x = Tensor::cat(vec![pad.clone(), x, pad], 1); // [b, f + 2, p, in]
    let taps = weight.reshape([out * inputs, 3]).transpose(); // [3, out * in]
    (0..3)
        .map(|t| {
            let tap = taps.clone().narrow(0, t, 1).reshape([out, inputs]);
            let shifted = x.clone().narrow(1, t, f).reshape([b * f * p, inputs]);
            rows_by_weight(shifted, tap, None)
        })
        .reduce(|sum, y| sum + y)
        .expect("a kernel has three taps")
        .reshape([b, f, p, out])
}

fn zeros(dims: [usize; 4], (device, dtype): &(Device, DType)) -> Tensor<4> {
    Tensor::zeros(dims, (device, *dtype))
}
