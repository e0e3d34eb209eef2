//! Convolutions and linear layers.

use burn::backend::flex::FlexTensor;
use burn::backend::{DispatchTensor, Flex};
use burn::tensor::{DType, Shape, Tensor};

use super::{agrees, some, takes};
use crate::composed;
use crate::cpu::conv::{Axis, Conv};
use crate::flex;
use crate::operands::{Channels, Conv2dOptions, Conv3dOptions, Epilogue, Padding};
use crate::operation::{Call, Operation};

/// The weight of a convolution or a linear layer in the order in which it is read, where the
/// device has one; same shape, same values.
///
/// Layers compute the same without it, but rearrange the weight at every call.
///
/// # Shapes
/// - `weight`, returns: `[out, in, kernel..]`
pub fn arrange<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    in_order(weight, flex::arrange)
}

/// As [`arrange`], for a model that only runs. In half precision, where there are matrix tiles, the order
/// is one that strides do not tell: then only the operations of this crate can read the result, anything
/// else panics. [`unpack`] undoes it.
///
/// # Shapes
/// - `weight`, returns: `[out, in, kernel..]`
pub fn pack<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    in_order(weight, flex::pack)
}

/// A weight that may be [packed](pack), in an order that everything can read; same shape, same values.
///
/// # Shapes
/// - `weight`, returns: `[out, in, kernel..]`
pub fn unpack<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    match weight.dtype() {
        DType::BF16 => in_order(weight, flex::unpack),
        _ => weight,
    }
}

fn in_order<const D: usize>(weight: Tensor<D>, order: fn(FlexTensor) -> FlexTensor) -> Tensor<D> {
    if D < 2 || !takes(&weight) || weight.device().is_autodiff() {
        return weight;
    }
    let primitive = weight
        .try_into_primitive::<Flex>()
        .expect("checked to be on this backend");
    Tensor::from_primitive::<Flex>(order(primitive))
}

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
    if !accepts(&x, &weight, &epilogue) {
        return composed::conv2d(x, unpack(weight), bias, options, epilogue);
    }
    let [_, height, width, _] = x.dims();
    image(x, (weight, bias), options, epilogue, [height, width])
}

/// [`conv2d`] with stride 1 of the image resized to `size` (height and width) as
/// [`upsample_nearest`](super::upsample_nearest) does, without ever holding the larger image.
///
/// # Shapes
/// - `x`: `[n, h, w, in]`
/// - `weight`: `[out, in, kernel_height, kernel_width]`
/// - `bias`: `[out]`
/// - returns: `[n, height', width', out]`
pub fn conv2d_upsampled(
    x: Tensor<4>,
    size: [usize; 2],
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    padding: Padding,
) -> Tensor<4> {
    let options = Conv2dOptions { stride: 1, padding };
    let epilogue = Epilogue::default();
    // The gradient of the small image is a sum over the large one's: two operations.
    let fused = takes(&x) && takes(&weight) && !x.device().is_autodiff();
    if !fused || size.contains(&0) {
        let x = super::upsample_nearest(x, size[0], size[1]);
        return conv2d(x, weight, bias, options, epilogue);
    }
    image(x.into(), (weight, bias), options, epilogue, size)
}

fn image(
    x: Channels<4>,
    (weight, bias): (Tensor<4>, Option<Tensor<1>>),
    options: Conv2dOptions,
    epilogue: Epilogue<4>,
    size: [usize; 2],
) -> Tensor<4> {
    let [n, height, width, inputs] = x.dims();
    let [out, weight_inputs, kernel_height, kernel_width] = weight.dims();
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
    let axis = |input, scaled, kernel, before, after| Axis {
        input,
        scaled,
        kernel,
        stride: options.stride,
        before,
        after,
    };
    let conv = Conv {
        batch: n,
        axes: [
            Axis::point(1),
            axis(height, size[0], kernel_height, top, bottom),
            axis(width, size[1], kernel_width, left, right),
        ],
        inputs: part_channels(&x),
        outputs: out,
    };
    let [_, rows, columns] = conv.axes.map(|axis| axis.output());
    let shape = [n, rows, columns, out];
    if let Some(shift) = &epilogue.shift {
        debug_assert_shape!("epilogue.shift", shift, [n, out]);
    }
    run(conv, shape, x, (weight.into_dispatch(), bias), epilogue)
}

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
    if !accepts(&x, &weight, &epilogue) {
        return composed::conv3d(x, unpack(weight), bias, options, epilogue);
    }
    let [batch, frames, height, width, inputs] = x.dims();
    let [out, weight_inputs, kernel @ ..] = weight.dims();
    debug_assert!(
        inputs == weight_inputs,
        "conv3d: x has {inputs} channels, weight [out, in, kf, kh, kw] has {weight_inputs}"
    );
    let size = [frames, height, width];
    let axes = [0, 1, 2].map(|axis| Axis {
        input: size[axis],
        scaled: size[axis],
        kernel: kernel[axis],
        stride: options.stride[axis],
        before: options.padding[axis],
        after: options.padding[axis],
    });
    let conv = Conv {
        batch,
        axes,
        inputs: part_channels(&x),
        outputs: out,
    };
    let [frames, height, width] = conv.axes.map(|axis| axis.output());
    let shape = [batch, frames, height, width, out];
    run(conv, shape, x, (weight.into_dispatch(), bias), epilogue)
}

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
    if !accepts(&x, &weight, &epilogue) {
        return composed::temporal_conv(x, unpack(weight), bias, epilogue);
    }
    let [batch, frames, positions, inputs] = x.dims();
    let [out, ..] = weight.dims();
    debug_assert_shape!("weight", weight, [out, inputs, 3, 1, 1]);
    let time = Axis {
        kernel: 3,
        before: 1,
        after: 1,
        ..Axis::point(frames)
    };
    let conv = Conv {
        batch,
        axes: [time, Axis::point(1), Axis::point(positions)],
        inputs: part_channels(&x),
        outputs: out,
    };
    let shape = [batch, frames, positions, out];
    run(conv, shape, x, (weight.into_dispatch(), bias), epilogue)
}

