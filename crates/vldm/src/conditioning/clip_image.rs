//! A picture as the picture encoder of Stable Video Diffusion wants it.
//!
//! Blurred as much as it will shrink, resized without keeping its aspect, and normalised with
//! CLIP's mean and deviation. The cubic may overshoot [−1, 1]; as in the reference, nothing is
//! clamped.
//!
//! # Source
//! diffusers 0.42.1, `pipeline_stable_video_diffusion.py`: `_encode_image` and
//! `_resize_with_antialiasing`, which follow kornia's `resize` and scikit-image's choice of the
//! blur. Differs: sums are f64 here and f32 there; the results agree within 2e-6.

use crate::error::{Error, Result};

/// Mean of the pictures CLIP was trained on, red, green, blue, in [0, 1].
pub const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Standard deviation of the same.
pub const CLIP_DEVIATION: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// The parameter of PyTorch's cubic.
const CUBIC: f64 = -0.75;

/// Prepares a picture for [`ClipVisionEncoder`](crate::text::ClipVisionEncoder).
///
/// `size` is the encoder's image size (224).
///
/// # Shapes
/// - `pixels`: `[3, height, width]`, row-major, in [−1, 1]
/// - returns: `[3, size, size]`, row-major, normalised
///
/// # Errors
/// [`Error::Input`] when the buffer does not have that shape, or a side has fewer than two pixels.
pub fn clip_image(pixels: &[f32], [height, width]: [usize; 2], size: usize) -> Result<Vec<f32>> {
    if height < 2 || width < 2 || size == 0 {
        return Err(Error::Input(format!(
            "a picture of {height}×{width} pixels cannot be resized to {size}×{size} for the \
             picture encoder: give at least 2×2 pixels"
        )));
    }
    let expected = height
        .checked_mul(width)
        .and_then(|area| area.checked_mul(3));
    if expected != Some(pixels.len()) {
        return Err(Error::Input(format!(
            "a picture of 3×{height}×{width} has {} values, expected the product",
            pixels.len()
        )));
    }
    let mut result = Vec::with_capacity(3 * size * size);
    for (channel, plane) in pixels.chunks_exact(height * width).enumerate() {
        let plane = Plane {
            values: plane.to_vec(),
            height,
            width,
        };
        let plane = resize_antialiased(plane, size);
        let (mean, deviation) = (CLIP_MEAN[channel], CLIP_DEVIATION[channel]);
        let normalized = plane
            .values
            .iter()
            .map(|&x| ((f64::from(x) + 1.0) / 2.0 - mean) / deviation);
        result.extend(normalized.map(|x| x as f32));
    }
    Ok(result)
}

/// One channel of a picture, row by row.
struct Plane {
    values: Vec<f32>,
    height: usize,
    width: usize,
}

impl Plane {
    fn transposed(&self) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for x in 0..self.width {
            values.extend(self.values[x..].iter().step_by(self.width));
        }
        Self {
            values,
            height: self.width,
            width: self.height,
        }
    }
}

/// Blurs, then resizes to a square.
fn resize_antialiased(plane: Plane, size: usize) -> Plane {
    let (vertical, horizontal) = (gaussian(plane.height, size), gaussian(plane.width, size));
    let plane = blur_rows(&plane, &horizontal);
    // Columns are rows of the transposed plane.
    let plane = resize_rows(&blur_rows(&plane.transposed(), &vertical), size);
    resize_rows(&plane.transposed(), size)
}

