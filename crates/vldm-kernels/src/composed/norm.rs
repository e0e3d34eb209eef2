//! Group and layer normalisation. Statistics are f32 at least, whatever the input's type.

use burn::tensor::{Tensor, activation};

use super::half::{narrow, widen};
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
    let x = x.into().joined();
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
    let x = widen(x);
    let mean = group_mean(x.clone(), groups); // [n, 1, channels]
    let x = x - mean;
    let variance = group_mean(x.clone() * x.clone(), groups);
    let weight = widen(norm.weight).reshape([1, 1, channels]);
    let bias = widen(norm.bias).reshape([1, 1, channels]);
    let scale = variance.add_scalar(norm.eps).sqrt().recip() * weight;
    let y = x * scale + bias;
    let y = match activation {
        Activation::None => y,
        Activation::Silu => activation::silu(y),
    };
    narrow(y, dtype)
}

/// Mean over the tokens and the channels of a group, repeated for each of its channels:
/// `[n, tokens, channels]` to `[n, 1, channels]`.
fn group_mean(x: Tensor<3>, groups: usize) -> Tensor<3> {
    let [n, tokens, channels] = x.dims();
    // Summed in two stages, because one running f32 sum over 100,000 tokens loses five digits.
    let run = (1..=LONGEST_RUN)
        .rev()
        .find(|&run| tokens.is_multiple_of(run))
        .unwrap_or(1);
    let each = channels / groups;
    x.reshape([n, tokens / run, run, channels])
        .sum_dim(2)
        .sum_dim(1)
        .reshape([n, groups, each])
        .mean_dim(2)
        .div_scalar(tokens as f64)
        .expand([n, groups, each])
        .reshape([n, 1, channels])
}

/// The most tokens summed in one stage.
const LONGEST_RUN: usize = 512;

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
