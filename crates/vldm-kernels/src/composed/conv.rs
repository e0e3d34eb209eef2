//! Convolution over height and width.

use burn::tensor::{Tensor, module, ops::ConvOptions};

use super::linear::rows_by_weight;
use crate::flops;
use crate::operands::{Channels, Conv2dOptions, Epilogue, Padding};

/// Two-dimensional convolution, plus `epilogue`.
///
/// # Shapes
/// - `x`: `[n, height, width, in]`
/// - `weight`: `[out, in, kernel_height, kernel_width]`
/// - `bias`: `[out]`
/// - `epilogue.shift`: `[n, out]`
/// - `epilogue.residual`, returns: `[n, height', width', out]` with
///   `height' = (height + top + bottom - kernel_height) / stride + 1`
pub fn conv2d<X: Into<Channels<4>>>(
    x: X,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
    epilogue: Epilogue<4>,
) -> Tensor<4> {
    let x = x.into();
    let _flops = flops::record(|| flops::conv2d(x.dims(), weight.dims(), options));
    let [n, h, w, inputs] = x.dims();
    let [out, weight_inputs, kh, kw] = weight.dims();
    debug_assert!(
        inputs == weight_inputs,
        "conv2d: x has {inputs} channels, weight [out, in, kh, kw] has {weight_inputs}"
    );
    let Padding {
        top,
        bottom,
        left,
        right,
    } = options.padding;
    if n == 0 {
        let height = (h + top + bottom - kh) / options.stride + 1;
        let width = (w + left + right - kw) / options.stride + 1;
        return Tensor::zeros([0, height, width, out], (&weight.device(), weight.dtype()));
    }
    let y = if kh == 1 && kw == 1 && options == Conv2dOptions::default() {
        let x = x.joined().reshape([n * h * w, inputs]);
        rows_by_weight(x, weight.reshape([out, inputs]), bias).reshape([n, h, w, out])
    } else {
        let options = ConvOptions::new_with_padding(
            [options.stride; 2],
            [(top, bottom), (left, right)],
            [1, 1],
            1,
        );
        let x = x.joined().permute([0, 3, 1, 2]); // [n, in, h, w]
        module::conv2d(x, weight, bias, options).permute([0, 2, 3, 1]) // [n, h', w', out]
    };
    add_epilogue(y, epilogue)
}

/// Adds a shift per image and a residual to a convolution's output `[n, h, w, out]`.
fn add_epilogue(y: Tensor<4>, epilogue: Epilogue<4>) -> Tensor<4> {
    let [n, h, w, out] = y.dims();
    let y = match epilogue.shift {
        Some(shift) => {
            debug_assert_shape!("epilogue.shift", shift, [n, out]);
            y + shift.reshape([n, 1, 1, out])
        }
        None => y,
    };
    match epilogue.residual {
        Some(residual) => {
            debug_assert_shape!("epilogue.residual", residual, [n, h, w, out]);
            y + residual
        }
        None => y,
    }
}