/// The kernel that hides what `to` pixels cannot show of `from`: deviation (from/to − 1)/2, cut at
/// about two deviations, always of odd length.
fn gaussian(from: usize, to: usize) -> Vec<f64> {
    let sigma = ((from as f64 / to as f64 - 1.0) / 2.0).max(0.001);
    let length = (4.0 * sigma).max(3.0) as usize | 1;
    let middle = (length / 2) as f64;
    let weight = |i: usize| (-(i as f64 - middle).powi(2) / (2.0 * sigma * sigma)).exp();
    let weights: Vec<f64> = (0..length).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Convolves each row, mirrored at its ends (the end pixel is not repeated).
fn blur_rows(plane: &Plane, kernel: &[f64]) -> Plane {
    let (width, half) = (plane.width, kernel.len() / 2);
    let mirrored = |i: usize| {
        // `i` counts from `half` pixels before the row.
        let i = half.abs_diff(i);
        if i < width { i } else { 2 * (width - 1) - i }
    };
    let mut values = Vec::with_capacity(plane.values.len());
    for row in plane.values.chunks_exact(width) {
        for x in 0..width {
            let terms = kernel
                .iter()
                .enumerate()
                .map(|(k, w)| w * f64::from(row[mirrored(x + k)]));
            values.push(terms.sum::<f64>() as f32);
        }
    }
    Plane { values, ..*plane }
}

/// Resizes each row to `size` by cubic interpolation, the end pixels falling on each other.
fn resize_rows(plane: &Plane, size: usize) -> Plane {
    let width = plane.width;
    // f32, as in the reference: on a wide picture the rounding of the place can be seen.
    let scale = if size > 1 {
        (width - 1) as f32 / (size - 1) as f32
    } else {
        0.0
    };
    let taps: Vec<_> = (0..size)
        .map(|x| cubic_taps(x as f32 * scale, width))
        .collect();
    let mut values = Vec::with_capacity(plane.height * size);
    for row in plane.values.chunks_exact(width) {
        for tap in &taps {
            let sum: f64 = tap
                .iter()
                .map(|&(i, weight)| weight * f64::from(row[i]))
                .sum();
            values.push(sum as f32);
        }
    }
    Plane {
        values,
        height: plane.height,
        width: size,
    }
}

/// The four pixels around `place` and their weights (Keys 1981); beyond the ends, the end pixel.
fn cubic_taps(place: f32, width: usize) -> [(usize, f64); 4] {
    let before = place.floor();
    let t = f64::from(place - before);
    let near = |x: f64| ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((CUBIC * x - 5.0 * CUBIC) * x + 8.0 * CUBIC) * x - 4.0 * CUBIC;
    let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
    let index = |k: usize| (before as usize + k).saturating_sub(1).min(width - 1);
    std::array::from_fn(|k| (index(k), weights[k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_one_colour_keeps_it() {
        let pixels = vec![0.5; 3 * 7 * 300];
        let result = clip_image(&pixels, [7, 300], 16).unwrap();
        for (channel, plane) in result.chunks(16 * 16).enumerate() {
            let expected = (0.75 - CLIP_MEAN[channel]) / CLIP_DEVIATION[channel];
            assert!(
                plane
                    .iter()
                    .all(|&x| (f64::from(x) - expected).abs() < 1e-6)
            );
        }
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let pixels: Vec<f32> = (0..3 * 8 * 8).map(|i| (i % 7) as f32 / 3.5 - 1.0).collect();
        let result = clip_image(&pixels, [8, 8], 8).unwrap();
        let back = |i: usize| f64::from(result[i]) * CLIP_DEVIATION[i / 64] + CLIP_MEAN[i / 64];
        for (i, &pixel) in pixels.iter().enumerate() {
            assert!((back(i) * 2.0 - 1.0 - f64::from(pixel)).abs() < 1e-6, "{i}");
        }
    }

    #[test]
    fn kernels_are_odd_and_grow_with_the_factor() {
        let lengths = [100, 224, 448, 896, 1024, 2240].map(|from| gaussian(from, 224).len());
        assert_eq!(lengths, [3, 3, 3, 7, 7, 19]);
    }

    #[test]
    fn wrong_shapes_are_errors() {
        for (count, shape) in [(3, [1, 1]), (12, [2, 3]), (0, [usize::MAX, 2])] {
            let error = clip_image(&vec![0.0; count], shape, 224).unwrap_err();
            assert!(matches!(error, Error::Input(_)), "{error}");
        }
    }
}
