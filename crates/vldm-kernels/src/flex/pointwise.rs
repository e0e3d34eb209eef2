//! Operations that touch each value once: activations, the blend of two branches, upsampling.

use burn::backend::flex::FlexTensor;

use super::{FlexElement, OperandGradients, Operands, floats, slice, small_tensor, tensor};
use crate::cpu::activation;
use crate::cpu::level::Level;
use crate::cpu::mix::{self, Mix};
use crate::cpu::resample::{self, Resize};
use crate::memory::pool::Buffer;
use crate::operation::{Call, OPERANDS, Operation, Saved};

/// The output of a pointwise operation.
pub(super) fn forward<T: FlexElement>(call: &Call, operands: Operands) -> FlexTensor {
    let level = Level::current();
    let [x, other, alpha, ..] = operands;
    let x = x.to_contiguous();
    let mut y = Buffer::<T>::new(call.shape.num_elements());
    match call.operation {
        Operation::Activation(kind) => activation::forward(level, kind, slice(&x), &mut y),
        Operation::Mix {
            dims: [_, frames, row],
        } => {
            let (temporal, alpha) = (other.to_contiguous(), floats(&alpha));
            let spec = Mix {
                frames,
                row,
                alpha: &alpha,
            };
            mix::mix(level, &spec, slice(&x), slice(&temporal), &mut y);
        }
        Operation::Shift { dims, channels } => {
            let shift = other.to_contiguous();
            mix::add_shift(level, dims, channels, slice(&x), slice(&shift), &mut y);
        }
        Operation::Upsample { input, size } => {
            resample::upsample_nearest(&Resize { input, size }, slice::<T>(&x), &mut y);
        }
        _ => unreachable!("the caller matched on a pointwise operation"),
    }
    tensor(y, call.shape.clone())
}

/// The gradients of a pointwise operation's operands.
pub(super) fn backward<T: FlexElement>(
    call: &Call,
    saved: Saved<FlexTensor>,
    gradient: FlexTensor,
    needed: [bool; OPERANDS],
) -> OperandGradients {
    let level = Level::current();
    let [x_kind, other_kind, alpha_kind, ..] = saved.kinds;
    let dy = slice::<T>(&gradient);
    let mut gradients = OperandGradients::default();
    if let Operation::Shift { dims, channels } = call.operation {
        if needed[1] {
            let mut sums = vec![0.0; other_kind.0.num_elements()];
            mix::sum_shifts(level, dims, channels, dy, &mut sums);
            gradients[1] = Some(small_tensor(&sums, other_kind));
        }
        gradients[0] = needed[0].then_some(gradient);
        return gradients;
    }
    let mut dx = Buffer::<T>::new(x_kind.0.num_elements());
    match call.operation {
        Operation::Activation(kind) => {
            let [Some(x), ..] = saved.operands else {
                unreachable!("kept for every gradient");
            };
            activation::backward(level, kind, slice(&x.to_contiguous()), dy, &mut dx);
        }
        Operation::Mix {
            dims: [_, frames, row],
        } => {
            let [Some(spatial), Some(temporal), Some(alpha), ..] = saved.operands else {
                unreachable!("kept for every gradient");
            };
            let (spatial, temporal) = (spatial.to_contiguous(), temporal.to_contiguous());
            let alpha = floats(&alpha);
            let spec = Mix {
                frames,
                row,
                alpha: &alpha,
            };
            let mut dtemporal = Buffer::<T>::new(dy.len());
            let mut dalpha = vec![0.0; alpha.len()];
            let inputs = [slice(&spatial), slice(&temporal)];
            let to = mix::Gradients {
                spatial: &mut dx,
                temporal: &mut dtemporal,
                alpha: &mut dalpha,
            };
            mix::mix_backward(level, &spec, inputs, dy, to);
            gradients[1] = needed[1].then(|| tensor(dtemporal, other_kind.0));
            gradients[2] = needed[2].then(|| small_tensor(&dalpha, alpha_kind));
        }
        Operation::Upsample { input, size } => {
            resample::upsample_nearest_backward(level, &Resize { input, size }, dy, &mut dx);
        }
        _ => unreachable!("the caller matched on a pointwise operation"),
    }
    gradients[0] = needed[0].then(|| tensor(dx, x_kind.0));
    gradients
}
