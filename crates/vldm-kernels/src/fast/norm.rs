//! Normalisations.

use burn::tensor::{Shape, Tensor};

use super::{agrees, some, takes};
use crate::composed;
use crate::operands::{Activation, Channels, Norm};
use crate::operation::{Call, Operation};

/// Normalises each group of channels over all tokens, then applies `norm` and `activation`.
///
/// The mean is subtracted before squaring, so a large common offset costs no precision.
///
/// # Shapes
/// - `x`: `[n, tokens, channels]`; `groups` divides `channels`
/// - returns: the shape of `x` (both parts of [`Channels::Two`] together)
pub fn group_norm(
    x: impl Into<Channels<3>>,
    norm: Norm,
    groups: usize,
    activation: Activation,
) -> Tensor<3> {
    let x = x.into();
    let shape = x.dims();
    let [n, tokens, channels] = shape;
    let (x, second) = match x {
        Channels::One(x) => (x, None),
        Channels::Two(x, second) => (x, Some(second)),
    };
    let both_taken = takes(&x) && second.as_ref().is_none_or(takes) && agrees(&x, second.as_ref());
    if !both_taken {
        let x = match second {
            Some(second) => Channels::Two(x, second),
            None => Channels::One(x),
        };
        return composed::group_norm(x, norm, groups, activation);
    }
    debug_assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "group_norm: {groups} groups do not divide {channels} channels"
    );
    debug_assert_shape!("norm.weight", norm.weight, [channels]);
    debug_assert_shape!("norm.bias", norm.bias, [channels]);
    let first_channels = x.dims()[2];
    let call = Call {
        operation: Operation::GroupNorm {
            rows: [n, tokens],
            channels: [first_channels, channels - first_channels],
            groups,
            eps: norm.eps as f32,
            activation,
        },
        shape: Shape::from(shape),
    };
    let (device, dtype) = (x.device(), x.dtype());
    let second = second.map(Tensor::into_dispatch);
    let operands = [
        some(x),
        second,
        some(norm.weight),
        some(norm.bias),
        None,
        None,
    ];
    call.apply(&device, dtype, operands)
}

/// Normalises the last axis, then applies `norm`.
///
/// # Shapes
/// - `x`: `[..., channels]`
/// - returns: the shape of `x`
pub fn layer_norm<const D: usize>(x: Tensor<D>, norm: Norm) -> Tensor<D> {
    if !takes(&x) {
        return composed::layer_norm(x, norm);
    }
    let shape = x.dims();
    let channels = shape[D - 1];
    debug_assert_shape!("norm.weight", norm.weight, [channels]);
    debug_assert_shape!("norm.bias", norm.bias, [channels]);
    let call = Call {
        operation: Operation::LayerNorm {
            eps: norm.eps as f32,
        },
        shape: Shape::from(shape),
    };
    let (device, dtype) = (x.device(), x.dtype());
    let operands = [
        some(x),
        some(norm.weight),
        some(norm.bias),
        None,
        None,
        None,
    ];
    call.apply(&device, dtype, operands)
}
