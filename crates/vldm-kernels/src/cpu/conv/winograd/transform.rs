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

/// The transform of inputs along one axis, Bᵀd.
#[inline(always)]
fn input_axis(d: [Lanes; IN]) -> [Lanes; IN] {
    let [a, b, c, d, e, f] = d;
    [
        lanes(|i| 4.0 * a[i] - 5.0 * c[i] + e[i]),
        lanes(|i| (e[i] - 4.0 * c[i]) + (d[i] - 4.0 * b[i])),
        lanes(|i| (e[i] - 4.0 * c[i]) - (d[i] - 4.0 * b[i])),
        lanes(|i| (e[i] - c[i]) + 2.0 * (d[i] - b[i])),
        lanes(|i| (e[i] - c[i]) - 2.0 * (d[i] - b[i])),
        lanes(|i| 4.0 * b[i] - 5.0 * d[i] + f[i]),
    ]
}

/// The transform of a kernel along one axis, Gg.
#[inline(always)]
fn kernel_axis(g: [Lanes; 3]) -> [Lanes; IN] {
    let [a, b, c] = g;
    [
        lanes(|i| a[i] / 4.0),
        lanes(|i| -(a[i] + c[i] + b[i]) / 6.0),
        lanes(|i| -(a[i] + c[i] - b[i]) / 6.0),
        lanes(|i| (a[i] + 4.0 * c[i] + 2.0 * b[i]) / 24.0),
        lanes(|i| (a[i] + 4.0 * c[i] - 2.0 * b[i]) / 24.0),
        c,
    ]
}

/// The inverse transform along one axis, Aᵀm.
#[inline(always)]
fn output_axis(m: [Lanes; IN]) -> [Lanes; OUT] {
    let [a, b, c, d, e, f] = m;
    [
        lanes(|i| a[i] + (b[i] + c[i]) + (d[i] + e[i])),
        lanes(|i| (b[i] - c[i]) + 2.0 * (d[i] - e[i])),
        lanes(|i| (b[i] + c[i]) + 4.0 * (d[i] + e[i])),
        lanes(|i| (b[i] - c[i]) + 8.0 * (d[i] - e[i]) + f[i]),
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
