//! Attention.

use burn::tensor::{Shape, Tensor};

use super::{agrees, some, takes};
use crate::composed;
use crate::cpu::attention::{AttentionSpec, Mask, Strides};
use crate::operands::AttentionMask;
use crate::operation::{Call, Operation};

/// Multi-head attention, scale `1 / sqrt(dim)`.
///
/// # Shapes
/// - `q`: `[n, queries, heads * dim]`
/// - `k`, `v`: `[n, keys, heads * dim]`
/// - returns: the shape of `q`
pub fn attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    heads: usize,
    mask: AttentionMask,
) -> Tensor<3> {
    if !accepts([&q, &k, &v]) {
        return composed::attention(q, k, v, heads, mask);
    }
    let [n, queries, channels] = q.dims();
    let [_, keys, _] = k.dims();
    debug_assert!(
        heads > 0 && channels.is_multiple_of(heads),
        "attention: {heads} heads do not divide {channels} channels"
    );
    debug_assert_shape!("k", k, [n, keys, channels]);
    debug_assert_shape!("v", v, [n, keys, channels]);
    let spec = AttentionSpec {
        sequences: [n, 1],
        heads,
        dim: channels / heads,
        queries,
        keys,
        mask: match mask {
            AttentionMask::None => Mask::None,
            AttentionMask::Causal => Mask::Causal,
        },
    };
    let strides = |tokens: usize| Strides {
        sequences: [tokens * channels, 0],
        token: channels,
    };
    run(
        spec,
        [strides(queries), strides(keys)],
        [n, queries, channels],
        [q, k, v],
    )
}

/// Every position attends to itself in the frames at most `max_distance` away (all frames when
/// it is `None`), scale `1 / sqrt(dim)`.
///
/// # Shapes
/// - `q`, `k`, `v`, returns: `[batch, frames, positions, heads * dim]`
///
/// # Source
/// Blattmann et al. 2023 (arXiv:2304.08818), section 3.1.
pub fn temporal_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    heads: usize,
    max_distance: Option<usize>,
) -> Tensor<4> {
    if !accepts([&q, &k, &v]) {
        return composed::temporal_attention(q, k, v, heads, max_distance);
    }
    let shape = q.dims();
    let [batch, frames, positions, channels] = shape;
    debug_assert!(
        heads > 0 && channels.is_multiple_of(heads),
        "temporal_attention: {heads} heads do not divide {channels} channels"
    );
    debug_assert_shape!("k", k, [batch, frames, positions, channels]);
    debug_assert_shape!("v", v, [batch, frames, positions, channels]);
    let spec = AttentionSpec {
        sequences: [batch, positions],
        heads,
        dim: channels / heads,
        queries: frames,
        keys: frames,
        mask: max_distance.map_or(Mask::None, Mask::Distance),
    };
    let strides = Strides {
        sequences: [frames * positions * channels, channels],
        token: positions * channels,
    };
    run(spec, [strides; 2], shape, [q, k, v])
}

fn accepts<const D: usize>([q, k, v]: [&Tensor<D>; 3]) -> bool {
    takes(q) && takes(k) && takes(v) && agrees(q, Some(k)) && agrees(q, Some(v))
}

fn run<const D: usize>(
    spec: AttentionSpec,
    [queries, keys]: [Strides; 2],
    shape: [usize; D],
    [q, k, v]: [Tensor<D>; 3],
) -> Tensor<D> {
    let (device, dtype) = (q.device(), q.dtype());
    let call = Call {
        operation: Operation::Attention {
            spec,
            queries,
            keys,
        },
        shape: Shape::from(shape),
    };
    call.apply(
        &device,
        dtype,
        [some(q), some(k), some(v), None, None, None],
    )
}
