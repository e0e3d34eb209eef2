//! What an upsampler in pixels makes: the pictures themselves, or what enlarging the
//! low-resolution ones lacks. The residual has no mean to carry through normalised layers and little
//! noise is left on it, so a small network needs few steps for it.
//!
//! # Source
//! Li et al. 2022, "SRDiff" (arXiv:2104.14951), section 3.2: diffusion of the residual.

use burn::tensor::Tensor;

/// What is left of `pixels` when `low`, enlarged, is taken away, times `scale`.
///
/// # Shapes
/// - `pixels`: `[batch, frames, channels, height, width]`
/// - `low`: the same, height and width smaller by one whole factor
/// - returns: shape of `pixels`
pub(crate) fn residual(pixels: Tensor<5>, low: Tensor<5>, scale: f64) -> Tensor<5> {
    let [.., height, width] = pixels.dims();
    (pixels - enlarged(low, [height, width])).mul_scalar(scale)
}

/// The pictures of a [`residual`], with its shapes.
pub(crate) fn with_residual(residual: Tensor<5>, low: Tensor<5>, scale: f64) -> Tensor<5> {
    let [.., height, width] = residual.dims();
    enlarged(low, [height, width]) + residual.div_scalar(scale)
}

/// Bilinear enlargement by whole factors; pixels are areas, and those beyond an edge equal the edge.
fn enlarged(low: Tensor<5>, [height, width]: [usize; 2]) -> Tensor<5> {
    let [batch, frames, channels, h, w] = low.dims();
    let rows = enlarged_rows(low.reshape([batch * frames * channels, h, w]), height / h);
    let columns = enlarged_rows(rows.swap_dims(1, 2), width / w);
    columns
        .swap_dims(1, 2)
        .reshape([batch, frames, channels, height, width])
}

/// Makes `[planes, rows, columns]` taller by a factor.
fn enlarged_rows(x: Tensor<3>, factor: usize) -> Tensor<3> {
    let [planes, rows, columns] = x.dims();
    let edge = |at: usize| x.clone().narrow(1, at, 1);
    let padded = Tensor::cat(vec![edge(0), x.clone(), edge(rows - 1)], 1);
    // Each of the factor's phases lies between two rows of the padded planes.
    let phases = (0..factor).map(|phase| {
        let place = (phase as f64 + 0.5) / factor as f64 + 0.5;
        let (first, share) = (place as usize, place.fract());
        let above = padded.clone().narrow(1, first, rows);
        let below = padded.clone().narrow(1, first + 1, rows);
        above.mul_scalar(1.0 - share) + below.mul_scalar(share)
    });
    Tensor::stack::<4>(phases.collect(), 2).reshape([planes, rows * factor, columns])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn values(x: Tensor<5>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    #[test]
    fn enlarging_is_bilinear() {
        let row = Tensor::<1>::from_floats([0.0, 8.0], &Device::flex()).reshape([1, 1, 1, 1, 2]);
        let large = enlarged(row, [4, 8]);
        assert_eq!(large.dims(), [1, 1, 1, 4, 8]);
        let expected = [0.0, 0.0, 1.0, 3.0, 5.0, 7.0, 8.0, 8.0];
        for row in values(large).chunks(8) {
            assert_eq!(row, expected);
        }
        // By three, a phase falls on the pixels themselves.
        let row = Tensor::<1>::from_floats([0.0, 6.0], &Device::flex()).reshape([1, 1, 1, 2, 1]);
        assert_eq!(
            values(enlarged(row, [6, 1])),
            [0.0, 0.0, 2.0, 4.0, 6.0, 6.0]
        );
    }

    #[test]
    fn a_residual_is_undone() {
        let ramp = |count: usize, shape: [usize; 5]| {
            let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.7).sin()).collect();
            Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape(shape)
        };
        let (pixels, low) = (ramp(96, [1, 2, 1, 8, 6]), ramp(24, [1, 2, 1, 4, 3]));
        let back = with_residual(residual(pixels.clone(), low.clone(), 5.0), low, 5.0);
        let (back, pixels) = (values(back), values(pixels));
        assert!(back.iter().zip(&pixels).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
