//! One group of queries, and all keys that it sees.

use std::f32::consts::{LN_2, LOG2_E};
use std::marker::PhantomData;
use std::ops::Range;

use half::bf16;

use super::pack::{Finish, PackKeys, PackQueries, PackValues, Source};
use super::unit::{DEPTH, Product, SIDE, SUMS, TILE, Unit};
use super::weights::{LOWER, Running, Weigh};
use super::{Forward, ForwardTask, KEYS, Packed, QUERIES, blocks};
use crate::cpu::attention::simd::Simd;
use crate::cpu::attention::spec::{AttentionSpec, Mask};

impl<U: Unit> ForwardTask<'_, U> {
    /// Computes a group from its queries to its outputs.
    #[inline(always)]
    pub(super) fn group<S: Simd>(&mut self, pair: usize, queries: &Range<usize>) {
        let (spec, tiles) = (self.pass.spec, self.pass.tiles());
        for (index, block) in blocks(queries) {
            let mut held = self.held.block(index, tiles);
            let q = self.pass.inputs.q.head(spec, pair).skip(block.start);
            let rest = queries.end - block.start;
            q.prefetch::<S>(QUERIES.min(rest)..(2 * QUERIES).min(rest));
            S::outlined(PackQueries::<U> {
                from: Source::new(q, block.len()),
                to: held.q,
            });
            held.running.clear();
        }
        let first = spec.mask.keys(queries.start, spec.keys).start;
        let end = spec.mask.keys(queries.end - 1, spec.keys).end;
        let chunk = self.pass.tiles_per_chunk() * KEYS;
        for start in (first / chunk * chunk..end).step_by(chunk) {
            let keys = start.max(first / KEYS * KEYS)..(start + chunk).min(end);
            self.chunk::<S>(pair, &keys, queries);
        }
        for (index, block) in blocks(queries) {
            self.finish::<S>(pair, &block, index);
        }
    }

    /// Every query of the group meets some tiles of keys, one after the other. While logits of one
    /// tile become weights, those of the next one are on their way.
    #[inline(always)]
    fn chunk<S: Simd>(&mut self, pair: usize, keys: &Range<usize>, queries: &Range<usize>) {
        self.pack::<S>(pair, keys);
        let [mut logits, mut next] = self.tile.logits.each_mut().map(|logits| &mut **logits);
        for (index, block) in blocks(queries) {
            let held = self.held.block(index, self.pass.tiles());
            let mut running = held.running;
            let mut last: Option<Step<'_>> = None;
            for (at, keys) in tiles(keys, self.pass.spec.keys) {
                let Some(seen) = Seen::new(self.pass.spec, &block, &keys) else {
                    continue;
                };
                let step = self.tile.packed.step(self.pass, at, keys.len());
                step.logits::<U>(held.q, next);
                (logits, next) = (next, logits);
                if let Some(last) = last.replace(step) {
                    last.values::<U>(next, running.out);
                }
                step.weigh::<U>(logits, block.len(), &seen, running.reborrow());
            }
            if let Some(last) = last {
                last.values::<U>(logits, running.out);
            }
        }
    }

    /// Copies keys and values to tiles.
    #[inline(always)]
    fn pack<S: Simd>(&mut self, pair: usize, keys: &Range<usize>) {
        let (pass, spec) = (self.pass, self.pass.spec);
        let [steps, columns] = pass.tiles();
        for (at, tokens) in tiles(keys, spec.keys) {
            S::outlined(PackKeys::<U> {
                from: Source::new(pass.inputs.k.head(spec, pair), tokens.end),
                tokens: &tokens,
                to: &mut self.tile.packed.k[at * KEYS * steps * DEPTH..],
            });
            S::outlined(PackValues::<U> {
                from: Source::new(pass.inputs.v.head(spec, pair), tokens.end),
                tokens: &tokens,
                to: &mut self.tile.packed.v[at * KEYS * columns * SIDE..],
            });
        }
    }

    /// Writes what a block of queries has come to.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, pair: usize, block: &Range<usize>, index: usize) {
        let (pass, spec) = (self.pass, self.pass.spec);
        let running = self.held.block(index, pass.tiles()).running;
        if let Some(sums) = pass.sums {
            let sums = sums.head(&spec.per_head(), pair, block.start);
            for row in 0..block.len() {
                let (base, sum) = running.total(row);
                // SAFETY: the query is this item's, and this item is only this task's.
                unsafe { sums.write(row, (base + sum.log2()) * LN_2) }
            }
        }
        S::outlined(Finish::<U> {
            running,
            tokens: block.len(),
            to: pass.out.head(spec, pair, block.start),
            unit: PhantomData,
        });
    }
}

/// The tiles of some keys, numbered, of `all`.
fn tiles(keys: &Range<usize>, all: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let starts = keys.clone().step_by(KEYS);
    starts
        .map(move |start| start..(start + KEYS).min(all))
        .enumerate()
}

