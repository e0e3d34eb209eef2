//! Convolution over height and width: which body runs.

use burn::{
    backend::DispatchDevice,
    tensor::{DType, Device, Tensor},
};

use crate::{
    composed, flops,
    operands::{Channels, Conv2dOptions, Epilogue},
    windowed,
};

/// Two-dimensional convolution, plus `epilogue`.
///
/// # Shapes
/// - `x`: `[n, height, width, in]`
/// - `weight`: `[out, in, kernel_height, kernel_width]`
/// - `bias`: `[out]`
/// - `epilogue.shift`: `[n, out]`
/// - `epilogue.residual`, returns: `[n, height', width', out]` with
///   `height' = (height + top + bottom - kernel_height) / stride + 1`
pub fn conv2d(
    x: impl Into<Channels<4>>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
    epilogue: Epilogue<4>,
) -> Tensor<4> {
    let x = x.into();
    let _flops = flops::record(|| flops::conv2d(x.dims(), weight.dims(), options));
    let body = if prefers_windows(&x, &weight, options) {
        windowed::conv2d
    } else {
        composed::conv2d::<Channels<4>>
    };
    body(x, weight, bias, options, epilogue)
}

/// Whether the windowed body is the faster one: depends on the shape of one image and of the
/// weight, never on the number of images.
fn prefers_windows(x: &Channels<4>, weight: &Tensor<4>, options: Conv2dOptions) -> bool {
    let [n, h, w, inputs] = x.dims();
    let [out, _, kh, kw] = weight.dims();
    let padding = options.padding;
    let (padded_height, padded_width) = (
        h + padding.top + padding.bottom,
        w + padding.left + padding.right,
    );
    if n == 0 || options.stride != 1 || kh * kw == 1 || padded_height < kh || padded_width < kw {
        return false;
    }
    // It also computes the outputs between the end of a row and the start of the next.
    let useful = (padded_height - kh + 1) * (padded_width - kw + 1);
    let computed = padded_height * padded_width;
    let is_large = useful >= 512 && inputs >= 16 && out >= 16 && computed * 5 <= useful * 6;
    // Burn reads overlapping windows without a copy here only, and cannot differentiate them well.
    is_large && weight.dtype() == DType::F32 && is_plain_flex(x, weight)
}

fn is_plain_flex(x: &Channels<4>, weight: &Tensor<4>) -> bool {
    let is_flex = |device: &Device| matches!(device.as_dispatch(), DispatchDevice::Flex(_));
    let x_is_flex = match x {
        Channels::One(x) => is_flex(&x.device()),
        Channels::Two(a, b) => is_flex(&a.device()) && is_flex(&b.device()),
    };
    x_is_flex && is_flex(&weight.device())
}
