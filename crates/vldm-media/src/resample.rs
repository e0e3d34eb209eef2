//! Weighted resampling of 8-bit pictures, to the last bit as Pillow does it.
//!
//! Models were trained, and their references compute, on pictures that Pillow resized; where a
//! filter rings, the order of the two passes and the rounding between them are visible. So: rows
//! first, then columns, each pass with weights of 22 fractional bits, rounded and clamped to a
//! byte in between.

use std::ops::Range;

/// A filter's weight at a distance in output pixels, and the distance beyond which it is zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) weight: fn(f64) -> f64,
    pub(crate) support: f64,
}

/// The average of what falls into the new pixel.
pub(crate) const AREA: Kernel = Kernel {
    weight: |x| f64::from(u8::from(x > -0.5 && x <= 0.5)),
    support: 0.5,
};

/// Linear between neighbours.
pub(crate) const BILINEAR: Kernel = Kernel {
    weight: |x| (1.0 - x.abs()).max(0.0),
    support: 1.0,
};

/// Keys' cubic convolution with a = −1/2, also called Catmull-Rom.
pub(crate) const BICUBIC: Kernel = Kernel {
    weight: |x| {
        const A: f64 = -0.5;
        let x = x.abs();
        if x < 1.0 {
            ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
        } else if x < 2.0 {
            (((x - 5.0) * x + 8.0) * x - 4.0) * A
        } else {
            0.0
        }
    },
    support: 2.0,
};

/// The sinc, windowed by its own middle lobe stretched over three.
pub(crate) const LANCZOS: Kernel = Kernel {
    weight: |x| {
        if (-3.0..3.0).contains(&x) {
            sinc(x) * sinc(x / 3.0)
        } else {
            0.0
        }
    },
    support: 3.0,
};

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

const FRACTION_BITS: u32 = 22;

/// The source pixels of one output pixel and their weights.
type Taps = (Range<usize>, Vec<i64>);

/// For each output pixel along one side: shrinking widens the kernel by the factor.
fn taps(from: usize, to: usize, kernel: Kernel) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let widening = scale.max(1.0);
    let support = kernel.support * widening;
    let tap = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weights: Vec<f64> = (first..end)
            .map(|at| (kernel.weight)((at as f64 - centre + 0.5) / widening))
            .collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| (weight / sum * f64::from(1 << FRACTION_BITS)).round() as i64;
        (first..end, weights.iter().map(fixed).collect())
    };
    (0..to).map(tap).collect()
}

/// The weighted sum of bytes at `byte(position)`, rounded and clamped.
fn weigh((range, weights): &Taps, byte: impl Fn(usize) -> u8) -> u8 {
    let half = 1 << (FRACTION_BITS - 1);
    let sum: i64 = range
        .clone()
        .zip(weights)
        .map(|(at, weight)| i64::from(byte(at)) * weight)
        .sum();
    ((sum + half) >> FRACTION_BITS).clamp(0, 255) as u8
}

/// Resamples RGB rows of `from = [width, height]` to `to`.
pub(crate) fn resample(rgb: &[u8], from: [usize; 2], to: [usize; 2], kernel: Kernel) -> Vec<u8> {
    let ([width, height], [new_width, new_height]) = (from, to);
    let rows = if width == new_width {
        rgb.to_vec()
    } else {
        let columns = taps(width, new_width, kernel);
        let mut out = Vec::with_capacity(new_width * height * 3);
        for row in rgb.chunks_exact(width * 3) {
            for tap in &columns {
                out.extend([0, 1, 2].map(|channel| weigh(tap, |x| row[x * 3 + channel])));
            }
        }
        out
    };
    if height == new_height {
        return rows;
    }
    let stride = new_width * 3;
    let mut out = Vec::with_capacity(stride * new_height);
    for tap in taps(height, new_height, kernel) {
        out.extend((0..stride).map(|at| weigh(&tap, |y| rows[y * stride + at])));
    }
    out
}

/// The nearest pixel of `from` for each pixel of `to`.
pub(crate) fn nearest(rgb: &[u8], from: [usize; 2], to: [usize; 2]) -> Vec<u8> {
    let position = |index: usize, from: usize, to: usize| (2 * index + 1) * from / (2 * to);
    let mut out = Vec::with_capacity(to[0] * to[1] * 3);
    for y in 0..to[1] {
        let row = &rgb[position(y, from[1], to[1]) * from[0] * 3..];
        for x in 0..to[0] {
            out.extend_from_slice(&row[position(x, from[0], to[0]) * 3..][..3]);
        }
    }
    out
}
