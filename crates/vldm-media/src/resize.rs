//! Other sizes and shapes of a frame.

use crate::error::{Error, Result};
use crate::frame::Frame;

/// How pixels are weighed when a frame changes its size. All but `Nearest` widen with the factor
/// when shrinking, so that nothing flickers.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The nearest pixel: hard edges, for labels and pixel art.
    Nearest,
    /// The average of what falls into the new pixel.
    Area,
    /// Linear between neighbours.
    Bilinear,
    /// Catmull-Rom: sharp, hardly rings.
    #[default]
    Bicubic,
    /// Three lobes of a windowed sinc: sharpest, may ring at edges.
    Lanczos,
}

/// The frame at another size, stretched if the shape differs.
///
/// Pixels are areas, aligned at the edges of the frame, as in Pillow and most of machine learning.
/// Filters work on the stored (gamma-encoded) values, as those do too.
///
/// # Errors
/// [`Error::Input`] when a side is zero.
pub fn resize(frame: &Frame, width: u32, height: u32, filter: Filter) -> Result<Frame> {
    if frame.size() == (width, height) {
        return Ok(frame.clone());
    }
    if width == 0 || height == 0 {
        return Err(Error::Input(format!(
            "cannot resize {frame:?} to {width}x{height}: both sides must be at least 1"
        )));
    }
    let columns = taps(frame.width(), width, filter);
    let rows = taps(frame.height(), height, filter);
    let stride = width as usize * 3;
    let narrow: Vec<Vec<f32>> = (0..frame.height())
        .map(|y| across(frame.row(y), &columns))
        .collect();
    let mut rgb = Vec::with_capacity(stride * height as usize);
    let mut sum = vec![0.0; stride];
    for tap in &rows {
        sum.fill(0.0);
        for (row, weight) in narrow[tap.first..].iter().zip(&tap.weights) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += weight * value;
            }
        }
        rgb.extend(
            sum.iter()
                .map(|value| (value + 0.5).clamp(0.0, 255.0) as u8),
        );
    }
    Frame::new(width, height, rgb)
}

/// What goes into one new pixel: weights that sum to 1, from pixel `first` on.
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

/// One row at its new width.
fn across(row: &[u8], taps: &[Tap]) -> Vec<f32> {
    let pixels = row.as_chunks::<3>().0;
    let mut out = Vec::with_capacity(taps.len() * 3);
    for tap in taps {
        let mut sum = [0.0; 3];
        for (pixel, weight) in pixels[tap.first..].iter().zip(&tap.weights) {
            for c in 0..3 {
                sum[c] += weight * f32::from(pixel[c]);
            }
        }
        out.extend(sum);
    }
    out
}

fn taps(from: u32, to: u32, filter: Filter) -> Vec<Tap> {
    let scale = f64::from(from) / f64::from(to);
    // Shrinking widens the filter, so that every old pixel counts.
    let wide = scale.max(1.0);
    (0..to)
        .map(|i| {
            let center = (f64::from(i) + 0.5) * scale;
            if filter == Filter::Nearest {
                let first = (center as usize).min(from as usize - 1);
                return Tap {
                    first,
                    weights: vec![1.0],
                };
            }
            let radius = filter.radius() * wide;
            let first = (center - radius).floor().max(0.0) as usize;
            let last = (center + radius).ceil().min(f64::from(from)) as usize;
            let weights = (first..last).map(|j| filter.weight(j as f64 - center, wide));
            let weights: Vec<f64> = weights.collect();
            let sum: f64 = weights.iter().sum();
            Tap {
                first,
                weights: weights.iter().map(|weight| (weight / sum) as f32).collect(),
            }
        })
        .collect()
}