/// `x weightᵀ + bias + residual`.
///
/// # Shapes
/// - `x`: `[..., in]`
/// - `weight`: `[out, in]`
/// - `bias`: `[out]`
/// - `residual`, returns: `[..., out]`
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    residual: Option<Tensor<D>>,
) -> Tensor<D> {
    if !(takes(&x) && takes(&weight) && agrees(&x, residual.as_ref())) {
        return composed::linear(x, unpack(weight), bias, residual);
    }
    let (conv, shape) = rows(&x, &weight, 1);
    let epilogue = Epilogue {
        shift: None,
        residual,
    };
    run(
        conv,
        shape,
        x.into(),
        (weight.into_dispatch(), bias),
        epilogue,
    )
}

/// Gated linear unit: the output's first half, times GELU (erf) of its second half.
///
/// # Shapes
/// - `x`: `[..., in]`
/// - `weight`: `[2 * inner, in]`
/// - `bias`: `[2 * inner]`
/// - returns: `[..., inner]`
pub fn linear_geglu<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    if !(takes(&x) && takes(&weight)) {
        return composed::linear_geglu(x, unpack(weight), bias);
    }
    let (conv, shape) = rows(&x, &weight, 2);
    debug_assert!(
        conv.outputs.is_multiple_of(2),
        "linear_geglu: weight must have an even number of rows, got {}",
        conv.outputs
    );
    let (device, dtype) = (x.device(), x.dtype());
    let call = Call {
        operation: Operation::LinearGeglu(conv),
        shape: Shape::from(shape),
    };
    let bias = bias.map(Tensor::into_dispatch);
    call.apply(
        &device,
        dtype,
        [some(x), some(weight), bias, None, None, None],
    )
}

/// A linear layer over the rows of `x`, and the shape of its output, whose rows are `folds` times
/// shorter than the layer's.
fn rows<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, folds: usize) -> (Conv, [usize; D]) {
    let mut shape = x.dims();
    let [out, inputs] = weight.dims();
    debug_assert!(
        shape[D - 1] == inputs,
        "linear: x has {} channels, weight [out, in] = [{out}, {inputs}]",
        shape[D - 1]
    );
    let rows = shape[..D - 1].iter().product();
    shape[D - 1] = out / folds;
    (Conv::linear(rows, inputs, out), shape)
}

/// Whether the fast body takes these operands.
fn accepts<const D: usize, const E: usize>(
    x: &Channels<D>,
    weight: &Tensor<E>,
    epilogue: &Epilogue<D>,
) -> bool {
    let (first, second) = match x {
        Channels::One(x) => (x, None),
        Channels::Two(x, second) => (x, Some(second)),
    };
    takes(first)
        && takes(weight)
        && second.is_none_or(takes)
        && agrees(first, second)
        && agrees(first, epilogue.shift.as_ref())
        && agrees(first, epilogue.residual.as_ref())
}

/// Channels of both parts.
fn part_channels<const D: usize>(x: &Channels<D>) -> [usize; 2] {
    match x {
        Channels::One(x) => [x.dims()[D - 1], 0],
        Channels::Two(a, b) => [a.dims()[D - 1], b.dims()[D - 1]],
    }
}

fn run<const D: usize>(
    conv: Conv,
    shape: [usize; D],
    x: Channels<D>,
    (weight, bias): (DispatchTensor, Option<Tensor<1>>),
    Epilogue { shift, residual }: Epilogue<D>,
) -> Tensor<D> {
    if let Some(residual) = &residual {
        debug_assert!(
            residual.dims() == shape,
            "epilogue.residual must be {shape:?}, got {:?}",
            residual.dims()
        );
    }
    let (x, second) = match x {
        Channels::One(x) => (x, None),
        Channels::Two(x, second) => (x, some(second)),
    };
    let (device, dtype) = (x.device(), x.dtype());
    let call = Call {
        operation: Operation::Conv(conv),
        shape: Shape::from(shape),
    };
    let bias = bias.map(Tensor::into_dispatch);
    let shift = shift.map(Tensor::into_dispatch);
    let residual = residual.map(Tensor::into_dispatch);
    call.apply(
        &device,
        dtype,
        [some(x), second, Some(weight), bias, shift, residual],
    )
}
