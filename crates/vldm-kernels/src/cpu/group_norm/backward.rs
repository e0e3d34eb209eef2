//! Gradient of the group norm.

use rayon::prelude::*;

use super::{Columns, GroupNorm};
use crate::cpu::activation::{Curve, Identity, Silu};
use crate::cpu::element::Element;
use crate::cpu::level::Level;
use crate::cpu::math::madd;
use crate::cpu::norm::{GRAIN, RUN, add_blocks, flush, tables};
use crate::operands::Activation;

/// What the gradient reads.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a, T> {
    /// The inputs, as in [`group_norm`](super::group_norm).
    pub x: [&'a [T]; 2],
    /// What [`group_norm`](super::group_norm) wrote there, `[n, groups, 2]`.
    pub stats: &'a [f32],
    /// Gradient of the output, `[n, tokens, c0 + c1]`.
    pub dy: &'a [T],
}

/// What the gradient writes.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// Of the inputs, shapes of the inputs.
    pub dx: [&'a mut [T]; 2],
    /// Of the weight, `[c0 + c1]`.
    pub dweight: &'a mut [f32],
    /// Of the bias, `[c0 + c1]`.
    pub dbias: &'a mut [f32],
}

/// Gradient of [`group_norm`](super::group_norm); everything is written, nothing added to.
///
/// The output is not kept: what the activation saw is computed again from the input.
pub fn group_norm_backward<T: Element>(
    level: Level,
    spec: &GroupNorm<'_>,
    saved: Saved<'_, T>,
    gradients: Gradients<'_, T>,
) {
    let Saved { x, stats, dy } = saved;
    let Gradients {
        mut dx,
        dweight,
        dbias,
    } = gradients;
    spec.check(x);
    spec.check([&*dx[0], &*dx[1]]);
    debug_assert_eq!(dy.len(), x[0].len() + x[1].len(), "group_norm_backward: dy");
    debug_assert_eq!(
        stats.len(),
        spec.n * spec.groups * 2,
        "group_norm_backward: stats"
    );
    dweight.fill(0.0);
    dbias.fill(0.0);
    if dy.is_empty() {
        return;
    }
    let (sample, wave) = (spec.sample(), spec.wave::<T>());
    // Of every channel's bias, then of every channel's weight.
    let mut parameters = vec![0.0; 2 * spec.width()];
    for first in (0..spec.n).step_by(wave) {
        let count = wave.min(spec.n - first);
        let saved = Saved {
            x: spec.samples(x, first, count),
            stats: &stats[first * spec.groups * 2..][..count * spec.groups * 2],
            dy: &dy[first * sample..][..count * sample],
        };
        let samples = spec.split(&mut dx, count, spec.tokens);
        // One sample after the other: their sums depend on their order.
        for sums in spec.wave_backward(level, saved, samples) {
            for (parameter, sum) in parameters.iter_mut().zip(sums) {
                *parameter += sum;
            }
        }
    }
    for (gradient, sum) in dbias.iter_mut().chain(dweight).zip(parameters) {
        *gradient = sum as f32;
    }
}

/// Per channel: mean, factor and summand of the forward pass; then the factor of the difference
/// from the mean, and the summand, by which the statistics depend on the input.
type Coefficients = [Vec<f32>; 5];

