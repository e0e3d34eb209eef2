//! Convolutions and linear layers.

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{DType, Shape, bf16};

use super::{
    FlexElement, OperandGradients, Operands, floats, optional_floats, part, present, slice,
    small_tensor, tensor, with_layout,
};
use crate::cpu::arrange::Weight;
use crate::cpu::conv::{self, Additions, Conv, Weights};
use crate::cpu::level::Level;
use crate::cpu::{activation, norm};
use crate::memory::pool::Buffer;
use crate::operation::{OPERANDS, Saved};

/// Where a packed weight says that its elements start: beyond any memory. So whatever reads it
/// otherwise than through here panics.
const PACKED: usize = 1 << 60;

/// The weight laid out as a forward product reads it, with the shape it had: `[taps, inputs, outputs]`.
///
/// A layer whose weight lies like this is computed without rearranging it at every call.
pub(crate) fn arrange(weight: FlexTensor) -> FlexTensor {
    if !present(&weight) || is_packed(&weight) {
        return weight;
    }
    match weight.dtype() {
        DType::F32 => arrange_in::<f32>(weight),
        DType::BF16 => arrange_in::<bf16>(weight),
        _ => weight,
    }
}

/// As [`arrange`]; packed for the tile unit where it is in half precision and there is one.
pub(crate) fn pack(weight: FlexTensor) -> FlexTensor {
    let in_tiles = weight.dtype() == DType::BF16 && Level::current().prefers_half();
    if !in_tiles || !present(&weight) || is_packed(&weight) {
        return arrange(weight);
    }
    let shape = weight.layout().shape();
    let dims = weight_dims(shape);
    let mut buffer = Buffer::new(conv::packed_len(dims));
    Strided::<bf16>::new(&weight).arranged(|weight| {
        conv::pack(Level::current(), dims, weight, &mut buffer);
    });
    let strides = arranged_layout(shape).strides().to_vec();
    with_layout(buffer, Layout::new(shape.clone(), strides, PACKED))
}

fn arrange_in<W: FlexElement>(weight: FlexTensor) -> FlexTensor {
    let strided = Strided::<W>::new(&weight);
    if strided.weight().arranged().is_some() {
        return weight;
    }
    let mut buffer = Buffer::new(weight.layout().num_elements());
    strided.weight().arrange(Level::current(), &mut buffer);
    with_layout(buffer, arranged_layout(weight.layout().shape()))
}

fn is_packed(weight: &FlexTensor) -> bool {
    weight.layout().start_offset() == PACKED
}

/// Outputs, inputs and taps.
fn weight_dims(shape: &Shape) -> [usize; 3] {
    let taps = (2..shape.num_dims()).map(|axis| shape[axis]).product();
    [shape[0], shape[1], taps]
}

/// The weight in an order that its strides tell.
pub(crate) fn unpack(weight: FlexTensor) -> FlexTensor {
    if !is_packed(&weight) {
        return weight;
    }
    let shape = weight.layout().shape();
    let mut buffer = Buffer::<bf16>::new(shape.num_elements());
    conv::unpack(weight_dims(shape), weight.storage(), &mut buffer);
    with_layout(buffer, arranged_layout(shape))
}

/// The layout of a weight `[out, in, kernel..]` in memory of `[kernel.., in, out]`.
fn arranged_layout(shape: &Shape) -> Layout {
    let [outputs, inputs] = [shape[0], shape[1]];
    let mut strides = vec![1, outputs as isize];
    let mut stride = outputs * inputs;
    let mut kernel: Vec<isize> = Vec::new();
    for axis in (2..shape.num_dims()).rev() {
        kernel.push(stride as isize);
        stride *= shape[axis];
    }
    strides.extend(kernel.into_iter().rev());
    Layout::new(shape.clone(), strides, 0)
}

/// A weight whose kernel axes can be walked as one.
struct Strided<W> {
    tensor: FlexTensor,
    dims: [usize; 3],
    strides: [usize; 3],
    element: std::marker::PhantomData<W>,
}

impl<W: FlexElement> Strided<W> {
    fn new(tensor: &FlexTensor) -> Self {
        match collapse(tensor.layout()) {
            Some((dims, strides)) => Self {
                tensor: tensor.clone(),
                dims,
                strides,
                element: std::marker::PhantomData,
            },
            None => Self::new(&tensor.to_contiguous()),
        }
    }

