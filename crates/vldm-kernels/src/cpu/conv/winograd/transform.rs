//! The three transforms, of sixteen channels at a time.

use std::ops::Range;

use super::super::super::element::{Element, convert_into};
use super::super::super::shared::Shared;
use super::{IN, LANES, OUT, POINTS};

/// Elements of one channel each.
type Lanes = [f32; LANES];

/// Applies a function of lanes to one axis, then to the other.
#[inline(always)]
fn both_axes<const A: usize, const B: usize>(
    d: &[[Lanes; A]; A],
    one_axis: impl Fn([Lanes; A]) -> [Lanes; B],
) -> [[Lanes; B]; B] {
    let mut half = [[[0.0; LANES]; A]; B];
    for column in 0..A {
        let done = one_axis(std::array::from_fn(|row| d[row][column]));
        for row in 0..B {
            half[row][column] = done[row];
        }
    }
    half.map(one_axis)
}

#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> Lanes {
    std::array::from_fn(f)
}

/// The points at which the polynomials behind the transforms are evaluated are 0, ±`A`, ±`B` and
/// infinity. The usual ±1 and ±2 would save some multiplications and make errors four
/// times as large; with these they are hardly larger than those of direct sums.
const A: f32 = 0.625;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// The transform of inputs along one axis, Bᵀd.
#[inline(always)]
fn input_axis(d: [Lanes; IN]) -> [Lanes; IN] {
    let [d0, d1, d2, d3, d4, d5] = d;
    [
        lanes(|i| AA * BB * d0[i] - (AA + BB) * d2[i] + d4[i]),
        lanes(|i| (d4[i] - BB * d2[i]) + A * (d3[i] - BB * d1[i])),
        lanes(|i| (d4[i] - BB * d2[i]) - A * (d3[i] - BB * d1[i])),
        lanes(|i| (d4[i] - AA * d2[i]) + B * (d3[i] - AA * d1[i])),
        lanes(|i| (d4[i] - AA * d2[i]) - B * (d3[i] - AA * d1[i])),
        lanes(|i| AA * BB * d1[i] - (AA + BB) * d3[i] + d5[i]),
    ]
}

/// The transform of a kernel along one axis, Gg.
#[inline(always)]
fn kernel_axis(g: [Lanes; 3]) -> [Lanes; IN] {
    const AT_ZERO: f32 = 1.0 / (AA * BB);
    const AT_A: f32 = 1.0 / (2.0 * AA * (AA - BB));
    const AT_B: f32 = 1.0 / (2.0 * BB * (BB - AA));
    let [g0, g1, g2] = g;
    [
        lanes(|i| AT_ZERO * g0[i]),
        lanes(|i| AT_A * (g0[i] + AA * g2[i] + A * g1[i])),
        lanes(|i| AT_A * (g0[i] + AA * g2[i] - A * g1[i])),
        lanes(|i| AT_B * (g0[i] + BB * g2[i] + B * g1[i])),
        lanes(|i| AT_B * (g0[i] + BB * g2[i] - B * g1[i])),
        g2,
    ]
}

/// The inverse transform along one axis, Aᵀm.
#[inline(always)]
fn output_axis(m: [Lanes; IN]) -> [Lanes; OUT] {
    let [m0, m1, m2, m3, m4, m5] = m;
    [
        lanes(|i| m0[i] + (m1[i] + m2[i]) + (m3[i] + m4[i])),
        lanes(|i| A * (m1[i] - m2[i]) + B * (m3[i] - m4[i])),
        lanes(|i| AA * (m1[i] + m2[i]) + BB * (m3[i] + m4[i])),
        lanes(|i| A * AA * (m1[i] - m2[i]) + B * BB * (m3[i] - m4[i]) + m5[i]),
    ]
}

leveled! {
    /// Transforms the kernels of one input channel: `place` in each plane of taps and of points.
    pub(super) fn transform_kernels<W: Element>(
        level,
        weight: &[W],
        plane: usize,
        place: Range<usize>,
        reversed: bool,
        to: &Shared<'_, f32>,
    ) {
        for start in place.clone().step_by(LANES) {
            let count = LANES.min(place.end - start);
            let mut taps = [[[0.0; LANES]; 3]; 3];
            for (tap, taps) in taps.as_flattened_mut().iter_mut().enumerate() {
                let tap = if reversed { 8 - tap } else { tap };
                convert_into(&weight[tap * plane + start..][..count], &mut taps[..count]);
            }
            let half: [[Lanes; 3]; IN] = {
                let columns: [[Lanes; IN]; 3] =
                    std::array::from_fn(|x| kernel_axis([taps[0][x], taps[1][x], taps[2][x]]));
                std::array::from_fn(|y| std::array::from_fn(|x| columns[x][y]))
            };
            for (y, row) in half.into_iter().enumerate() {
                for (x, values) in kernel_axis(row).iter().enumerate() {
                    let at = (y * IN + x) * plane + start;
                    // SAFETY: channels are disjoint, and so are the points of one.
                    unsafe { to.slice(at..at + count) }.copy_from_slice(&values[..count]);
                }
            }
        }
    }
}

leveled! {
    /// Transforms the channels of one tile; `place` is how many there are, where they start in a
    /// plane of points, and the size of a plane.
    pub(super) fn transform_input<T: Element>(
        level,
        x: &[T],
        pixels: &[Option<usize>; POINTS],
        place: [usize; 3],
        to: &Shared<'_, f32>,
    ) {
        let [channels, start, plane] = place;
        for first in (0..channels).step_by(LANES) {
            let count = LANES.min(channels - first);
            let mut d = [[[0.0; LANES]; IN]; IN];
            for (d, pixel) in d.as_flattened_mut().iter_mut().zip(pixels) {
                if let Some(pixel) = pixel {
                    let from = &x[pixel * channels + first..][..count];
                    match from.first_chunk::<LANES>() {
                        Some(from) => convert_into(from, d),
                        None => convert_into(from, &mut d[..count]),
                    }
                }
            }
            let d = both_axes(&d, input_axis);
            for (point, values) in d.as_flattened().iter().enumerate() {
                let at = point * plane + start + first;
                // SAFETY: tiles are disjoint, and so are the channels and points of one.
                unsafe { to.slice(at..at + count) }.copy_from_slice(&values[..count]);
            }
        }
    }
}

leveled! {
    /// Transforms the columns of one tile back; `size` is how many there are, the size of a plane
    /// of points, and the columns of a line of outputs.
    pub(super) fn transform_output(level, from: &[f32], size: [usize; 3], lines: &mut [f32]) {
        let [columns, plane, line] = size;
        for first in (0..columns).step_by(LANES) {
            let count = LANES.min(columns - first);
            let mut m = [[[0.0; LANES]; IN]; IN];
            for (point, m) in m.as_flattened_mut().iter_mut().enumerate() {
                let from = &from[point * plane + first..][..count];
                match from.first_chunk::<LANES>() {
                    Some(from) => *m = *from,
                    None => m[..count].copy_from_slice(from),
                }
            }
            let y = both_axes(&m, output_axis);
            for (at, values) in y.as_flattened().iter().enumerate() {
                lines[at * line + first..][..count].copy_from_slice(&values[..count]);
            }
        }
    }
}