impl Packed<'_> {
    /// The tile at `at`, which has `keys` keys.
    #[inline(always)]
    fn step<'a, U: Unit>(&'a self, pass: &Forward<'a, U>, at: usize, keys: usize) -> Step<'a> {
        let [steps, columns] = pass.tiles();
        Step {
            spec: pass.spec,
            tiles: [steps, columns],
            pairs: keys.div_ceil(DEPTH),
            k: &self.k[at * KEYS * steps * DEPTH..],
            v: &self.v[at * KEYS * columns * SIDE..],
        }
    }
}

/// Which keys of a tile the queries of a block see.
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for the time of one tile"
)]
enum Seen {
    All,
    /// One bit per key, for each query.
    Some([u128; QUERIES]),
}

impl Seen {
    /// `None` if no query sees any.
    fn new(spec: &AttentionSpec, block: &Range<usize>, keys: &Range<usize>) -> Option<Self> {
        let is_whole = keys.len().is_multiple_of(DEPTH);
        if spec.mask == Mask::None && is_whole {
            return Some(Self::All);
        }
        // Both ends of what a query sees only ever grow.
        let [first, last] = [block.start, block.end - 1].map(|i| spec.mask.keys(i, spec.keys));
        if first.start >= keys.end || last.end <= keys.start {
            return None;
        }
        if is_whole && last.start <= keys.start && keys.end <= first.end {
            return Some(Self::All);
        }
        let mut seen = [0; QUERIES];
        for (query, seen) in block.clone().zip(&mut seen) {
            let Range { start, end } = spec.mask.keys(query, spec.keys);
            let [start, end] = [start, end].map(|at| at.clamp(keys.start, keys.end) - keys.start);
            *seen = below(end) & !below(start);
        }
        Some(Self::Some(seen))
    }
}

/// The lowest `n` bits.
fn below(n: usize) -> u128 {
    if n >= KEYS { !0 } else { (1 << n) - 1 }
}

/// One tile of keys, to meet blocks of queries.
#[derive(Clone, Copy)]
struct Step<'a> {
    spec: &'a AttentionSpec,
    /// As [`Forward::tiles`](super::Forward::tiles).
    tiles: [usize; 2],
    /// Pairs of tiles that hold keys: steps of depth of the product with the values.
    pairs: usize,
    k: &'a [bf16],
    v: &'a [bf16],
}

impl Step<'_> {
    /// Products of a block of queries and the keys.
    #[inline(always)]
    fn logits<U: Unit>(&self, q: &[bf16], logits: &mut [f32]) {
        let [steps, _] = self.tiles;
        assert!(q.len() >= 2 * steps * TILE && logits.len() >= 2 * LOWER);
        assert!(self.k.len() >= 2 * self.pairs * steps * TILE && 2 * self.pairs * SIDE <= KEYS);
        for pair in 0..self.pairs {
            let product = Product {
                left: q.as_ptr(),
                left_step: TILE,
                left_rows: steps * TILE,
                right: self.k[2 * pair * steps * TILE..].as_ptr(),
                right_columns: steps * TILE,
                sums: logits[2 * pair * SUMS..].as_mut_ptr(),
                sums_rows: LOWER,
                steps,
                is_wide: true,
                adds: false,
            };
            // SAFETY: the blocks are as large as asserted; the level promises the unit.
            unsafe { U::multiply(&product) }
        }
    }

    /// From logits to weights.
    #[inline(always)]
    fn weigh<U: Unit>(&self, logits: &mut [f32], rows: usize, seen: &Seen, running: Running<'_>) {
        let weigh = Weigh {
            logits,
            rows,
            pairs: self.pairs,
            scale: self.spec.scale() * LOG2_E,
            seen: match seen {
                Seen::All => None,
                Seen::Some(seen) => Some(seen),
            },
            running,
        };
        // SAFETY: the level promises the unit.
        unsafe { U::weigh(weigh) }
    }

    /// Adds the weighted values.
    #[inline(always)]
    fn values<U: Unit>(&self, weights: &[f32], out: &mut [f32]) {
        let [_, columns] = self.tiles;
        assert!(weights.len() >= 2 * LOWER && out.len() >= 2 * columns * SUMS);
        assert!(self.v.len() >= columns * self.pairs * TILE);
        for column in (0..columns).step_by(2) {
            let product = Product {
                left: weights.as_ptr().cast(),
                left_step: 2 * TILE,
                left_rows: 2 * LOWER,
                right: self.v[column * self.pairs * TILE..].as_ptr(),
                right_columns: self.pairs * TILE,
                sums: out[column * SUMS..].as_mut_ptr(),
                sums_rows: columns * SUMS,
                steps: self.pairs,
                is_wide: column + 1 < columns,
                adds: true,
            };
            // SAFETY: as above.
            unsafe { U::multiply(&product) }
        }
    }
}
