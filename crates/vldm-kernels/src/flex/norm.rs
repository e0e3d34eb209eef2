//! Normalisations.

use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;

use super::{FlexElement, OperandGradients, Operands, floats, part, slice, small_tensor, tensor};
use crate::cpu::group_norm::{self, GroupNorm};
use crate::cpu::layer_norm::{self, LayerNorm};
use crate::cpu::level::Level;
use crate::memory::pool::Buffer;
use crate::operation::{Call, Operation, Saved};

/// Calls `body` with the description of a group norm.
fn with_spec<R>(
    call: &Call,
    [weight, bias]: [&FlexTensor; 2],
    body: impl FnOnce(&GroupNorm<'_>) -> R,
) -> R {
    let Operation::GroupNorm {
        rows: [n, tokens],
        channels,
        groups,
        eps,
        activation,
    } = call.operation
    else {
        unreachable!("the caller matched on a group norm");
    };
    body(&GroupNorm {
        n,
        tokens,
        channels,
        groups,
        eps,
        weight: &floats(weight),
        bias: &floats(bias),
        activation,
    })
}

/// Group norm; the statistics go with it if the gradient will ask for them.
pub(super) fn group_norm<T: FlexElement>(
    call: &Call,
    operands: Operands,
    saves: bool,
) -> (FlexTensor, Vec<FlexTensor>) {
    let [x, second, weight, bias, ..] = operands;
    let [x, second] = [x.to_contiguous(), second.to_contiguous()];
    with_spec(call, [&weight, &bias], |spec| {
        let mut y = Buffer::<T>::new(call.shape.num_elements());
        let count = spec.n * spec.groups * 2;
        let mut stats = Buffer::<f32>::new(count);
        let x = [slice::<T>(&x), part::<T>(&second)];
        group_norm::group_norm(Level::current(), spec, x, &mut y, &mut stats);
        let extra = saves.then(|| tensor(stats, Shape::new([count])));
        (tensor(y, call.shape.clone()), extra.into_iter().collect())
    })
}

/// The gradients of a group norm's operands.
pub(super) fn group_norm_backward<T: FlexElement>(
    call: &Call,
    saved: Saved<FlexTensor>,
    gradient: FlexTensor,
) -> OperandGradients {
    let [Some(x), Some(second), Some(weight), Some(bias), ..] = &saved.operands else {
        unreachable!("kept for every gradient");
    };
    let [x, second] = [x.to_contiguous(), second.to_contiguous()];
    let [x_kind, second_kind, weight_kind, bias_kind, ..] = saved.kinds;
    with_spec(call, [weight, bias], |spec| {
        let [mut dx, mut dsecond] = spec
            .channels
            .map(|channels| Buffer::<T>::new(spec.n * spec.tokens * channels));
        let mut dweight = vec![0.0; spec.weight.len()];
        let mut dbias = vec![0.0; spec.bias.len()];
        group_norm::group_norm_backward(
            Level::current(),
            spec,
            group_norm::Saved {
                x: [slice::<T>(&x), part::<T>(&second)],
                stats: slice(&saved.extra[0]),
                dy: slice(&gradient),
            },
            group_norm::Gradients {
                dx: [&mut dx, &mut dsecond],
                dweight: &mut dweight,
                dbias: &mut dbias,
            },
        );
        [
            Some(tensor(dx, x_kind.0)),
            Some(tensor(dsecond, second_kind.0)),
            Some(small_tensor(&dweight, weight_kind)),
            Some(small_tensor(&dbias, bias_kind)),
            None,
            None,
        ]
    })
}

/// Layer norm.
pub(super) fn layer_norm<T: FlexElement>(eps: f32, shape: Shape, operands: Operands) -> FlexTensor {
    let [x, weight, bias, ..] = operands;
    let x = x.to_contiguous();
    let (weight, bias) = (floats(&weight), floats(&bias));
    let spec = LayerNorm {
        eps,
        weight: &weight,
        bias: &bias,
    };
    let mut y = Buffer::<T>::new(shape.num_elements());
    layer_norm::layer_norm(Level::current(), &spec, slice(&x), &mut y);
    tensor(y, shape)
}

/// The gradients of a layer norm's operands.
pub(super) fn layer_norm_backward<T: FlexElement>(
    eps: f32,
    saved: Saved<FlexTensor>,
    gradient: FlexTensor,
) -> OperandGradients {
    let [Some(x), Some(weight), Some(bias), ..] = &saved.operands else {
        unreachable!("kept for every gradient");
    };
    let x = x.to_contiguous();
    let (weight, bias) = (floats(weight), floats(bias));
    let [x_kind, weight_kind, bias_kind, ..] = saved.kinds;
    let spec = LayerNorm {
        eps,
        weight: &weight,
        bias: &bias,
    };
    let mut dx = Buffer::<T>::new(x_kind.0.num_elements());
    let mut dweight = vec![0.0; weight.len()];
    let mut dbias = vec![0.0; bias.len()];
    let gradients = layer_norm::Gradients {
        dx: &mut dx,
        dweight: &mut dweight,
        dbias: &mut dbias,
    };
    layer_norm::layer_norm_backward(
        Level::current(),
        &spec,
        slice(&x),
        slice(&gradient),
        gradients,
    );
    [
        Some(tensor(dx, x_kind.0)),
        Some(small_tensor(&dweight, weight_kind)),
        Some(small_tensor(&dbias, bias_kind)),
        None,
        None,
        None,
    ]
}
