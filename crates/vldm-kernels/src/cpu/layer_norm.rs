//! Layer norm: every row normalised by its own statistics.

use rayon::prelude::*;

use super::element::Element;
use super::level::Level;
use super::math::madd;
use super::norm::{RUN, add_blocks, block_rows, flush};

#[cfg(test)]
mod tests;

/// Partial sums of a row, which need not wait for each other.
const LANES: usize = 64;

/// What a layer norm is made of, but for its input.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm<'a> {
    /// Added to the variance.
    pub eps: f32,
    /// Factor per channel; its length is the length of a row.
    pub weight: &'a [f32],
    /// Summand per channel.
    pub bias: &'a [f32],
}

/// What the gradient writes.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// Of the input, `[rows, channels]`.
    pub dx: &'a mut [T],
    /// Of the weight, `[channels]`.
    pub dweight: &'a mut [f32],
    /// Of the bias, `[channels]`.
    pub dbias: &'a mut [f32],
}

/// Normalises each row, then applies weight and bias.
///
/// The mean is subtracted before squaring, so a large common offset costs no precision.
///
/// # Shapes
/// - `x`, `y`: `[rows, channels]`
///
/// # Source
/// Ba, Kiros and Hinton 2016 (arXiv:1607.06450), equation 3.
pub fn layer_norm<T: Element>(level: Level, spec: &LayerNorm<'_>, x: &[T], y: &mut [T]) {
    let channels = spec.check(x);
    debug_assert_eq!(x.len(), y.len(), "layer_norm: x and y");
    if x.is_empty() {
        return;
    }
    let block = block_rows(x.len() / channels, channels) * channels;
    y.par_chunks_mut(block)
        .zip(x.par_chunks(block))
        .for_each(|(y, x)| rows(level, spec, x, y));
}

/// Gradient of [`layer_norm`]; everything is written, nothing added to.
///
/// The statistics are computed again: a row that has just been read is in the nearest cache.
///
/// # Shapes
/// - `x`, `dy`: `[rows, channels]`
pub fn layer_norm_backward<T: Element>(
    level: Level,
    spec: &LayerNorm<'_>,
    x: &[T],
    dy: &[T],
    gradients: Gradients<'_, T>,
) {
    let Gradients { dx, dweight, dbias } = gradients;
    let channels = spec.check(x);
    debug_assert_eq!(x.len(), dy.len(), "layer_norm_backward: x and dy");
    debug_assert_eq!(x.len(), dx.len(), "layer_norm_backward: x and dx");
    dweight.fill(0.0);
    dbias.fill(0.0);
    if x.is_empty() {
        return;
    }
    let block = block_rows(x.len() / channels, channels) * channels;
    let mut sums = vec![0.0; 2 * channels * x.len().div_ceil(block)];
    dx.par_chunks_mut(block)
        .zip(x.par_chunks(block))
        .zip(dy.par_chunks(block))
        .zip(sums.par_chunks_mut(2 * channels))
        .for_each(|(((dx, x), dy), sums)| rows_backward(level, spec, (x, dy), dx, sums));
    let sums = add_blocks(&sums, 2 * channels);
    for (gradient, sum) in dbias.iter_mut().chain(dweight).zip(sums) {
        *gradient = sum as f32;
    }
}

impl LayerNorm<'_> {
    fn check<T>(&self, x: &[T]) -> usize {
        let channels = self.weight.len();
        debug_assert_eq!(self.bias.len(), channels, "layer_norm: bias");
        debug_assert!(
            x.is_empty() || x.len().is_multiple_of(channels),
            "layer_norm: {} values are no rows of {channels}",
            x.len()
        );
        channels
    }
}

/// A row's mean, in two parts, and 1 / standard deviation.
#[derive(Debug, Clone, Copy)]
struct Statistics {
    /// The row's first value: differences from it lose nothing to a common offset.
    shift: f32,
    /// What the mean is above `shift`.
    rest: f32,
    inverse: f32,
}

impl Statistics {
    #[inline(always)]
    fn of<T: Element, const FMA: bool>(x: &[T], eps: f32) -> Self {
        let channels = x.len() as f32;
        let shift = x[0].widen();
        let mut statistics = Self {
            shift,
            rest: 0.0,
            inverse: 0.0,
        };
        statistics.rest = statistics.sum::<T, FMA, false>(x) / channels;
        let variance = statistics.sum::<T, FMA, true>(x) / channels;
        statistics.inverse = 1.0 / (variance + eps).sqrt();
        statistics
    }

    /// `x` less the mean.
    #[inline(always)]
    fn centred(self, x: f32) -> f32 {
        x - self.shift - self.rest
    }

