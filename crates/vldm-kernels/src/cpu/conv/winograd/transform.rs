//! The three transforms and those of gradients, of sixteen channels at a time.

use std::ops::Range;

use super::super::super::element::{Element, convert_into};
use super::super::super::shared::Shared;
use super::{IN, LANES, OUT, POINTS};

/// Elements of one channel each.
type Lanes = [f32; LANES];

/// Elements of a tile of `N`×`N`.
type Tile<const N: usize> = [[Lanes; N]; N];

/// Applies a function to one axis, then to the other; `half` is what it is between.
///
/// All channels are the innermost loop, which becomes one vector instruction per operation.
#[inline(always)]
fn both_axes<const A: usize, const B: usize>(
    from: &Tile<A>,
    half: &mut [[Lanes; A]; B],
    to: &mut Tile<B>,
    one_axis: impl Fn([f32; A]) -> [f32; B],
) {
    for column in 0..A {
        for lane in 0..LANES {
            let done = one_axis(std::array::from_fn(|row| from[row][column][lane]));
            for row in 0..B {
                half[row][column][lane] = done[row];
            }
        }
    }
    for (half, to) in half.iter().zip(to) {
        for lane in 0..LANES {
            let done = one_axis(std::array::from_fn(|column| half[column][lane]));
            for column in 0..B {
                to[column][lane] = done[column];
            }
        }
    }
}

/// Copies as many lanes as `to` has. (All of them are a single instruction.)
#[inline(always)]
fn copy_lanes(from: &Lanes, to: &mut [f32]) {
    match to.first_chunk_mut::<LANES>() {
        Some(to) => *to = *from,
        None => to.copy_from_slice(&from[..to.len()]),
    }
}

/// The points at which the polynomials behind the transforms are evaluated are 0, ±`A`, ±`B` and
/// infinity. The usual ±1 and ±2 would save some multiplications and make errors four
/// times as large; with these they are hardly larger than those of direct sums.
const A: f32 = 0.625;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// By what kernels are multiplied at 0, ±`A` and ±`B`.
const AT_ZERO: f32 = 1.0 / (AA * BB);
const AT_A: f32 = 1.0 / (2.0 * AA * (AA - BB));
const AT_B: f32 = 1.0 / (2.0 * BB * (BB - AA));

/// The transform of inputs along one axis, Bᵀd.
#[inline(always)]
fn input_axis(d: [f32; IN]) -> [f32; IN] {
    let [d0, d1, d2, d3, d4, d5] = d;
    [
        AA * BB * d0 - (AA + BB) * d2 + d4,
        (d4 - BB * d2) + A * (d3 - BB * d1),
        (d4 - BB * d2) - A * (d3 - BB * d1),
        (d4 - AA * d2) + B * (d3 - AA * d1),
        (d4 - AA * d2) - B * (d3 - AA * d1),
        AA * BB * d1 - (AA + BB) * d3 + d5,
    ]
}

/// The transform of a kernel along one axis, Gg.
#[inline(always)]
fn kernel_axis(g: [f32; 3]) -> [f32; IN] {
    let [g0, g1, g2] = g;
    [
        AT_ZERO * g0,
        AT_A * (g0 + AA * g2 + A * g1),
        AT_A * (g0 + AA * g2 - A * g1),
        AT_B * (g0 + BB * g2 + B * g1),
        AT_B * (g0 + BB * g2 - B * g1),
        g2,
    ]
}

/// The inverse transform along one axis, Aᵀm.
#[inline(always)]
fn output_axis(m: [f32; IN]) -> [f32; OUT] {
    let [m0, m1, m2, m3, m4, m5] = m;
    [
        m0 + (m1 + m2) + (m3 + m4),
        A * (m1 - m2) + B * (m3 - m4),
        AA * (m1 + m2) + BB * (m3 + m4),
        A * AA * (m1 - m2) + B * BB * (m3 - m4) + m5,
    ]
}

/// The transform of gradients of outputs along one axis, A dy: [`output_axis`] turned.
#[inline(always)]
fn gradient_axis(y: [f32; OUT]) -> [f32; IN] {
    let [y0, y1, y2, y3] = y;
    [
        y0,
        (y0 + AA * y2) + A * (y1 + AA * y3),
        (y0 + AA * y2) - A * (y1 + AA * y3),
        (y0 + BB * y2) + B * (y1 + BB * y3),
        (y0 + BB * y2) - B * (y1 + BB * y3),
        y3,
    ]
}