impl GroupNorm<'_> {
    /// Takes `count` pieces of `rows` rows each from the front of both inputs' gradients.
    fn split<'x, T>(
        &self,
        dx: &mut [&'x mut [T]; 2],
        count: usize,
        rows: usize,
    ) -> Vec<[&'x mut [T]; 2]> {
        let [c0, c1] = self.channels;
        let mut take = |i: usize, channels: usize| {
            let length = (rows * channels).min(dx[i].len());
            dx[i]
                .split_off_mut(..length)
                .expect("no more than there is")
        };
        (0..count).map(|_| [take(0, c0), take(1, c1)]).collect()
    }

    /// Both passes over some samples; returns what each adds to the gradients of bias and
    /// weight, `[samples][2 * channels]`.
    fn wave_backward<T: Element>(
        &self,
        level: Level,
        saved: Saved<'_, T>,
        dx: Vec<[&mut [T]; 2]>,
    ) -> Vec<Vec<f64>> {
        let (sample, block) = (self.sample(), self.rows() * self.width());
        let stats = |sample: usize| &saved.stats[sample * self.groups * 2..][..self.groups * 2];
        let before: Vec<_> = (0..dx.len())
            .map(|i| self.coefficients(stats(i), &[]))
            .collect();
        let mut sums = vec![0.0; dx.len() * self.blocks() * 2 * self.width()];
        sums.par_chunks_mut(2 * self.width())
            .with_min_len(GRAIN.div_ceil(block))
            .enumerate()
            .for_each(|(i, sums)| {
                let (i, in_sample) = (i / self.blocks(), i % self.blocks());
                let x = self.block(self.samples(saved.x, i, 1), in_sample);
                let first = i * sample + in_sample * block;
                let dy = &saved.dy[first..first + x[0].len() + x[1].len()];
                self.block_sums(level, (x, dy), &before[i], sums);
            });
        dx.into_par_iter()
            .zip(sums.par_chunks(self.blocks() * 2 * self.width()))
            .zip(saved.dy.par_chunks(sample))
            .with_min_len(self.samples_per_task())
            .enumerate()
            .map(|(i, ((mut dx, sums), dy))| {
                let mut sums = add_blocks(sums, 2 * self.width());
                let tables = self.coefficients(stats(i), &sums);
                let x = self.samples(saved.x, i, 1);
                self.split(&mut dx, self.blocks(), self.rows())
                    .into_par_iter()
                    .zip(dy.par_chunks(block))
                    .enumerate()
                    .for_each(|(i, (dx, dy))| {
                        self.block_gradient(level, (self.block(x, i), dy), &tables, dx);
                    });
                let products = sums[self.width()..].chunks_exact_mut(self.width() / self.groups);
                for (products, stats) in products.zip(stats(i).chunks_exact(2)) {
                    products
                        .iter_mut()
                        .for_each(|product| *product *= f64::from(stats[1]));
                }
                sums
            })
            .collect()
    }

    /// The coefficients of both inputs' channels from one sample's `stats`, and from its `sums`
    /// where they are known already.
    fn coefficients(&self, stats: &[f32], sums: &[f64]) -> [Coefficients; 2] {
        let each = self.width() / self.groups;
        let elements = self.group() as f64;
        // Per group, as the sums are: of the weighted gradient, and of its products.
        let weighted: Vec<f64> = sums
            .chunks_exact(each)
            .zip(self.weight.chunks_exact(each).cycle())
            .map(|(sums, weights)| {
                let pairs = sums.iter().zip(weights);
                pairs.map(|(sum, &weight)| sum * f64::from(weight)).sum()
            })
            .collect();
        let weighted = |i: usize| weighted.get(i).copied().unwrap_or_default();
        let [c0, c1] = self.channels;
        [(c0, 0), (c1, c0)].map(|(channels, first)| {
            tables(channels, |channel| {
                let channel = first + channel;
                let group = channel / each;
                let (mean, inverse) = (stats[2 * group], stats[2 * group + 1]);
                let exact = f64::from(inverse);
                let rest = weighted(group) * exact / elements;
                let slope = weighted(self.groups + group) * exact.powi(3) / elements;
                let scale = inverse * self.weight[channel];
                [mean, scale, self.bias[channel], -slope as f32, -rest as f32]
            })
        })
    }

    /// First pass over one block: per channel the sums of the gradient before the activation,
    /// then those of its products with the difference from the mean.
    fn block_sums<T: Element>(
        &self,
        level: Level,
        (x, dy): ([&[T]; 2], &[T]),
        tables: &[Coefficients; 2],
        sums: &mut [f64],
    ) {
        let (plain, products) = sums.split_at_mut(self.width());
        let mut first = 0;
        for ((x, channels), table) in x.into_iter().zip(self.channels).zip(tables) {
            let columns = Columns {
                first,
                channels,
                stride: self.width(),
            };
            let own = first..first + channels;
            let sums = [&mut plain[own.clone()], &mut products[own]];
            match self.activation {
                Activation::None => {
                    gradient_sums(level, Identity, (x, dy), (table, columns), sums);
                }
                Activation::Silu => gradient_sums(level, Silu, (x, dy), (table, columns), sums),
            }
            first += channels;
        }
    }

    /// Second pass over one block.
    fn block_gradient<T: Element>(
        &self,
        level: Level,
        (x, dy): ([&[T]; 2], &[T]),
        tables: &[Coefficients; 2],
        dx: [&mut [T]; 2],
    ) {
        let mut first = 0;
        let inputs = x.into_iter().zip(dx).zip(self.channels).zip(tables);
        for (((x, dx), channels), table) in inputs {
            let columns = Columns {
                first,
                channels,
                stride: self.width(),
            };
            match self.activation {
                Activation::None => gradient(level, Identity, (x, dy), (table, columns), dx),
                Activation::Silu => gradient(level, Silu, (x, dy), (table, columns), dx),
            }
            first += channels;
        }
    }
}

