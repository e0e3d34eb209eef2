//! Attention.

use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;

use super::{FlexElement, OperandGradients, Operands, slice, tensor};
use crate::cpu::attention::{self, AttentionSpec, Inputs, Strides, Tokens, TokensMut};
use crate::cpu::level::Level;
use crate::memory::pool::Buffer;
use crate::operation::{Call, Operation, Saved};

/// The description of an attention, and the strides of queries and of keys.
fn description(call: &Call) -> (&AttentionSpec, [Strides; 2]) {
    let Operation::Attention {
        spec,
        queries,
        keys,
    } = &call.operation
    else {
        unreachable!("the caller matched on an attention");
    };
    (spec, [*queries, *keys])
}

fn inputs<'a, T: FlexElement>(
    [q, k, v]: [&'a FlexTensor; 3],
    [queries, keys]: [Strides; 2],
) -> Inputs<'a, T> {
    let tokens = |tensor, strides| Tokens {
        data: slice(tensor),
        strides,
    };
    Inputs {
        q: tokens(q, queries),
        k: tokens(k, keys),
        v: tokens(v, keys),
    }
}

/// Attention; what the gradient needs goes with it if it `saves`: the output and the logarithms of
/// the softmax's denominators.
pub(super) fn forward<T: FlexElement>(
    call: &Call,
    operands: Operands,
    saves: bool,
) -> (FlexTensor, Vec<FlexTensor>) {
    let (spec, strides) = description(call);
    let [q, k, v, ..] = operands.map(|operand| operand.to_contiguous());
    let mut y = Buffer::<T>::new(call.shape.num_elements());
    let mut sums = saves.then(|| Buffer::<f32>::new(spec.log_sum_exp_len()));
    let to = TokensMut {
        data: &mut y,
        strides: strides[0],
    };
    let inputs = inputs([&q, &k, &v], strides);
    attention::attention(Level::current(), spec, inputs, to, sums.as_deref_mut());
    let y = tensor(y, call.shape.clone());
    let extra = sums.map(|sums| {
        let shape = Shape::new([sums.len()]);
        vec![y.clone(), tensor(sums, shape)]
    });
    (y, extra.unwrap_or_default())
}

/// The gradients of queries, keys and values.
pub(super) fn backward<T: FlexElement>(
    call: &Call,
    saved: Saved<FlexTensor>,
    gradient: FlexTensor,
) -> OperandGradients {
    let (spec, strides) = description(call);
    let [Some(q), Some(k), Some(v), ..] = saved.operands else {
        unreachable!("kept for every gradient");
    };
    let [q, k, v] = [q, k, v].map(|operand| operand.to_contiguous());
    let [q_kind, k_kind, v_kind, ..] = saved.kinds;
    let [output, sums] = &saved.extra[..] else {
        unreachable!("saved by the forward pass");
    };
    let [mut dq, mut dk, mut dv] =
        [&q_kind.0, &k_kind.0, &v_kind.0].map(|shape| Buffer::<T>::new(shape.num_elements()));
    let [queries, keys] = strides;
    let tokens = |data, strides| Tokens { data, strides };
    attention::attention_backward(
        Level::current(),
        spec,
        inputs([&q, &k, &v], strides),
        attention::Saved {
            out: tokens(slice(output), queries),
            log_sum_exp: slice(sums),
            d_out: tokens(slice(&gradient), queries),
        },
        attention::Gradients {
            dq: TokensMut {
                data: &mut dq,
                strides: queries,
            },
            dk: TokensMut {
                data: &mut dk,
                strides: keys,
            },
            dv: TokensMut {
                data: &mut dv,
                strides: keys,
            },
        },
    );
    [
        Some(tensor(dq, q_kind.0)),
        Some(tensor(dk, k_kind.0)),
        Some(tensor(dv, v_kind.0)),
        None,
        None,
        None,
    ]
}
