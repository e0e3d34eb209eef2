//! The fast bodies on Burn's CPU backend: from tensors to slices and back.

mod attention;
mod conv;
mod norm;
mod pointwise;

pub(crate) use conv::{arrange, pack, unpack};

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{AllocationProperty, Bytes, DType, Element as BurnElement, Shape, bf16};
use bytemuck::Pod;

use crate::cpu::element::Element;
use crate::memory::pool::Buffer;
use crate::operation::{Call, Differentiable, Kernels, OPERANDS, Operation, Saved};

/// Tensors of the operands.
type Operands = [FlexTensor; OPERANDS];

/// Gradients of the operands.
type OperandGradients = [Option<FlexTensor>; OPERANDS];

/// An element of a tensor on this backend.
trait FlexElement: Element + BurnElement + Pod {}
impl FlexElement for f32 {}
impl FlexElement for bf16 {}

impl Kernels for Flex {
    fn compute(
        call: Call,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        f: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        forward(&call, [a, b, c, d, e, f], false).0
    }
}

impl Differentiable for Flex {
    fn compute_saving(
        call: &Call,
        operands: [FloatTensor<Self>; OPERANDS],
    ) -> (FloatTensor<Self>, Vec<FloatTensor<Self>>) {
        forward(call, operands, true)
    }

    fn gradients(
        call: &Call,
        saved: Saved<FloatTensor<Self>>,
        gradient: FloatTensor<Self>,
        needed: [bool; OPERANDS],
    ) -> [Option<FloatTensor<Self>>; OPERANDS] {
        match gradient.dtype() {
            DType::BF16 => backward::<bf16>(call, saved, gradient, needed),
            _ => backward::<f32>(call, saved, gradient, needed),
        }
    }
}

fn forward(call: &Call, operands: Operands, saves: bool) -> (FlexTensor, Vec<FlexTensor>) {
    match operands[0].dtype() {
        DType::BF16 => forward_in::<bf16>(call, operands, saves),
        _ => forward_in::<f32>(call, operands, saves),
    }
}

fn forward_in<T: FlexElement>(
    call: &Call,
    operands: Operands,
    saves: bool,
) -> (FlexTensor, Vec<FlexTensor>) {
    let shape = call.shape.clone();
    match &call.operation {
        Operation::Conv(conv) => (conv::forward::<T>(conv, shape, operands), Vec::new()),
        Operation::LinearGeglu(conv) => conv::geglu::<T>(conv, shape, operands, saves),
        Operation::GroupNorm { .. } => norm::group_norm::<T>(call, operands, saves),
        Operation::LayerNorm { eps } => (norm::layer_norm::<T>(*eps, shape, operands), Vec::new()),
        Operation::Attention { .. } => attention::forward::<T>(call, operands, saves),
        Operation::Activation(_)
        | Operation::Mix { .. }
        | Operation::Shift { .. }
        | Operation::Upsample { .. } => (pointwise::forward::<T>(call, operands), Vec::new()),
    }
}

fn backward<T: FlexElement>(
    call: &Call,
    saved: Saved<FlexTensor>,
    gradient: FlexTensor,
    needed: [bool; OPERANDS],
) -> OperandGradients {
    let gradient = gradient.to_contiguous();
    match &call.operation {
        Operation::Conv(conv) => conv::backward::<T>(conv, saved, gradient, needed),
        Operation::LinearGeglu(conv) => conv::geglu_backward::<T>(conv, saved, gradient, needed),
        Operation::GroupNorm { .. } => norm::group_norm_backward::<T>(call, saved, gradient),
        Operation::LayerNorm { eps } => norm::layer_norm_backward::<T>(*eps, saved, gradient),
        Operation::Attention { .. } => attention::backward::<T>(call, saved, gradient),
        Operation::Activation(_)
        | Operation::Mix { .. }
        | Operation::Shift { .. }
        | Operation::Upsample { .. } => pointwise::backward::<T>(call, saved, gradient, needed),
    }
}

/// The elements of a tensor without gaps, in order.
fn slice<T: FlexElement>(tensor: &FlexTensor) -> &[T] {
    tensor
        .as_slice()
        .expect("a tensor made contiguous, of the operation's type")
}

/// Whether an operand is there.
fn present(tensor: &FlexTensor) -> bool {
    tensor.layout().num_elements() > 0
}

/// The elements of the second part of an input, which may be absent.
fn part<T: FlexElement>(tensor: &FlexTensor) -> &[T] {
    if present(tensor) { slice(tensor) } else { &[] }
}

/// The values of a small operand in f32.
fn floats(tensor: &FlexTensor) -> Vec<f32> {
    let tensor = tensor.to_contiguous();
    match tensor.dtype() {
        DType::BF16 => slice::<bf16>(&tensor).iter().map(|x| x.widen()).collect(),
        _ => slice::<f32>(&tensor).to_vec(),
    }
}

/// The values of an operand in f32, if it is there.
fn optional_floats(tensor: &FlexTensor) -> Option<Vec<f32>> {
    present(tensor).then(|| floats(tensor))
}

/// A tensor of `shape` that owns `buffer`.
fn tensor<T: FlexElement>(buffer: Buffer<T>, shape: Shape) -> FlexTensor {
    with_layout(buffer, Layout::contiguous(shape))
}

fn with_layout<T: FlexElement>(buffer: Buffer<T>, layout: Layout) -> FlexTensor {
    let bytes = Bytes::from_shared(buffer.into_bytes(), AllocationProperty::Native);
    FlexTensor::new(bytes, layout, T::dtype())
}

/// A tensor of the given shape and type with these few values.
fn small_tensor(values: &[f32], (shape, dtype): (Shape, DType)) -> FlexTensor {
    fn convert<T: FlexElement>(values: &[f32], shape: Shape) -> FlexTensor {
        let mut buffer = Buffer::<T>::new(values.len());
        for (to, value) in buffer.iter_mut().zip(values) {
            *to = T::narrow(*value);
        }
        tensor(buffer, shape)
    }
    match dtype {
        DType::BF16 => convert::<bf16>(values, shape),
        _ => convert::<f32>(values, shape),
    }
}
