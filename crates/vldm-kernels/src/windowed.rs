//! A convolution of stride 1 as one matrix product per row of its kernel.
//!
//! In a padded image whose channels are last, the pixels under one kernel row are neighbours in
//! memory: `kernel_width * in` values. Taking such a window at every pixel gives a matrix whose
//! rows overlap, and which flex multiplies without ever writing it down. So no permutation and
//! no gathering of patches is needed; only the outputs at the ends of rows, where a window spans
//! two rows, are computed in vain and dropped.

use burn::tensor::Tensor;

use crate::{
    composed::{add_epilogue, pad},
    operands::{Channels, Conv2dOptions, Epilogue},
};

/// [`composed::conv2d`](crate::composed::conv2d) for stride 1, in f32, on plain flex.
pub(crate) fn conv2d(
    x: Channels<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Conv2dOptions,
    epilogue: Epilogue<4>,
) -> Tensor<4> {
    debug_assert!(options.stride == 1, "windows exist for stride 1 only");
    let [_, inputs, kh, kw] = weight.dims();
    debug_assert!(
        x.dims()[3] == inputs,
        "conv2d: x has {} channels, weight [out, in, kh, kw] has {inputs}",
        x.dims()[3]
    );
    let x = pad(x.joined(), options.padding);
    let [_, h, w, _] = x.dims();
    let y = products(x, weight) // [n, h, w, out], junk in the last rows and columns
        .narrow(1, 0, h - kh + 1)
        .narrow(2, 0, w - kw + 1);
    let y = match bias {
        Some(bias) => {
            let [out] = bias.dims();
            y + bias.reshape([1, 1, 1, out])
        }
        None => y,
    };
    add_epilogue(y, epilogue)
}

/// The sum over kernel rows of windows times weights, at every pixel of the padded image.
fn products(x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    let [n, h, w, inputs] = x.dims();
    let [out, _, kh, kw] = weight.dims();
    let window = kw * inputs;
    let taps = weight
        .reshape([out, inputs, kh * kw])
        .swap_dims(1, 2)
        .reshape([out, kh * window]);
    let pixels = n * h * w;
    // The last pixels have no complete windows, and no output needs them.
    let rows = pixels - (kh - 1) * w - (kw - 1);
    let flat: Tensor<1> = x.reshape([pixels * inputs]);
    let y = (0..kh)
        .map(|row| {
            let windows: Tensor<2> = flat
                .clone()
                .narrow(0, row * w * inputs, (rows + kw - 1) * inputs)
                .unfold(0, window, inputs); // [rows, kw * in]
            let taps = taps.clone().narrow(1, row * window, window);
            windows.matmul(taps.transpose())
        })
        .reduce(|sum, y| sum + y)
        .expect("a kernel has at least one row");
    let missing = Tensor::zeros([pixels - rows, out], (&y.device(), y.dtype()));
    Tensor::cat(vec![y, missing], 0).reshape([n, h, w, out])
}
