//! Attention over the frames of a clip, one position at a time.

use burn::tensor::{Bool, Device, Tensor, TensorData, activation};

use super::half::{narrow, widen};
use crate::flops;

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
    let dims = q.dims();
    let [b, f, p, channels] = dims;
    let _flops = flops::record(|| flops::attention(b * p * f * f, channels));
    debug_assert!(
        heads > 0 && channels.is_multiple_of(heads),
        "temporal_attention: {heads} heads do not divide {channels} channels"
    );
    debug_assert_shape!("k", k, [b, f, p, channels]);
    debug_assert_shape!("v", v, [b, f, p, channels]);
    if dims.contains(&0) {
        return q;
    }
    let (dtype, device) = (q.dtype(), q.device());
    let dim = channels / heads;
    let split = |x: Tensor<4>| {
        let x = widen(x).reshape([b, f, p * heads, dim]);
        x.swap_dims(1, 2) // [b, p * heads, f, dim]
    };
    let scale = 1.0 / (dim as f64).sqrt();
    let scores = split(q).mul_scalar(scale).matmul(split(k).transpose()); // [b, p * heads, f, f]
    let scores = match max_distance {
        Some(distance) if distance + 1 < f => {
            let mask = too_far(f, distance, &device).expand([b, p * heads, f, f]);
            scores.mask_fill(mask, f32::NEG_INFINITY)
        }
        _ => scores,
    };
    let y = activation::softmax(scores, 3).matmul(split(v)); // [b, p * heads, f, dim]
    narrow(y.swap_dims(1, 2).reshape(dims), dtype)
}

/// `[1, 1, frames, frames]`, true where two frames are more than `distance` apart.
fn too_far(frames: usize, distance: usize, device: &Device) -> Tensor<4, Bool> {
    let far = (0..frames * frames)
        .map(|at| (at / frames).abs_diff(at % frames) > distance)
        .collect();
    Tensor::from_data(TensorData::new(far, [1, 1, frames, frames]), device)
}
