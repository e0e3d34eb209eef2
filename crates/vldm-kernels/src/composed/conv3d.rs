//! Convolution over time, height and width.

use burn::tensor::{Tensor, module, ops::ConvOptions};

use crate::flops;
use crate::operands::{Channels, Conv3dOptions, Epilogue};

/// Three-dimensional convolution, plus `epilogue`.
///
/// # Shapes
/// - `x`: `[batch, frames, height, width, in]`
/// - `weight`: `[out, in, kernel_frames, kernel_height, kernel_width]`
/// - `bias`: `[out]`
/// - `epilogue.shift`: `[batch * frames', out]`
/// - `epilogue.residual`, returns: `[batch, frames', height', width', out]` with
///   `frames' = (frames + 2 padding[0] - kernel_frames) / stride[0] + 1`, and so on
pub fn conv3d(
    x: impl Into<Channels<5>>,
    weight: Tensor<5>,
    bias: Option<Tensor<1>>,
    options: Conv3dOptions,
    epilogue: Epilogue<5>,
) -> Tensor<5> {
    let x = x.into();
    let [b, f, h, w, inputs] = x.dims();
    let [out, weight_inputs, kf, kh, kw] = weight.dims();
    debug_assert!(
        inputs == weight_inputs,
        "conv3d: x has {inputs} channels, weight [out, in, kf, kh, kw] has {weight_inputs}"
    );
    let Conv3dOptions { stride, padding } = options;
    let size = |axis: usize, input: usize, kernel: usize| {
        (input + 2 * padding[axis] - kernel) / stride[axis] + 1
    };
    let dims = [b, size(0, f, kf), size(1, h, kh), size(2, w, kw), out];
    let outputs = dims[..4].iter().product();
    let _flops = flops::record(|| flops::convolution(outputs, kf * kh * kw, [inputs, out]));
    if b == 0 {
        return Tensor::zeros(dims, (&weight.device(), weight.dtype()));
    }
    let x = x.joined().permute([0, 4, 1, 2, 3]); // [b, in, f, h, w]
    let options = ConvOptions::new(stride, padding, [1; 3], 1);
    let y = module::conv3d(x, weight, bias, options).permute([0, 2, 3, 4, 1]); // [b, f', h', w', out]
    add_epilogue(y, epilogue)
}

fn add_epilogue(y: Tensor<5>, epilogue: Epilogue<5>) -> Tensor<5> {
    let [b, f, h, w, out] = y.dims();
    let y = match epilogue.shift {
        Some(shift) => {
            debug_assert_shape!("epilogue.shift", shift, [b * f, out]);
            y + shift.reshape([b, f, 1, 1, out])
        }
        None => y,
    };
    match epilogue.residual {
        Some(residual) => {
            debug_assert_shape!("epilogue.residual", residual, [b, f, h, w, out]);
            y + residual
        }
        None => y,
    }
}
