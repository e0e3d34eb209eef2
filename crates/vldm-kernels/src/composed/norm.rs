//! Group and layer normalisation. Statistics are f32 at least, whatever the input's type.

use burn::tensor::{Tensor, activation};

use super::{
    conv::concat,
    half::{narrow, widen},
};
use crate::operands::{Activation, Channels, Norm};

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
    let x = concat(x.into());
    let dtype = x.dtype();
    let [n, tokens, channels] = x.dims();
    debug_assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "group_norm: {groups} groups do not divide {channels} channels"
    );
    debug_assert_shape!("norm.weight", norm.weight, [channels]);
    debug_assert_shape!("norm.bias", norm.bias, [channels]);
    if n * tokens == 0 {
        return x;
    }
    let x = widen(x).reshape([n, tokens, groups, channels / groups]);
    let mean = x.clone().mean_dim(1).mean_dim(3); // [n, 1, groups, 1]
    let x = x - mean;
    let variance = (x.clone() * x.clone()).mean_dim(1).mean_dim(3);
    let scale = variance.add_scalar(norm.eps).sqrt().recip();
    let weight = widen(norm.weight).reshape([1, 1, groups, channels / groups]);
    let bias = widen(norm.bias).reshape([1, 1, channels]);
    let y = (x * (scale * weight)).reshape([n, tokens, channels]) + bias;
    let y = match activation {
        Activation::None => y,
        Activation::Silu => activation::silu(y),
    };
    narrow(y, dtype)
}

/// Normalises the last axis, then applies `norm`.
///
/// # Shapes
/// - `x`: `[..., channels]`
/// - returns: the shape of `x`
pub fn layer_norm<const D: usize>(x: Tensor<D>, norm: Norm) -> Tensor<D> {
    let dims = x.dims();
    let channels = dims[D - 1];
    debug_assert_shape!("norm.weight", norm.weight, [channels]);
    debug_assert_shape!("norm.bias", norm.bias, [channels]);
    if dims.contains(&0) {
        return x;
    }
    let dtype = x.dtype();
    let x = widen(x);
    let (weight, bias) = (widen(norm.weight), widen(norm.bias));
    let y = burn::tensor::module::layer_norm(x, weight, Some(bias), norm.eps);
    narrow(y, dtype)
}