    fn weight(&self) -> Weight<'_, W> {
        Weight {
            values: &self.tensor.storage()[self.tensor.layout().start_offset()..],
            dims: self.dims,
            strides: self.strides,
        }
    }

    /// In the order of a forward product; copied only if it does not lie like that.
    fn arranged<R>(&self, use_it: impl FnOnce(&[W]) -> R) -> R {
        match self.weight().arranged() {
            Some(values) => use_it(values),
            None => {
                let mut buffer = Buffer::new(self.dims.iter().product());
                self.weight().arrange(Level::current(), &mut buffer);
                use_it(&buffer)
            }
        }
    }
}

/// Dims and strides as `[out, in, taps]`, if the kernel's axes follow one another in memory.
fn collapse(layout: &Layout) -> Option<([usize; 3], [usize; 3])> {
    let (shape, strides) = (layout.shape(), layout.strides());
    let mut taps = 1;
    let mut stride = None;
    for axis in (2..shape.num_dims()).rev() {
        if shape[axis] == 1 {
            continue;
        }
        let innermost = *stride.get_or_insert(strides[axis]);
        if strides[axis] != innermost * taps as isize {
            return None;
        }
        taps *= shape[axis];
    }
    let stride = stride.unwrap_or(1);
    let strides = [strides[0], strides[1], stride].map(usize::try_from);
    let [Ok(outputs), Ok(inputs), Ok(stride)] = strides else {
        return None;
    };
    Some(([shape[0], shape[1], taps], [outputs, inputs, stride]))
}

