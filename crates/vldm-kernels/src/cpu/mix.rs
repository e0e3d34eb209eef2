//! Weighted and plain sums of two tensors.

use rayon::prelude::*;

use super::element::Element;
use super::level::Level;
use super::math::madd;
use super::norm::{GRAIN, sum_segments};

#[cfg(test)]
mod tests;

/// `y = a + b`.
///
/// # Shapes
/// - `a`, `b`, `y`: the same number of elements
pub fn add<T: Element>(level: Level, a: &[T], b: &[T], y: &mut [T]) {
    debug_assert_eq!(a.len(), y.len(), "add: a and y");
    debug_assert_eq!(b.len(), y.len(), "add: b and y");
    y.par_chunks_mut(GRAIN)
        .zip(a.par_chunks(GRAIN))
        .zip(b.par_chunks(GRAIN))
        .for_each(|((y, a), b)| sums(level, a, b, y));
}

leveled! {
    fn sums<T: Element>(level, a: &[T], b: &[T], y: &mut [T]) {
        for ((a, b), y) in a.iter().zip(b).zip(y) {
            *y = T::narrow(a.widen() + b.widen());
        }
    }
}

/// Weights of a blend of `[batch, frames, row]`.
#[derive(Debug, Clone, Copy)]
pub struct Mix<'a> {
    /// Frames of a clip.
    pub frames: usize,
    /// Elements of a frame.
    pub row: usize,
    /// Weight of the **spatial** branch: one, or one per frame.
    pub alpha: &'a [f32],
}

/// What the gradient writes.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// Of the spatial branch, `[batch, frames, row]`.
    pub spatial: &'a mut [T],
    /// Of the temporal branch, `[batch, frames, row]`.
    pub temporal: &'a mut [T],
    /// Of the weights, as many as there are.
    pub alpha: &'a mut [f32],
}

impl Mix<'_> {
    /// Elements in a row that have one weight.
    fn same(&self, elements: usize) -> usize {
        debug_assert!(
            self.alpha.len() == 1 || self.alpha.len() == self.frames,
            "mix: alpha must have 1 value or one per frame, got {} for {} frames",
            self.alpha.len(),
            self.frames
        );
        debug_assert!(
            elements == 0 || elements.is_multiple_of(self.frames * self.row),
            "mix: {elements} values are no clips of {} frames of {}",
            self.frames,
            self.row
        );
        match self.alpha {
            [_] => self.frames * self.row,
            _ => self.row,
        }
    }

    /// Weight of the temporal branch in one row.
    fn towards_temporal(&self, row: usize) -> f32 {
        1.0 - self.alpha[row % self.alpha.len()]
    }
}

/// `alpha * spatial + (1 - alpha) * temporal`, exactly `spatial` where alpha is 1 or both agree.
///
/// # Shapes
/// - `spatial`, `temporal`, `y`: `[batch, frames, row]`
///
/// # Source
/// Blattmann et al. 2023 (arXiv:2304.08818), section 3.1.
pub fn mix<T: Element>(level: Level, spec: &Mix<'_>, spatial: &[T], temporal: &[T], y: &mut [T]) {
    let row = spec.same(y.len());
    debug_assert_eq!(spatial.len(), y.len(), "mix: spatial and y");
    debug_assert_eq!(temporal.len(), y.len(), "mix: temporal and y");
    if y.is_empty() {
        return;
    }
    y.par_chunks_mut(row)
        .zip(spatial.par_chunks(row))
        .zip(temporal.par_chunks(row))
        .with_min_len(GRAIN.div_ceil(row))
        .enumerate()
        .for_each(|(i, ((y, spatial), temporal))| {
            let towards = spec.towards_temporal(i);
            y.par_chunks_mut(GRAIN)
                .zip(spatial.par_chunks(GRAIN))
                .zip(temporal.par_chunks(GRAIN))
                .for_each(|((y, spatial), temporal)| blend(level, towards, spatial, temporal, y));
        });
}

/// Gradient of [`mix`].
///
/// # Shapes
/// - `[spatial, temporal]`, `dy`: `[batch, frames, row]`
pub fn mix_backward<T: Element>(
    level: Level,
    spec: &Mix<'_>,
    [spatial, temporal]: [&[T]; 2],
    dy: &[T],
    gradients: Gradients<'_, T>,
) {
    let row = spec.same(dy.len());
    gradients.alpha.fill(0.0);
    if dy.is_empty() {
        return;
    }
    // What each row, in pieces of a length that only the row decides, adds to its weight's.
    let mut sums = vec![0.0; dy.len() / row];
    let inputs = spatial
        .par_chunks(row)
        .zip(temporal.par_chunks(row))
        .zip(dy.par_chunks(row));
    let outputs = gradients
        .spatial
        .par_chunks_mut(row)
        .zip(gradients.temporal.par_chunks_mut(row));
    sums.par_iter_mut()
        .zip(inputs.zip(outputs))
        .with_min_len(GRAIN.div_ceil(row))
        .enumerate()
        .for_each(
            |(i, (sum, (((spatial, temporal), dy), (d_spatial, d_temporal))))| {
                let towards = spec.towards_temporal(i);
                let inputs = spatial.par_chunks(GRAIN).zip(temporal.par_chunks(GRAIN));
                let outputs = d_spatial
                    .par_chunks_mut(GRAIN)
                    .zip(d_temporal.par_chunks_mut(GRAIN));
                let pieces: Vec<f64> = inputs
                    .zip(dy.par_chunks(GRAIN))
                    .zip(outputs)
                    .map(|(((spatial, temporal), dy), (d_spatial, d_temporal))| {
                        share(level, towards, dy, d_spatial, d_temporal);
                        dot(level, dy, spatial, temporal)
                    })
                    .collect();
                *sum = pieces.iter().sum();
            },
        );
    let weights = spec.alpha.len();
    for (i, alpha) in gradients.alpha.iter_mut().enumerate() {
        *alpha = sums.iter().skip(i).step_by(weights).sum::<f64>() as f32;
    }
}

