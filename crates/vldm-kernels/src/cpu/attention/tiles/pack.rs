//! Between tensors and the tiles the products work on.

use std::marker::PhantomData;
use std::ops::Range;

use half::bf16;

use super::unit::{DEPTH, SIDE, SUMS, TILE, Unit};
use super::weights::Running;
use crate::cpu::attention::pack::{HeadTarget, HeadTokens};
use crate::cpu::attention::simd::{Simd, Task};

/// Some tokens of a head, those that are there.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, U> {
    from: HeadTokens<'a, bf16>,
    /// One behind the last.
    end: usize,
    unit: PhantomData<fn() -> U>,
}

impl<'a, U: Unit> Source<'a, U> {
    pub(super) fn new(from: HeadTokens<'a, bf16>, end: usize) -> Self {
        Self {
            from,
            end,
            unit: PhantomData,
        }
    }

    /// Up to [`DEPTH`] elements of a token from `start` on; none of a token that is not there.
    #[inline(always)]
    fn elements(&self, token: usize, start: usize) -> &'a [bf16] {
        if token >= self.end {
            return &[];
        }
        let rest = &self.from.token(token)[start..];
        &rest[..rest.len().min(DEPTH)]
    }

    /// Steps of depth that the elements of a token make.
    fn steps(&self) -> usize {
        self.from.dim.div_ceil(DEPTH)
    }
}

/// Queries to a left operand, zeros behind the last: `[query / 16, dim / 32, 16, 32]`.
pub(super) struct PackQueries<'a, U> {
    pub(super) from: Source<'a, U>,
    pub(super) to: &'a mut [bf16],
}

impl<U: Unit> Task for PackQueries<'_, U> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let steps = self.from.steps();
        let rows = self.to.chunks_exact_mut(steps * TILE);
        for (first, to) in (0..).step_by(SIDE).zip(rows) {
            for (step, to) in to.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
                for (row, to) in to.as_chunks_mut::<DEPTH>().0.iter_mut().enumerate() {
                    // SAFETY: the level promises the unit.
                    unsafe { U::copy(self.from.elements(first + row, step * DEPTH), to) }
                }
            }
        }
    }
}

/// Keys to a right operand whose depth is `dim`: `[key / 16, dim / 32, 16, 16, 2]`, zeros where
/// there is no key or no element.
pub(super) struct PackKeys<'a, U> {
    pub(super) from: Source<'a, U>,
    pub(super) tokens: &'a Range<usize>,
    pub(super) to: &'a mut [bf16],
}

impl<U: Unit> Task for PackKeys<'_, U> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let keys = self.tokens.len().next_multiple_of(DEPTH);
        let firsts = (self.tokens.start..).step_by(SIDE).take(keys / SIDE);
        let tiles = self.to.chunks_exact_mut(self.from.steps() * TILE);
        for (first, to) in firsts.zip(tiles) {
            for (step, to) in to.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
                let mut rows: [&[bf16]; SIDE] = [&[]; SIDE];
                for (key, row) in (first..).zip(&mut rows) {
                    *row = self.from.elements(key, step * DEPTH);
                }
                // SAFETY: the level promises the unit.
                unsafe { U::transpose(&rows, to) }
            }
        }
    }
}

/// Values to a right operand whose depth are the keys: `[dim / 16, key / 32, 16, 16, 2]`, zeros
/// where there is no key or no element.
pub(super) struct PackValues<'a, U> {
    pub(super) from: Source<'a, U>,
    pub(super) tokens: &'a Range<usize>,
    pub(super) to: &'a mut [bf16],
}

impl<U: Unit> Task for PackValues<'_, U> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let pairs = self.tokens.len().div_ceil(DEPTH) * SIDE;
        // Elements from one column of tiles to the next.
        let column = pairs * DEPTH;
        for pair in 0..pairs {
            let key = self.tokens.start + 2 * pair;
            let to = &mut self.to[pair * DEPTH..];
            for (d, to) in (0..self.from.from.dim)
                .step_by(DEPTH)
                .zip(to.chunks_mut(2 * column))
            {
                let both = [key, key + 1].map(|key| self.from.elements(key, d));
                let (left, right) = to.split_at_mut(column.min(to.len()));
                let left = left.first_chunk_mut::<DEPTH>();
                let left = left.expect("there is a tile for each sixteen elements");
                // SAFETY: the level promises the unit.
                unsafe { U::interleave(both, left, right.first_chunk_mut::<DEPTH>()) }
            }
        }
    }
}

/// Writes what a block of queries has come to: the sums of values by the sums of weights.
pub(super) struct Finish<'a, U> {
    pub(super) running: Running<'a>,
    pub(super) tokens: usize,
    pub(super) to: HeadTarget<bf16>,
    pub(super) unit: PhantomData<fn() -> U>,
}

impl<U: Unit> Task for Finish<'_, U> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self {
            running,
            tokens,
            to,
            ..
        } = self;
        for row in 0..tokens {
            let (_, sum) = running.total(row);
            let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            let start = row / SIDE * running.columns * SUMS + row % SIDE * SIDE;
            // SAFETY: the token is this task's to write.
            let to =
                unsafe { std::slice::from_raw_parts_mut(to.start.add(row * to.stride), to.dim) };
            for (column, to) in to.chunks_mut(SIDE).enumerate() {
                let from = running.out[start + column * SUMS..].first_chunk::<SIDE>();
                let from = from.expect("there is a tile for each sixteen elements");
                // SAFETY: the level promises the unit.
                unsafe { U::scale(from, factor, to) }
            }
        }
    }
}