    /// Sum over a row of the differences from the mean, or of their squares.
    #[inline(always)]
    fn sum<T: Element, const FMA: bool, const SQUARED: bool>(self, x: &[T]) -> f32 {
        let mut sums = [0.0; LANES];
        let (whole, rest) = x.as_chunks::<LANES>();
        for x in whole {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = self.add::<FMA, SQUARED>(x.widen(), *sum);
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            *sum = self.add::<FMA, SQUARED>(x.widen(), *sum);
        }
        fold(sums, x.len())
    }

    #[inline(always)]
    fn add<const FMA: bool, const SQUARED: bool>(self, x: f32, sum: f32) -> f32 {
        let difference = self.centred(x);
        if SQUARED {
            madd::<FMA>(difference, difference, sum)
        } else {
            sum + difference
        }
    }
}

/// The sum of all lanes, pairwise. Those that a row of `channels` did not reach are zeros, and adding
/// zeros to zeros is left out.
#[inline(always)]
fn fold(mut sums: [f32; LANES], channels: usize) -> f32 {
    let mut half = channels.next_power_of_two().min(LANES) / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    // As those zeros would have: the sum is no negative zero.
    if channels < LANES {
        sums[0] + 0.0
    } else {
        sums[0]
    }
}

leveled! {
    fn rows<T: Element>(level, spec: &LayerNorm<'_>, x: &[T], y: &mut [T]) {
        let channels = spec.weight.len();
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            let statistics = Statistics::of::<T, FMA>(x, spec.eps);
            for (((x, y), &weight), &bias) in x.iter().zip(y).zip(spec.weight).zip(spec.bias) {
                let normal = statistics.centred(x.widen()) * statistics.inverse;
                *y = T::narrow(madd::<FMA>(normal, weight, bias));
            }
        }
    }
}

leveled! {
    fn rows_backward<T: Element>(
        level, spec: &LayerNorm<'_>, inputs: (&[T], &[T]), dx: &mut [T], totals: &mut [f64],
    ) {
        let channels = spec.weight.len();
        let (dbias, dweight) = totals.split_at_mut(channels);
        let mut run = Run {
            normal: vec![0.0; channels],
            gradient: vec![0.0; channels],
            dbias: vec![0.0; channels],
            dweight: vec![0.0; channels],
        };
        let length = RUN * channels;
        let (x, dy) = inputs;
        for ((x, dy), dx) in x.chunks(length).zip(dy.chunks(length)).zip(dx.chunks_mut(length)) {
            let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
            for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(channels)) {
                run.row::<T, FMA>(spec, x, dy, dx);
            }
            flush(&mut run.dbias, dbias);
            flush(&mut run.dweight, dweight);
        }
    }
}

/// What the rows of one run share.
struct Run {
    /// One row, normalised.
    normal: Vec<f32>,
    /// Gradient of `normal`.
    gradient: Vec<f32>,
    dbias: Vec<f32>,
    dweight: Vec<f32>,
}

impl Run {
    #[inline(always)]
    fn row<T: Element, const FMA: bool>(
        &mut self,
        spec: &LayerNorm<'_>,
        x: &[T],
        dy: &[T],
        dx: &mut [T],
    ) {
        let Self {
            normal,
            gradient,
            dbias,
            dweight,
        } = self;
        let statistics = Statistics::of::<T, FMA>(x, spec.eps);
        let inverse = statistics.inverse;
        let row = x.iter().zip(dy).zip(spec.weight);
        let own = normal.iter_mut().zip(&mut *gradient);
        let sums = dbias.iter_mut().zip(dweight);
        for ((((x, dy), weight), (normal, gradient)), (dbias, dweight)) in row.zip(own).zip(sums) {
            let dy = dy.widen();
            *normal = statistics.centred(x.widen()) * inverse;
            *gradient = dy * weight;
            *dbias += dy;
            *dweight = madd::<FMA>(dy, *normal, *dweight);
        }
        let channels = x.len() as f32;
        let [plain, product] = dots::<FMA>(gradient, normal);
        let (rest, slope) = (-plain / channels, -product / channels);
        for ((dx, &normal), gradient) in dx.iter_mut().zip(&*normal).zip(&*gradient) {
            *dx = T::narrow(madd::<FMA>(normal, slope, gradient + rest) * inverse);
        }
    }
}

/// Sum of `a`, and sum of the products of `a` and `b`.
#[inline(always)]
fn dots<const FMA: bool>(a: &[f32], b: &[f32]) -> [f32; 2] {
    let [mut plain, mut products] = [[0.0; LANES]; 2];
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for i in 0..LANES {
            plain[i] += a[i];
            products[i] = madd::<FMA>(a[i], b[i], products[i]);
        }
    }
    for (i, (a, b)) in rest_a.iter().zip(rest_b).enumerate() {
        plain[i] += a;
        products[i] = madd::<FMA>(*a, *b, products[i]);
    }
    [fold(plain, a.len()), fold(products, a.len())]
}