leveled! {
    fn blend<T: Element>(level, towards: f32, spatial: &[T], temporal: &[T], y: &mut [T]) {
        for ((spatial, temporal), y) in spatial.iter().zip(temporal).zip(y) {
            let (spatial, temporal) = (spatial.widen(), temporal.widen());
            *y = T::narrow(madd::<FMA>(temporal - spatial, towards, spatial));
        }
    }
}

leveled! {
    fn share<T: Element>(
        level, towards: f32, dy: &[T], d_spatial: &mut [T], d_temporal: &mut [T],
    ) {
        for ((dy, d_spatial), d_temporal) in dy.iter().zip(d_spatial).zip(d_temporal) {
            let dy = dy.widen();
            *d_spatial = T::narrow(madd::<FMA>(dy, -towards, dy));
            *d_temporal = T::narrow(dy * towards);
        }
    }
}

leveled! {
    /// Sum of `dy * (spatial - temporal)`.
    fn dot<T: Element>(level, dy: &[T], spatial: &[T], temporal: &[T]) -> f64 {
        // Independent sums, which need not wait for each other.
        const LANES: usize = 64;
        let mut sums = [0.0; LANES];
        let (whole, rest) = dy.as_chunks::<LANES>();
        let [spatial, temporal] = [spatial, temporal].map(|x| x.as_chunks::<LANES>());
        for ((dy, spatial), temporal) in whole.iter().zip(spatial.0).zip(temporal.0) {
            for i in 0..LANES {
                let difference = spatial[i].widen() - temporal[i].widen();
                sums[i] += f64::from(dy[i].widen() * difference);
            }
        }
        let rest = rest.iter().zip(spatial.1).zip(temporal.1);
        for (sum, ((dy, spatial), temporal)) in sums.iter_mut().zip(rest) {
            *sum += f64::from(dy.widen() * (spatial.widen() - temporal.widen()));
        }
        sums.iter().sum()
    }
}

/// `x` plus one row of `shift` per frame, the same for all samples and positions.
///
/// # Shapes
/// - `x`, `y`: `[batch, frames, row]` as `dims` says, a row being positions of `channels`
/// - `shift`: `[frames, channels]`
pub fn add_shift<T: Element>(
    level: Level,
    dims: [usize; 3],
    channels: usize,
    x: &[T],
    shift: &[T],
    y: &mut [T],
) {
    let [_, frames, row] = dims;
    debug_assert_eq!(shift.len(), frames * channels, "add_shift: shift");
    if y.is_empty() {
        return;
    }
    let piece = GRAIN.div_ceil(channels) * channels;
    y.par_chunks_mut(row)
        .zip(x.par_chunks(row))
        .enumerate()
        .for_each(|(at, (y, x))| {
            let shift = &shift[at % frames * channels..][..channels];
            let pieces = y.par_chunks_mut(piece).zip(x.par_chunks(piece));
            pieces.for_each(|(y, x)| shifted(level, x, shift, y));
        });
}

leveled! {
    fn shifted<T: Element>(level, x: &[T], shift: &[T], y: &mut [T]) {
        let rows = y.chunks_exact_mut(shift.len()).zip(x.chunks_exact(shift.len()));
        for (y, x) in rows {
            for ((y, x), shift) in y.iter_mut().zip(x).zip(shift) {
                *y = T::narrow(x.widen() + shift.widen());
            }
        }
    }
}

/// The gradient of the shifts of [`add_shift`]: sums over samples and positions.
///
/// # Shapes
/// - `dy`: `[batch, frames, row]`
/// - `sums`: `[frames, channels]`
pub fn sum_shifts<T: Element>(
    level: Level,
    dims: [usize; 3],
    channels: usize,
    dy: &[T],
    sums: &mut [f32],
) {
    let [batch, frames, row] = dims;
    let mut each = vec![0.0; batch * frames * channels];
    sum_segments(level, row / channels.max(1), channels, dy, &mut each);
    for (at, sum) in sums.iter_mut().enumerate() {
        let samples = (0..batch).map(|sample| f64::from(each[sample * frames * channels + at]));
        *sum = samples.sum::<f64>() as f32;
    }
}