impl Filter {
    /// How far it reaches from the middle, in pixels, when it is not widened.
    fn radius(self) -> f64 {
        match self {
            Self::Nearest | Self::Area => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight of the pixel whose left edge lies `left` to the right of the middle.
    fn weight(self, left: f64, wide: f64) -> f64 {
        let x = ((left + 0.5) / wide).abs();
        match self {
            // The part of the pixel that is covered.
            Self::Nearest | Self::Area => {
                ((left + 1.0).min(wide / 2.0) - left.max(-wide / 2.0)).max(0.0)
            }
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
            Self::Bicubic | Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

/// The largest part of the frame, from its middle, whose sides are as `width` to `height`.
///
/// # Errors
/// [`Error::Input`] when `width` or `height` is zero.
pub fn crop_to_aspect(frame: &Frame, width: u32, height: u32) -> Result<Frame> {
    if width == 0 || height == 0 {
        return Err(Error::Input(format!(
            "no frame has the shape {width}:{height}"
        )));
    }
    let (w, h) = (u64::from(frame.width()), u64::from(frame.height()));
    let (aspect_w, aspect_h) = (u64::from(width), u64::from(height));
    let round = |num: u64, den: u64| ((num + den / 2) / den).max(1);
    let (new_w, new_h) = if w * aspect_h > h * aspect_w {
        (round(h * aspect_w, aspect_h).min(w), h)
    } else {
        (w, round(w * aspect_h, aspect_w).min(h))
    };
    let (left, top) = (((w - new_w) / 2) as usize, ((h - new_h) / 2) as u32);
    let mut rgb = Vec::with_capacity((new_w * new_h * 3) as usize);
    for y in top..top + new_h as u32 {
        rgb.extend_from_slice(&frame.row(y)[left * 3..][..new_w as usize * 3]);
    }
    Frame::new(new_w as u32, new_h as u32, rgb)
}

/// Crops to the shape of `width` by `height` around the middle, then resizes to it: fills the new
/// frame and distorts nothing.
///
/// # Errors
/// [`Error::Input`] when a side is zero.
pub fn resize_to_fill(frame: &Frame, width: u32, height: u32, filter: Filter) -> Result<Frame> {
    resize(
        &crop_to_aspect(frame, width, height)?,
        width,
        height,
        filter,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: [Filter; 5] = [
        Filter::Nearest,
        Filter::Area,
        Filter::Bilinear,
        Filter::Bicubic,
        Filter::Lanczos,
    ];

    #[test]
    fn one_colour_stays_one_colour() {
        let frame = Frame::filled(17, 9, [10, 128, 250]).unwrap();
        for filter in FILTERS {
            for (width, height) in [(1, 1), (40, 3), (17, 9), (5, 31)] {
                let resized = resize(&frame, width, height, filter).unwrap();
                assert_eq!(
                    resized,
                    Frame::filled(width, height, [10, 128, 250]).unwrap()
                );
            }
        }
        assert!(resize(&frame, 0, 4, Filter::Area).is_err());
    }

    #[test]
    fn area_is_the_average() {
        let frame = Frame::from_fn(4, 2, |x, y| [(x * 10 + y * 100) as u8; 3]).unwrap();
        let half = resize(&frame, 2, 1, Filter::Area).unwrap();
        assert_eq!(half.rgb(), [55, 55, 55, 75, 75, 75]);
    }

    #[test]
    fn fine_stripes_shrink_to_grey() {
        let stripes = Frame::from_fn(256, 8, |x, _| [(x % 2 * 255) as u8; 3]).unwrap();
        for filter in &FILTERS[1..] {
            let small = resize(&stripes, 16, 8, *filter).unwrap();
            assert!(
                small.rgb().iter().all(|byte| byte.abs_diff(128) < 12),
                "{filter:?}"
            );
        }
    }

    /// Against numbers of Pillow 13, `Image.resize` on one row; it rounds twice, so by one level.
    #[test]
    fn agrees_with_pillow() {
        let row = [0u8, 40, 250, 90, 10, 200, 130, 70];
        let frame = Frame::from_fn(8, 1, |x, _| [row[x as usize]; 3]).unwrap();
        let check = |width, filter, expected: &[u8]| {
            let resized = resize(&frame, width, 1, filter).unwrap();
            let levels: Vec<_> = resized.rgb().iter().step_by(3).copied().collect();
            let close = levels
                .iter()
                .zip(expected)
                .all(|(a, b)| a.abs_diff(*b) <= 1);
            assert!(
                close && levels.len() == expected.len(),
                "{filter:?}: {levels:?}"
            );
        };
        check(4, Filter::Area, &[20, 170, 105, 100]);
        check(4, Filter::Bilinear, &[53, 134, 106, 114]);
        check(5, Filter::Bilinear, &[16, 166, 65, 147, 95]);
        check(
            12,
            Filter::Bilinear,
            &[0, 20, 75, 215, 170, 77, 23, 105, 188, 142, 100, 70],
        );
        check(4, Filter::Bicubic, &[45, 143, 103, 116]);
        check(5, Filter::Bicubic, &[11, 179, 56, 154, 95]);
        check(
            12,
            Filter::Bicubic,
            &[0, 6, 69, 234, 188, 69, 7, 104, 203, 144, 94, 66],
        );
        check(4, Filter::Lanczos, &[52, 140, 100, 123]);
        check(5, Filter::Lanczos, &[5, 185, 57, 152, 97]);
        check(
            12,
            Filter::Lanczos,
            &[2, 0, 78, 236, 206, 54, 0, 106, 211, 154, 86, 66],
        );
    }

    #[test]
    fn crops_keep_the_middle() {
        let check = |size: (u32, u32), aspect: (u32, u32), expected: (u32, u32)| {
            let frame = Frame::from_fn(size.0, size.1, |x, y| [x as u8, y as u8, 0]).unwrap();
            let cropped = crop_to_aspect(&frame, aspect.0, aspect.1).unwrap();
            assert_eq!(cropped.size(), expected);
            let corner = [
                ((size.0 - expected.0) / 2) as u8,
                ((size.1 - expected.1) / 2) as u8,
                0,
            ];
            assert_eq!(cropped.pixel(0, 0), corner);
        };
        check((16, 9), (1, 1), (9, 9));
        check((9, 16), (1, 1), (9, 9));
        check((100, 50), (2, 1), (100, 50));
        check((100, 50), (16, 9), (89, 50));
        check((3, 200), (1000, 1), (3, 1));
        let filled = resize_to_fill(
            &Frame::filled(30, 10, [1; 3]).unwrap(),
            8,
            8,
            Filter::Bicubic,
        );
        assert_eq!(filled.unwrap().size(), (8, 8));
        assert!(crop_to_aspect(&Frame::filled(3, 3, [1; 3]).unwrap(), 0, 1).is_err());
    }
}
