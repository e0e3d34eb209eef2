//! Changing the size of an image.

use burn::tensor::{Int, Tensor, TensorData, ops::PadMode};

use crate::operands::Padding;

/// Resizes to `height`×`width` by repeating pixels: output row `i` is input row
/// `floor(i * in / out)`, PyTorch's `nearest`.
///
/// # Shapes
/// - `x`: `[n, h, w, channels]`
/// - returns: `[n, height, width, channels]`
pub fn upsample_nearest(x: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    if n * c * height * width == 0 {
        return Tensor::zeros([n, height, width, c], (&x.device(), x.dtype()));
    }
    if height.is_multiple_of(h) && width.is_multiple_of(w) {
        let (ky, kx) = (height / h, width / w);
        return x
            .reshape([n, h, 1, w, 1, c])
            .expand([n, h, ky, w, kx, c])
            .reshape([n, height, width, c]);
    }
    resize_axis(resize_axis(x, 1, height), 2, width)
}

fn resize_axis(x: Tensor<4>, axis: usize, size: usize) -> Tensor<4> {
    let input = x.dims()[axis];
    if input == size {
        return x;
    }
    let index: Vec<i64> = (0..size).map(|i| (i * input / size) as i64).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [size]), &x.device());
    x.select(axis, index)
}

/// Surrounds an image with zeros.
///
/// # Shapes
/// - `x`: `[n, h, w, channels]`
/// - returns: `[n, h + top + bottom, w + left + right, channels]`
pub fn pad(x: Tensor<4>, padding: Padding) -> Tensor<4> {
    if padding == Padding::NONE {
        return x;
    }
    let Padding {
        top,
        bottom,
        left,
        right,
    } = padding;
    x.pad(
        [(0, 0), (top, bottom), (left, right), (0, 0)],
        PadMode::Constant(0.0),
    )
}
