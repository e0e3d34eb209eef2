//! Group norm over channels-last samples, of one tensor or of two read side by side.
//!
//! Two passes over a sample: one sums, the other normalises (or, backward, sums products and then
//! writes the gradient). As many samples at a time as the threads' caches hold, so that the
//! second pass seldom goes back to main memory.

use rayon::prelude::*;

use super::activation::{Curve, Identity, Silu};
use super::element::Element;
use super::level::Level;
use super::math::madd;
use super::norm::{GRAIN, RUN, STEP, block_rows, flush, split_rows, tables};
use crate::operands::Activation;

mod backward;
#[cfg(test)]
mod tests;

pub use backward::{Gradients, Saved, group_norm_backward};

/// What a group norm is made of, but for its input.
#[derive(Debug, Clone, Copy)]
pub struct GroupNorm<'a> {
    /// Samples, each with statistics of its own.
    pub n: usize,
    /// Positions per sample.
    pub tokens: usize,
    /// Channels of the two inputs, which count as one input with the channels of both; the
    /// second is 0 where there is only one.
    pub channels: [usize; 2],
    /// Groups, which divide the sum of `channels`; one may have channels of both inputs.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Factor per channel, `[c0 + c1]`.
    pub weight: &'a [f32],
    /// Summand per channel, `[c0 + c1]`.
    pub bias: &'a [f32],
    /// What follows.
    pub activation: Activation,
}

/// Normalises each group of channels over all tokens, then applies weight, bias and activation.
///
/// The variance is a sum of squared differences from values of the same channel, so a large
/// common offset costs no precision.
///
/// # Shapes
/// - `x`: `[n, tokens, c0]` and `[n, tokens, c1]`, the second empty where `c1` is 0
/// - `y`: `[n, tokens, c0 + c1]`
/// - `stats`: `[n, groups, 2]`: mean and 1 / standard deviation, for the gradient
///
/// # Source
/// Wu and He 2018 (arXiv:1803.08494), equations 1 and 2.
pub fn group_norm<T: Element>(
    level: Level,
    spec: &GroupNorm<'_>,
    x: [&[T]; 2],
    y: &mut [T],
    stats: &mut [f32],
) {
    spec.check(x);
    debug_assert_eq!(y.len(), x[0].len() + x[1].len(), "group_norm: y");
    debug_assert_eq!(stats.len(), spec.n * spec.groups * 2, "group_norm: stats");
    if y.is_empty() {
        return stats.fill(0.0);
    }
    let (sample, wave) = (spec.sample(), spec.wave::<T>());
    let waves = y
        .chunks_mut(wave * sample)
        .zip(stats.chunks_mut(wave * spec.groups * 2));
    for (i, (y, stats)) in waves.enumerate() {
        let x = spec.samples(x, i * wave, y.len() / sample);
        let moments = spec.moments(level, x);
        y.par_chunks_mut(sample)
            .zip(stats.par_chunks_mut(spec.groups * 2))
            .zip(moments.par_chunks(spec.blocks() * spec.groups))
            .with_min_len(spec.samples_per_task())
            .enumerate()
            .for_each(|(i, ((y, stats), moments))| {
                let moments = spec.combine(moments);
                for (stats, moments) in stats.chunks_exact_mut(2).zip(&moments) {
                    stats.copy_from_slice(&[moments.mean as f32, spec.inverse(moments) as f32]);
                }
                let tables = spec.tables(&moments);
                let x = spec.samples(x, i, 1);
                y.par_chunks_mut(spec.rows() * spec.width())
                    .enumerate()
                    .for_each(|(i, y)| spec.normalise(level, spec.block(x, i), &tables, y));
            });
    }
}

/// Mean of a group and the sum of squared differences from it.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    mean: f64,
    squares: f64,
}

/// Per channel: the mean, what the difference from it is multiplied by, and what is added then.
type Affine = [Vec<f32>; 3];

