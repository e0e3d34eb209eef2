//! Sums over rows, in an order that depends on the shape alone: bias gradients are such sums, and
//! the norms and their gradients are made of them.

use rayon::prelude::*;

use super::element::Element;
use super::level::Level;

#[cfg(test)]
pub(super) mod tests;

/// Elements that are worth a task of their own: less is done where it is.
pub(super) const GRAIN: usize = 1 << 15;

/// Rows summed in f32 before their sum is added to one in f64.
pub(super) const RUN: usize = 32;

/// Rows taken together: one addition to memory for all of them.
pub(super) const STEP: usize = 4;

/// Rows of one block, the part of a sum that one task does.
///
/// Depends on the sample's shape only. The number of blocks is a power of two, because those are
/// what two, four, eight threads can share evenly.
pub(super) fn block_rows(rows: usize, channels: usize) -> usize {
    const BLOCK: usize = 1 << 16;
    let blocks = (rows * channels / BLOCK).max(1).next_power_of_two();
    rows.div_ceil(blocks).next_multiple_of(STEP)
}

/// `N` tables of one f32 for each channel.
pub(super) fn tables<const N: usize>(
    channels: usize,
    values: impl Fn(usize) -> [f32; N],
) -> [Vec<f32>; N] {
    let mut tables = [(); N].map(|()| Vec::with_capacity(channels));
    for channel in 0..channels {
        for (table, value) in tables.iter_mut().zip(values(channel)) {
            table.push(value);
        }
    }
    tables
}

/// Adds the f32 sums of a run to the totals, and begins a new run.
#[inline(always)]
pub(super) fn flush(sums: &mut [f32], totals: &mut [f64]) {
    for (sum, total) in sums.iter_mut().zip(totals) {
        *total += f64::from(*sum);
        *sum = 0.0;
    }
}

/// Adds up blocks of totals, in their order: `[blocks, channels]` to `[channels]`.
pub(super) fn add_blocks(blocks: &[f64], channels: usize) -> Vec<f64> {
    let mut blocks = blocks.chunks_exact(channels);
    let mut sums = blocks.next().unwrap_or_default().to_vec();
    for block in blocks {
        for (sum, block) in sums.iter_mut().zip(block) {
            *sum += block;
        }
    }
    sums
}

/// Sums over the rows of one matrix.
///
/// # Shapes
/// - `x`: `[rows, channels]`
/// - `sums`: `[channels]`
pub fn sum_rows<T: Element>(level: Level, x: &[T], sums: &mut [f32]) {
    let rows = x.len() / sums.len().max(1);
    sum_segments(level, rows, sums.len(), x, sums);
}

/// Sums over the rows of each of `n` matrices.
///
/// # Shapes
/// - `x`: `[n, rows, channels]`
/// - `sums`: `[n, channels]`
pub fn sum_segments<T: Element>(
    level: Level,
    rows: usize,
    channels: usize,
    x: &[T],
    sums: &mut [f32],
) {
    debug_assert_eq!(
        x.len() * channels,
        sums.len() * rows * channels,
        "sum_segments"
    );
    if x.is_empty() {
        return sums.fill(0.0);
    }
    let matrix = rows * channels;
    sums.par_chunks_mut(channels)
        .zip(x.par_chunks(matrix))
        .with_min_len(GRAIN.div_ceil(matrix))
        .for_each(|(sums, x)| sum_matrix(level, channels, x, sums));
}

fn sum_matrix<T: Element>(level: Level, channels: usize, x: &[T], sums: &mut [f32]) {
    let block = block_rows(x.len() / channels, channels) * channels;
    let mut totals = vec![0.0; channels * x.len().div_ceil(block)];
    totals
        .par_chunks_mut(channels)
        .zip(x.par_chunks(block))
        .for_each(|(totals, x)| sum_block(level, x, totals));
    for (sum, total) in sums.iter_mut().zip(add_blocks(&totals, channels)) {
        *sum = total as f32;
    }
}

leveled! {
    fn sum_block<T: Element>(level, x: &[T], totals: &mut [f64]) {
        let channels = totals.len();
        let mut sums = vec![0.0; channels];
        for run in x.chunks(RUN * channels) {
            let steps = run.chunks_exact(STEP * channels);
            let rest = steps.remainder();
            for step in steps {
                add_rows::<T, STEP>(step, &mut sums);
            }
            for row in rest.chunks_exact(channels) {
                add_rows::<T, 1>(row, &mut sums);
            }
            flush(&mut sums, totals);
        }
    }
}

#[inline(always)]
fn add_rows<T: Element, const N: usize>(x: &[T], sums: &mut [f32]) {
    let rows = split_rows::<T, N>(x, sums.len());
    for (i, sum) in sums.iter_mut().enumerate() {
        let mut step = rows[0][i].widen();
        for row in &rows[1..] {
            step += row[i].widen();
        }
        *sum += step;
    }
}

/// The `N` rows of `[N, channels]`.
#[inline(always)]
pub(super) fn split_rows<T, const N: usize>(x: &[T], channels: usize) -> [&[T]; N] {
    let mut rows = [x; N];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &x[i * channels..][..channels];
    }
    rows
}
