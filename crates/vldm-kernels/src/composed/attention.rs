//! Scaled dot-product attention over tokens.

use burn::tensor::{Tensor, module, ops::AttentionModuleOptions};

use super::half::{narrow, widen};
use crate::flops;
use crate::operands::AttentionMask;

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
    let [n, queries, channels] = q.dims();
    let [_, keys, _] = k.dims();
    let _flops = flops::record(|| flops::attention(n * queries * keys, channels));
    debug_assert!(
        heads > 0 && channels.is_multiple_of(heads),
        "attention: {heads} heads do not divide {channels} channels"
    );
    debug_assert_shape!("k", k, [n, keys, channels]);
    debug_assert_shape!("v", v, [n, keys, channels]);
    if n * queries == 0 {
        return q;
    }
    let dtype = q.dtype();
    let split = |x: Tensor<3>| {
        let [n, tokens, _] = x.dims();
        let x = x.reshape([n, tokens, heads, channels / heads]);
        widen(x).swap_dims(1, 2) // [n, heads, tokens, dim]
    };
    let options = AttentionModuleOptions {
        scale: None,
        softcap: None,
        is_causal: mask == AttentionMask::Causal,
    };
    let y = module::attention(split(q), split(k), split(v), None, None, options);
    narrow(y.swap_dims(1, 2).reshape([n, queries, channels]), dtype)
}