impl GroupNorm<'_> {
    fn check<T>(&self, x: [&[T]; 2]) {
        debug_assert!(
            self.groups > 0 && self.width().is_multiple_of(self.groups),
            "group_norm: {} groups do not divide {} channels",
            self.groups,
            self.width()
        );
        for (x, channels) in x.iter().zip(self.channels) {
            debug_assert_eq!(x.len(), self.n * self.tokens * channels, "group_norm: x");
        }
        debug_assert_eq!(self.weight.len(), self.width(), "group_norm: weight");
        debug_assert_eq!(self.bias.len(), self.width(), "group_norm: bias");
    }

    /// Channels of both inputs.
    fn width(&self) -> usize {
        self.channels[0] + self.channels[1]
    }

    /// Elements of one sample.
    fn sample(&self) -> usize {
        self.tokens * self.width()
    }

    /// Tokens of one block.
    fn rows(&self) -> usize {
        block_rows(self.tokens, self.width())
    }

    /// Blocks of one sample.
    fn blocks(&self) -> usize {
        self.tokens.div_ceil(self.rows())
    }

    /// Samples that are worth a task.
    fn samples_per_task(&self) -> usize {
        GRAIN.div_ceil(self.sample())
    }

    /// Samples that go through both passes together: what the threads' caches hold. Changes
    /// when something is computed, not what.
    fn wave<T>(&self) -> usize {
        const CACHE: usize = 1 << 20;
        (rayon::current_num_threads() * CACHE / (self.sample() * size_of::<T>())).max(1)
    }

    /// The inputs of `count` samples.
    fn samples<'x, T>(&self, x: [&'x [T]; 2], first: usize, count: usize) -> [&'x [T]; 2] {
        self.range(x, first * self.tokens, count * self.tokens)
    }

    /// The inputs of one block of a sample.
    fn block<'x, T>(&self, x: [&'x [T]; 2], block: usize) -> [&'x [T]; 2] {
        let first = block * self.rows();
        self.range(x, first, self.rows().min(self.tokens - first))
    }

    fn range<'x, T>(&self, x: [&'x [T]; 2], first: usize, count: usize) -> [&'x [T]; 2] {
        let [c0, c1] = self.channels;
        [
            &x[0][first * c0..(first + count) * c0],
            &x[1][first * c1..(first + count) * c1],
        ]
    }

    /// First pass: the moments of every group in every block, `[samples, blocks, groups]`.
    fn moments<T: Element>(&self, level: Level, x: [&[T]; 2]) -> Vec<Moments> {
        let samples = (x[0].len() + x[1].len()) / self.sample();
        let mut moments = vec![Moments::default(); samples * self.blocks() * self.groups];
        moments
            .par_chunks_mut(self.groups)
            .with_min_len(GRAIN.div_ceil(self.rows() * self.width()))
            .enumerate()
            .for_each(|(i, moments)| {
                let x = self.samples(x, i / self.blocks(), 1);
                self.block_moments(level, self.block(x, i % self.blocks()), moments);
            });
        moments
    }

    fn block_moments<T: Element>(&self, level: Level, x: [&[T]; 2], moments: &mut [Moments]) {
        // Mean and squares of every channel, then of every group.
        let [mut means, mut squares] = [(); 2].map(|()| vec![0.0; self.width()]);
        let c0 = self.channels[0];
        channel_moments(level, x[0], &mut means[..c0], &mut squares[..c0]);
        channel_moments(level, x[1], &mut means[c0..], &mut squares[c0..]);
        let each = self.width() / self.groups;
        let rows = (x[0].len() + x[1].len()) / self.width();
        let groups = means.chunks_exact(each).zip(squares.chunks_exact(each));
        for ((means, squares), group) in groups.zip(moments) {
            let mean = means.iter().sum::<f64>() / each as f64;
            let between: f64 = means.iter().map(|m| (m - mean) * (m - mean)).sum();
            let squares = squares.iter().sum::<f64>() + between * rows as f64;
            *group = Moments { mean, squares };
        }
    }

    /// The moments of a sample's groups from those of its blocks.
    ///
    /// # Source
    /// Chan, Golub and LeVeque 1979, equation 2.1.
    fn combine(&self, blocks: &[Moments]) -> Vec<Moments> {
        let each = (self.width() / self.groups) as f64;
        let mut blocks = blocks.chunks_exact(self.groups);
        let mut combined = blocks.next().unwrap_or_default().to_vec();
        for (i, block) in blocks.enumerate() {
            let before = (i + 1) * self.rows();
            let rows = self.rows().min(self.tokens - before);
            let share = rows as f64 / (before + rows) as f64;
            let weight = before as f64 * each * share;
            for (group, block) in combined.iter_mut().zip(block) {
                let difference = block.mean - group.mean;
                group.mean += difference * share;
                group.squares += block.squares + difference * difference * weight;
            }
        }
        combined
    }

    /// Elements of a group in one sample.
    fn group(&self) -> usize {
        self.sample() / self.groups
    }

    /// 1 / standard deviation.
    fn inverse(&self, moments: &Moments) -> f64 {
        // Rounding may leave less than nothing where all values are the same.
        let squares = if moments.squares < 0.0 {
            0.0
        } else {
            moments.squares
        };
        let variance = squares / self.group() as f64;
        1.0 / (variance + f64::from(self.eps)).sqrt()
    }

    /// The second pass's coefficients of both inputs' channels.
    fn tables(&self, moments: &[Moments]) -> [Affine; 2] {
        let each = self.width() / self.groups;
        let scales: Vec<f64> = moments
            .iter()
            .map(|moments| self.inverse(moments))
            .collect();
        let [c0, c1] = self.channels;
        [(c0, 0), (c1, c0)].map(|(channels, first)| {
            tables(channels, |channel| {
                let channel = first + channel;
                let exact = moments[channel / each].mean;
                let mean = exact as f32;
                let scale = scales[channel / each] * f64::from(self.weight[channel]);
                // With what the mean lost when it became an f32.
                let rest = (f64::from(mean) - exact) * scale;
                let offset = f64::from(self.bias[channel]) + rest;
                [mean, scale as f32, offset as f32]
            })
        })
    }

    /// Second pass over one block.
    fn normalise<T: Element>(&self, level: Level, x: [&[T]; 2], tables: &[Affine; 2], y: &mut [T]) {
        let mut first = 0;
        for ((x, channels), table) in x.into_iter().zip(self.channels).zip(tables) {
            let columns = Columns {
                first,
                channels,
                stride: self.width(),
            };
            match self.activation {
                Activation::None => affine(level, Identity, x, (table, columns), y),
                Activation::Silu => affine(level, Silu, x, (table, columns), y),
            }
            first += channels;
        }
    }
}