/// Calls `use_it` with a weight for a forward product; packed ones only where `takes_packed`.
fn with_weights<T: FlexElement, W: FlexElement>(
    weight: &FlexTensor,
    takes_packed: bool,
    use_it: impl FnOnce(Weights<'_, W>),
) {
    let in_tiles = T::IS_HALF && Level::current().prefers_half();
    if is_packed(weight) && in_tiles && takes_packed {
        return use_it(Weights::Packed(weight.storage()));
    }
    Strided::<W>::new(&unpack(weight.clone())).arranged(|weight| use_it(weight.into()));
}

/// Calls `$body` with the weight's element type bound to `$W`.
macro_rules! with_weight_type {
    ($weight:expr, $W:ident => $body:expr) => {
        match $weight.dtype() {
            DType::BF16 => {
                type $W = bf16;
                $body
            }
            _ => {
                type $W = f32;
                $body
            }
        }
    };
}

/// The convolution of `x` with `weight`, plus what else there is.
pub(super) fn forward<T: FlexElement>(conv: &Conv, shape: Shape, operands: Operands) -> FlexTensor {
    let [x, second, weight, bias, shift, residual] = operands;
    let [x, second, shift, residual] = [x, second, shift, residual].map(|x| x.to_contiguous());
    let bias = optional_floats(&bias);
    let additions = Additions {
        bias: bias.as_deref(),
        shift: present(&shift).then(|| slice::<T>(&shift)),
        residual: present(&residual).then(|| slice::<T>(&residual)),
    };
    let mut y = Buffer::<T>::new(shape.num_elements());
    with_weight_type!(weight, W => {
        with_weights::<T, W>(&weight, true, |weight| {
            let x = [slice::<T>(&x), part::<T>(&second)];
            conv::forward(Level::current(), conv, x, weight, additions, &mut y);
        });
    });
    tensor(y, shape)
}

/// The gradients of a convolution's operands.
pub(super) fn backward<T: FlexElement>(
    conv: &Conv,
    saved: Saved<FlexTensor>,
    gradient: FlexTensor,
    needed: [bool; OPERANDS],
) -> OperandGradients {
    let [x, second, weight, ..] = saved.operands;
    let [x_kind, second_kind, weight_kind, bias_kind, shift_kind, _] = saved.kinds;
    let level = Level::current();
    let dy = slice::<T>(&gradient);
    let mut gradients = OperandGradients::default();
    if let Some(weight) = &weight {
        let [dx, dsecond] = input_gradients::<T>(conv, dy, weight, [x_kind.0, second_kind.0]);
        gradients[0] = needed[0].then_some(dx);
        gradients[1] = needed[1].then_some(dsecond);
    }
    if let (true, Some(x), Some(second)) = (needed[2], x, second) {
        let [x, second] = [x.to_contiguous(), second.to_contiguous()];
        let mut dweight = Buffer::new(weight_kind.0.num_elements());
        let x = [slice::<T>(&x), part::<T>(&second)];
        conv::weight_gradient(level, conv, x, dy, &mut dweight);
        let dweight = with_layout(dweight, arranged_layout(&weight_kind.0));
        gradients[2] = Some(in_type(dweight, weight_kind.1));
    }
    if needed[3] {
        let mut sums = vec![0.0; conv.outputs];
        norm::sum_rows(level, dy, &mut sums);
        gradients[3] = Some(small_tensor(&sums, bias_kind));
    }
    if needed[4] {
        let mut sums = vec![0.0; shift_kind.0.num_elements()];
        let rows = dy.len() / sums.len().max(1);
        norm::sum_segments(level, rows, conv.outputs, dy, &mut sums);
        gradients[4] = Some(small_tensor(&sums, shift_kind));
    }
    gradients[5] = needed[5].then_some(gradient);
    gradients
}

/// A gradient in the type of its parameter.
fn in_type(gradient: FlexTensor, dtype: DType) -> FlexTensor {
    if dtype == gradient.dtype() {
        return gradient;
    }
    let shape = gradient.layout().shape().clone();
    small_tensor(&floats(&gradient), (shape, dtype))
}

/// The gradients of both parts of the input.
fn input_gradients<T: FlexElement>(
    conv: &Conv,
    dy: &[T],
    weight: &FlexTensor,
    shapes: [Shape; 2],
) -> [FlexTensor; 2] {
    let mut dx = conv
        .inputs
        .map(|channels| Buffer::<T>::new(conv.scaled_positions() * channels));
    with_weight_type!(weight, W => {
        let [first, second] = &mut dx;
        Strided::<W>::new(&unpack(weight.clone())).arranged(|weight| {
            conv::input_gradient(Level::current(), conv, dy, weight, [first, second]);
        });
    });
    let [first, second] = dx;
    let [first_shape, second_shape] = shapes;
    [tensor(first, first_shape), tensor(second, second_shape)]
}

/// The gated linear layer; what comes before the gate goes with it if it `saves`.
pub(super) fn geglu<T: FlexElement>(
    conv: &Conv,
    shape: Shape,
    operands: Operands,
    saves: bool,
) -> (FlexTensor, Vec<FlexTensor>) {
    let [x, weight, bias, ..] = operands;
    let x = x.to_contiguous();
    let bias = optional_floats(&bias);
    let hidden = hidden(conv);
    let mut y = Buffer::<T>::new(shape.num_elements());
    let mut halves = saves.then(|| Buffer::<T>::new(hidden.num_elements()));
    let whole_panels = (conv.outputs / 2).is_multiple_of(conv::PACKED_COLUMNS);
    with_weight_type!(weight, W => {
        with_weights::<T, W>(&weight, whole_panels, |weight| {
            let (level, bias, halves) = (Level::current(), bias.as_deref(), halves.as_deref_mut());
            conv::linear_geglu(level, conv, slice::<T>(&x), weight, bias, &mut y, halves);
        });
    });
    let saved = halves.map(|halves| tensor(halves, hidden));
    (tensor(y, shape), saved.into_iter().collect())
}

/// The shape of what comes before the gate.
fn hidden(conv: &Conv) -> Shape {
    Shape::new([conv.batch, conv.outputs])
}

/// The gradients of the gated linear layer's operands.
pub(super) fn geglu_backward<T: FlexElement>(
    conv: &Conv,
    saved: Saved<FlexTensor>,
    gradient: FlexTensor,
    needed: [bool; OPERANDS],
) -> OperandGradients {
    let [x, weight, ..] = saved.operands;
    let [x_kind, weight_kind, bias_kind, absent, ..] = saved.kinds;
    let [h] = &saved.extra[..] else {
        unreachable!("saved by the forward pass");
    };
    let mut dh = Buffer::<T>::new(h.layout().num_elements());
    let (level, inner) = (Level::current(), conv.outputs / 2);
    activation::geglu_backward(level, inner, slice(h), slice(&gradient), &mut dh);
    drop(gradient);
    let nothing = tensor(Buffer::<T>::new(0), Shape::new([0]));
    let [other, more] = [absent.clone(), absent.clone()];
    let saved = Saved {
        operands: [x, Some(nothing), weight, None, None, None],
        kinds: [x_kind, absent, weight_kind, bias_kind, other, more],
        extra: Vec::new(),
    };
    let [x_needed, weight_needed, bias_needed, ..] = needed;
    let needed = [x_needed, false, weight_needed, bias_needed, false, false];
    let [dx, _, dweight, dbias, ..] = backward::<T>(conv, saved, tensor(dh, hidden(conv)), needed);
    [dx, dweight, dbias, None, None, None]
}