/// The gradient of a kernel along one axis, Gᵀm: [`kernel_axis`] turned.
#[inline(always)]
fn kernel_gradient_axis(m: [f32; IN]) -> [f32; 3] {
    let [m0, m1, m2, m3, m4, m5] = m;
    [
        AT_ZERO * m0 + AT_A * (m1 + m2) + AT_B * (m3 + m4),
        AT_A * A * (m1 - m2) + AT_B * B * (m3 - m4),
        AT_A * AA * (m1 + m2) + AT_B * BB * (m3 + m4) + m5,
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
        let mut taps: Tile<3> = [[[0.0; LANES]; 3]; 3];
        let mut half = [[[0.0; LANES]; 3]; IN];
        let mut points: Tile<IN> = [[[0.0; LANES]; IN]; IN];
        for start in place.clone().step_by(LANES) {
            let count = LANES.min(place.end - start);
            for (tap, taps) in taps.as_flattened_mut().iter_mut().enumerate() {
                let tap = if reversed { 8 - tap } else { tap };
                convert_into(&weight[tap * plane + start..][..count], &mut taps[..count]);
            }
            both_axes(&taps, &mut half, &mut points, kernel_axis);
            for (point, values) in points.as_flattened().iter().enumerate() {
                let at = point * plane + start;
                // SAFETY: channels are disjoint, and so are the points of one.
                copy_lanes(values, unsafe { to.slice(at..at + count) });
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
        transform_tile::<T, IN>(x, pixels, place, to, input_axis);
    }
}

leveled! {
    /// As [`transform_input`], of the gradient of a tile of outputs.
    pub(super) fn transform_gradient<T: Element>(
        level,
        dy: &[T],
        pixels: &[Option<usize>; OUT * OUT],
        place: [usize; 3],
        to: &Shared<'_, f32>,
    ) {
        transform_tile::<T, OUT>(dy, pixels, place, to, gradient_axis);
    }
}

#[inline(always)]
fn transform_tile<T: Element, const N: usize>(
    x: &[T],
    pixels: &[Option<usize>],
    [channels, start, plane]: [usize; 3],
    to: &Shared<'_, f32>,
    one_axis: impl Fn([f32; N]) -> [f32; IN],
) {
    // Pixels outside stay zero for all channels.
    let mut d: Tile<N> = [[[0.0; LANES]; N]; N];
    let mut half = [[[0.0; LANES]; N]; IN];
    let mut points: Tile<IN> = [[[0.0; LANES]; IN]; IN];
    for first in (0..channels).step_by(LANES) {
        let count = LANES.min(channels - first);
        for (d, pixel) in d.as_flattened_mut().iter_mut().zip(pixels) {
            if let Some(pixel) = pixel {
                let from = &x[pixel * channels + first..][..count];
                match from.first_chunk::<LANES>() {
                    Some(from) => convert_into(from, d),
                    None => convert_into(from, &mut d[..count]),
                }
            }
        }
        both_axes(&d, &mut half, &mut points, &one_axis);
        for (point, values) in points.as_flattened().iter().enumerate() {
            let at = point * plane + start + first;
            // SAFETY: tiles are disjoint, and so are the channels and points of one.
            copy_lanes(values, unsafe { to.slice(at..at + count) });
        }
    }
}

leveled! {
    /// Transforms gradients of the kernels of one input channel back: `place` in each plane of
    /// points and of taps.
    pub(super) fn transform_kernel_gradients(
        level,
        sums: &[f32],
        plane: usize,
        place: Range<usize>,
        to: &Shared<'_, f32>,
    ) {
        let mut points: Tile<IN> = [[[0.0; LANES]; IN]; IN];
        let mut half = [[[0.0; LANES]; IN]; 3];
        let mut taps: Tile<3> = [[[0.0; LANES]; 3]; 3];
        for start in place.clone().step_by(LANES) {
            let count = LANES.min(place.end - start);
            for (point, values) in points.as_flattened_mut().iter_mut().enumerate() {
                convert_into(&sums[point * plane + start..][..count], &mut values[..count]);
            }
            both_axes(&points, &mut half, &mut taps, kernel_gradient_axis);
            for (tap, values) in taps.as_flattened().iter().enumerate() {
                let at = tap * plane + start;
                // SAFETY: channels are disjoint, and so are the taps of one.
                copy_lanes(values, unsafe { to.slice(at..at + count) });
            }
        }
    }
}

leveled! {
    /// Transforms the columns of one tile back; `size` is how many there are, the size of a plane
    /// of points, and the columns of a line of outputs.
    pub(super) fn transform_output(level, from: &[f32], size: [usize; 3], lines: &mut [f32]) {
        let [columns, plane, line] = size;
        let mut m: Tile<IN> = [[[0.0; LANES]; IN]; IN];
        let mut half = [[[0.0; LANES]; IN]; OUT];
        let mut y: Tile<OUT> = [[[0.0; LANES]; OUT]; OUT];
        for first in (0..columns).step_by(LANES) {
            let count = LANES.min(columns - first);
            for (point, m) in m.as_flattened_mut().iter_mut().enumerate() {
                let from = &from[point * plane + first..][..count];
                match from.first_chunk::<LANES>() {
                    Some(from) => *m = *from,
                    None => m[..count].copy_from_slice(from),
                }
            }
            both_axes(&m, &mut half, &mut y, output_axis);
            for (at, values) in y.as_flattened().iter().enumerate() {
                copy_lanes(values, &mut lines[at * line + first..][..count]);
            }
        }
    }
}