leveled! {
    fn gradient_sums<T: Element, C: Curve>(
        level,
        curve: C,
        inputs: (&[T], &[T]),
        by: (&Coefficients, Columns),
        totals: [&mut [f64]; 2],
    ) {
        let ([mean, scale, offset, _, _], Columns { first, channels, stride }) = by;
        if channels == 0 {
            return;
        }
        let [plain, products] = totals;
        let mut plain_run = vec![0.0; channels];
        let mut product_run = vec![0.0; channels];
        let (x, dy) = inputs;
        for (x, dy) in x.chunks(RUN * channels).zip(dy.chunks(RUN * stride)) {
            for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(stride)) {
                let inputs = x.iter().zip(&dy[first..first + channels]);
                let sums = plain_run.iter_mut().zip(&mut product_run);
                let table = mean.iter().zip(scale).zip(offset);
                for (((x, dy), (plain, product)), ((mean, &scale), &offset)) in
                    inputs.zip(sums).zip(table)
                {
                    let difference = x.widen() - mean;
                    let z = madd::<FMA>(difference, scale, offset);
                    let dz = dy.widen() * curve.slope::<FMA>(z);
                    *plain += dz;
                    *product = madd::<FMA>(dz, difference, *product);
                }
            }
            flush(&mut plain_run, plain);
            flush(&mut product_run, products);
        }
    }
}

leveled! {
    fn gradient<T: Element, C: Curve>(
        level,
        curve: C,
        inputs: (&[T], &[T]),
        by: (&Coefficients, Columns),
        dx: &mut [T],
    ) {
        let ([mean, scale, offset, slope, rest], Columns { first, channels, stride }) = by;
        if channels == 0 {
            return;
        }
        let (x, dy) = inputs;
        let rows = x.chunks_exact(channels).zip(dy.chunks_exact(stride));
        for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(channels)) {
            let inputs = x.iter().zip(&dy[first..first + channels]);
            let table = mean.iter().zip(scale).zip(offset).zip(slope.iter().zip(rest));
            for (((x, dy), dx), (((mean, &scale), &offset), (&slope, &rest))) in
                inputs.zip(dx).zip(table)
            {
                let difference = x.widen() - mean;
                let z = madd::<FMA>(difference, scale, offset);
                let dz = dy.widen() * curve.slope::<FMA>(z);
                let through = madd::<FMA>(difference, slope, rest);
                *dx = T::narrow(madd::<FMA>(dz, scale, through));
            }
        }
    }
}