/// The part of each row of `[rows, stride]` that belongs to one input.
#[derive(Debug, Clone, Copy)]
struct Columns {
    first: usize,
    channels: usize,
    stride: usize,
}

/// Rows that the differences of their block are taken from. Several, because one may be unusual.
const FIRST: usize = 8;

leveled! {
    /// Mean of every channel, and the sum of squared differences from it; both are zeros before.
    fn channel_moments<T: Element>(level, x: &[T], means: &mut [f64], squares: &mut [f64]) {
        let channels = means.len();
        if channels == 0 {
            return;
        }
        // Differences from the first rows' mean are about as small as differences from the mean
        // of all, and it is known before that is.
        let mut shift = vec![0.0; channels];
        let first = &x[..x.len().min(FIRST * channels)];
        let share = channels as f32 / first.len() as f32;
        for row in first.chunks_exact(channels) {
            for (shift, x) in shift.iter_mut().zip(row) {
                *shift = madd::<FMA>(x.widen(), share, *shift);
            }
        }
        let mut sums = vec![0.0; channels];
        let mut square_sums = vec![0.0; channels];
        for run in x.chunks(RUN * channels) {
            let steps = run.chunks_exact(STEP * channels);
            let rest = steps.remainder();
            for step in steps {
                add_rows::<T, FMA, STEP>(step, &shift, &mut sums, &mut square_sums);
            }
            for row in rest.chunks_exact(channels) {
                add_rows::<T, FMA, 1>(row, &shift, &mut sums, &mut square_sums);
            }
            flush(&mut sums, means);
            flush(&mut square_sums, squares);
        }
        let share = channels as f64 / x.len() as f64;
        for ((mean, square), shift) in means.iter_mut().zip(squares).zip(shift) {
            let difference = *mean * share;
            *square -= *mean * difference;
            *mean = f64::from(shift) + difference;
        }
    }
}

#[inline(always)]
fn add_rows<T: Element, const FMA: bool, const N: usize>(
    x: &[T],
    shift: &[f32],
    sums: &mut [f32],
    squares: &mut [f32],
) {
    let rows = split_rows::<T, N>(x, shift.len());
    for (i, ((&shift, sum), square)) in shift.iter().zip(sums).zip(squares).enumerate() {
        let mut step = 0.0;
        let mut square_step = *square;
        for row in rows {
            let difference = row[i].widen() - shift;
            step += difference;
            square_step = madd::<FMA>(difference, difference, square_step);
        }
        *sum += step;
        *square = square_step;
    }
}

leveled! {
    fn affine<T: Element, C: Curve>(
        level, curve: C, x: &[T], to: (&Affine, Columns), y: &mut [T],
    ) {
        let ([mean, scale, offset], Columns { first, channels, stride }) = to;
        if channels == 0 {
            return;
        }
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(stride)) {
            let y = &mut y[first..first + channels];
            let table = mean.iter().zip(scale).zip(offset);
            for ((x, y), ((mean, scale), offset)) in x.iter().zip(y).zip(table) {
                let z = madd::<FMA>(x.widen() - mean, *scale, *offset);
                *y = T::narrow(curve.value::<FMA>(z));
            }
        }
    }
}
