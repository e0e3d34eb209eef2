//! Blend of the spatial and the temporal branch.

use burn::tensor::Tensor;

/// `alpha * spatial + (1 - alpha) * temporal`; `alpha` weighs the **spatial** branch.
///
/// # Shapes
/// - `spatial`, `temporal`, returns: `[batch, frames, ...]`
/// - `alpha`: `[1]`, or `[frames]` for one weight per frame
///
/// # Source
/// Blattmann et al. 2023 (arXiv:2304.08818), section 3.1.
pub fn mix<const D: usize>(spatial: Tensor<D>, temporal: Tensor<D>, alpha: Tensor<1>) -> Tensor<D> {
    let [weights] = alpha.dims();
    let dims = spatial.dims();
    debug_assert!(
        temporal.dims() == dims,
        "mix: spatial is {dims:?}, temporal {:?}",
        temporal.dims()
    );
    debug_assert!(
        weights == 1 || (D > 1 && weights == dims[1]),
        "mix: alpha must have 1 value or one per frame, got {weights} for {dims:?}"
    );
    let mut shape = [1; D];
    if weights != 1 {
        shape[1] = weights;
    }
    // Exactly `spatial` where alpha is 1 or both branches agree.
    let towards_temporal = alpha.reshape(shape).neg().add_scalar(1.0);
    let difference = temporal - spatial.clone();
    spatial + difference * towards_temporal
}

/// `x` plus a row of `shift` per frame, the same for all samples and positions.
///
/// # Shapes
/// - `x`, returns: `[batch, frames, positions, channels]`
/// - `shift`: `[frames, channels]`
pub fn add_per_frame(x: Tensor<4>, shift: Tensor<2>) -> Tensor<4> {
    let [frames, channels] = shift.dims();
    x + shift.reshape([1, frames, 1, channels])
}
