//! The optimiser's arithmetic.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape, Tensor};

use super::takes;
use crate::composed;
use crate::cpu::level::Level;
use crate::cpu::optim::{self, Average, Buffers};
use crate::operands::{AdamWStep, Ema, Moments};

/// One AdamW step with decoupled weight decay, as PyTorch's `torch.optim.AdamW` does it.
///
/// Returns the new parameter, laid out in memory as the old one; `moments` and the average in
/// `ema` are replaced by their new values. The average sees the new parameter. Nothing is
/// allocated where the tensors have no other owner.
///
/// # Shapes
/// - `parameter`, `gradient`, returns: any, the same
/// - both moments, the average: `[elements]`, in the order in which the parameter lies in memory
///   ([`memory_order`])
///
/// # Source
/// Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: &mut Moments,
    ema: Option<&mut Ema>,
    step: AdamWStep,
) -> Tensor<D> {
    if !on_slices(&parameter) || gradient.dtype() != DType::F32 {
        let dims = parameter.dims();
        let flat = [parameter.shape().num_elements()];
        let (parameter, gradient) = (parameter.reshape(flat), gradient.reshape(flat));
        return composed::adamw(parameter, gradient, moments, ema, step).reshape(dims);
    }
    let mut parameter = dense(primitive(parameter));
    let gradient = laid_out_as(primitive(gradient), &parameter);
    let [mut first, mut second] = [&mut moments.first, &mut moments.second].map(take);
    let mut average = ema.as_ref().map(|ema| primitive(ema.average.clone()));
    let decay = ema.as_ref().map_or(0.0, |ema| ema.decay);
    optim::adamw(
        Level::current(),
        &step,
        Buffers {
            parameter: parameter.storage_mut(),
            gradient: gradient.storage(),
            first: first.storage_mut(),
            second: second.storage_mut(),
            average: average.as_mut().map(|average| Average {
                values: average.storage_mut(),
                decay,
            }),
        },
    );
    moments.first = Tensor::from_primitive::<Flex>(first);
    moments.second = Tensor::from_primitive::<Flex>(second);
    if let (Some(ema), Some(average)) = (ema, average) {
        ema.average = Tensor::from_primitive::<Flex>(average);
    }
    Tensor::from_primitive::<Flex>(parameter)
}

/// The elements of `x` in the order in which they lie in memory: what [`adamw`] keeps of a
/// parameter.
pub fn memory_order<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let elements = [x.shape().num_elements()];
    if !takes(&x) || x.device().is_autodiff() {
        return x.reshape(elements);
    }
    let x = dense(primitive(x));
    let layout = burn::backend::flex::Layout::contiguous(Shape::from(elements));
    Tensor::from_primitive::<Flex>(x.with_layout(layout))
}

/// The elements of `x` in the order in which those of `like` lie in memory.
///
/// # Shapes
/// - `x`, `like`: any, the same
/// - returns: `[elements]`
pub fn memory_order_of<const D: usize>(x: Tensor<D>, like: &Tensor<D>) -> Tensor<1> {
    let elements = [x.shape().num_elements()];
    if !on_slices(&x) || !on_slices(like) {
        return x.reshape(elements);
    }
    let like = dense(primitive(like.clone()));
    let layout = burn::backend::flex::Layout::contiguous(Shape::from(elements));
    Tensor::from_primitive::<Flex>(laid_out_as(primitive(x), &like).with_layout(layout))
}

/// The tensor whose elements, in the order in which those of `like` lie in memory, are `flat`:
/// what [`memory_order_of`] is undone by.
///
/// # Shapes
/// - `flat`: `[elements]`
/// - returns: shape of `like`
pub fn from_memory_order<const D: usize>(flat: Tensor<1>, like: &Tensor<D>) -> Tensor<D> {
    if !on_slices(&flat) || !on_slices(like) {
        return flat.reshape(like.dims());
    }
    let like = dense(primitive(like.clone()));
    Tensor::from_primitive::<Flex>(dense(primitive(flat)).with_layout(like.layout().clone()))
}

/// Whether the tensor's elements can be read where they lie.
fn on_slices<const D: usize>(x: &Tensor<D>) -> bool {
    takes(x) && x.dtype() == DType::F32 && !x.device().is_autodiff()
}

/// Sum of the squares of all elements, in f64.
///
/// The order of additions depends on the number of elements and on how they lie in memory, never
/// on the number of threads.
///
/// # Shapes
/// - `x`: any
pub fn sum_squares<const D: usize>(x: Tensor<D>) -> f64 {
    if on_slices(&x) {
        return optim::sum_squares(Level::current(), dense(primitive(x)).storage());
    }
    let elements = x.shape().num_elements();
    composed::sum_squares(x.reshape([elements]))
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor
        .try_into_primitive::<Flex>()
        .expect("checked to be on this backend")
}

/// A moment without another owner, for the time of a step.
fn take(moment: &mut Tensor<1>) -> FlexTensor {
    let nothing = Tensor::empty([0], (&moment.device(), moment.dtype()));
    dense(primitive(std::mem::replace(moment, nothing)))
}

/// The tensor, with its memory holding its elements and nothing else, in any order.
fn dense(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    let mut axes: Vec<(isize, usize)> = (0..layout.num_dims())
        .map(|axis| (layout.strides()[axis], layout.shape()[axis]))
        .filter(|&(_, size)| size != 1)
        .collect();
    axes.sort_unstable();
    let mut expected = 1;
    for (stride, size) in axes {
        if stride != expected {
            return tensor.to_contiguous();
        }
        expected *= size as isize;
    }
    let fills = tensor.bytes().len() == layout.num_elements() * tensor.dtype().size();
    if fills && layout.start_offset() == 0 {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// `tensor` with its elements in the order of those of `other`.
fn laid_out_as(tensor: FlexTensor, other: &FlexTensor) -> FlexTensor {
    let same = |a: &FlexTensor, b: &FlexTensor| {
        let [a, b] = [a.layout(), b.layout()];
        (0..a.num_dims()).all(|axis| a.shape()[axis] == 1 || a.strides()[axis] == b.strides()[axis])
    };
    let tensor = dense(tensor);
    if same(&tensor, other) {
        return tensor;
    }
    let arranged = crate::flex::arrange(tensor.clone());
    if same(&arranged, other) {
        return arranged;
    }
    let contiguous = tensor.to_contiguous();
    assert!(
        same(&contiguous, other),
        "a parameter is contiguous or arranged"
    );
    contiguous
}
