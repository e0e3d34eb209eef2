//! The forward pass in matrix tiles (AMX), for bf16.
//!
//! Queries are the rows of a block of [`QUERIES`], keys come by in tiles of [`KEYS`]: their products
//! in tiles, weights in vectors of f32, which are rounded to bf16 for the products with the values.
//! Logits, sums of weights and weighted sums of values are f32. All operands are copied to where
//! the tile unit reads them fast; the keys' and values' copies serve all queries of a group.
//!
//! # Source
//! Dao et al. 2022 (arXiv:2205.14135), algorithm 1, with its loops exchanged.

mod group;
#[cfg(target_arch = "x86_64")]
mod lines;
#[cfg(target_arch = "x86_64")]
mod multiply;
mod pack;
#[cfg(test)]
mod plain;
mod unit;
mod weights;

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use self::unit::{DEPTH, SIDE, SUMS, TILE};
use self::weights::{LOWER, Running};
use super::scratch::with_scratch;
use super::simd::{Simd, Task, dispatch};
use super::spec::{AttentionSpec, Inputs, Shared, TokensMut};
use super::tiling::items_per_task;
use crate::cpu::element::halves;
use crate::cpu::level::Level;

#[cfg(test)]
pub(super) use self::plain::Plain;
pub(super) use self::unit::{Hardware, Unit};

/// Queries of a block: two tiles of rows.
const QUERIES: usize = 2 * SIDE;

/// Keys that a block meets at a time: with their values they stay in the first cache, beside the
/// logits.
const KEYS: usize = 64;

/// Whether the tile unit is to compute this for bf16: by the shape of a sequence. (Sequences of up
/// to a tile are mostly padding: measured to be slower than in f32.)
pub(super) fn suit(level: Level, spec: &AttentionSpec) -> bool {
    level.prefers_half() && spec.queries > SIDE && spec.keys > SIDE
}

/// [`attention`](super::attention), of operands that have been checked.
pub(super) fn attention<U: Unit>(
    level: Level,
    spec: &AttentionSpec,
    inputs: Inputs<'_, bf16>,
    out: TokensMut<'_, bf16>,
    log_sum_exp: Option<&mut [f32]>,
) {
    let pass = Forward::<U> {
        spec,
        inputs,
        blocks: blocks_per_group(spec),
        out: Shared::new(spec, spec.queries, out),
        sums: log_sum_exp.map(|sums| spec.share_per_head(sums)),
        unit: std::marker::PhantomData,
    };
    let items = spec.pairs() * pass.groups();
    let group = (pass.blocks * QUERIES).min(spec.queries);
    let per_task = items_per_task(group * spec.keys * spec.dim / 4);
    let lengths = pass.scratch_lengths();
    (0..items.div_ceil(per_task))
        .into_par_iter()
        .for_each(|task| {
            let items = task * per_task..((task + 1) * per_task).min(items);
            with_scratch(lengths, |[q, out, sums, stats, k, v, logits, next]| {
                let [q, k, v] = [q, k, v].map(halves);
                U::begin();
                let task = ForwardTask {
                    pass: &pass,
                    items,
                    held: Held {
                        q,
                        out,
                        sums,
                        stats,
                    },
                    tile: Tile {
                        packed: Packed { k, v },
                        logits: [logits, next],
                    },
                };
                dispatch(level, false, task);
                U::end();
            });
        });
}

/// How many blocks of queries share a copy of the keys: by the shape of a sample.
fn blocks_per_group(spec: &AttentionSpec) -> usize {
    // Bytes of queries and sums: a part of the second cache.
    const HELD: usize = 3 << 18;
    // What one sample should at least be cut into, for the threads.
    const PER_SAMPLE: usize = 16;
    let blocks = spec.queries.div_ceil(QUERIES);
    let pairs = (spec.sequences[1] * spec.heads).max(1);
    let spread = blocks / PER_SAMPLE.div_ceil(pairs);
    let most = (HELD / (QUERIES * (spec.dim * 6 + 72))).max(4);
    let most = most.min(spread.max(4));
    blocks.div_ceil(blocks.div_ceil(most).max(1)).max(1)
}

/// What all tasks share.
struct Forward<'a, U> {
    spec: &'a AttentionSpec,
    inputs: Inputs<'a, bf16>,
    /// Blocks of queries in a group.
    blocks: usize,
    out: Shared<'a, bf16>,
    sums: Option<Shared<'a, f32>>,
    unit: std::marker::PhantomData<fn() -> U>,
}

/// What a task keeps of its group of queries, block by block.
struct Held<'a> {
    /// Queries: `[2, steps, 16, 32]`, as [`PackQueries`](pack::PackQueries) has it.
    q: &'a mut [bf16],
    /// As in [`Running`].
    out: &'a mut [f32],
    /// As there.
    sums: &'a mut [f32],
    /// Bases and limits: `[2, QUERIES]`.
    stats: &'a mut [f32],
}

/// What a task needs for some tiles of keys at a time.
struct Tile<'a> {
    packed: Packed<'a>,
    /// As in [`Weigh`](weights::Weigh): while one tile's become weights, the next one's arise.
    logits: [&'a mut [f32]; 2],
}

/// Keys and values, tile by tile.
struct Packed<'a> {
    /// As [`PackKeys`](pack::PackKeys) has it.
    k: &'a mut [bf16],
    /// As [`PackValues`](pack::PackValues) has it.
    v: &'a mut [bf16],
}

impl<U: Unit> Forward<'_, U> {
    fn groups(&self) -> usize {
        self.spec.queries.div_ceil(self.blocks * QUERIES)
    }

    /// Steps of depth of a query's product with a key, and tiles of columns of an output.
    fn tiles(&self) -> [usize; 2] {
        [self.spec.dim.div_ceil(DEPTH), self.spec.dim.div_ceil(SIDE)]
    }

    /// Tiles of keys that are packed at a time: a part of the second cache.
    fn tiles_per_chunk(&self) -> usize {
        const BYTES: usize = 3 << 18;
        let [steps, columns] = self.tiles();
        let tile = KEYS * (steps * DEPTH + columns * SIDE) * size_of::<bf16>();
        (BYTES / tile).max(1)
    }

    /// Lengths of the parts of [`Held`], then those of [`Tile`], all in f32.
    fn scratch_lengths(&self) -> [usize; 8] {
        let [steps, columns] = self.tiles();
        let keys = (self.tiles_per_chunk() * KEYS).min(self.spec.keys.next_multiple_of(DEPTH));
        [
            self.blocks * steps * TILE,
            self.blocks * columns * 2 * SUMS,
            self.blocks * QUERIES * 16,
            self.blocks * QUERIES * 2,
            keys * steps * DEPTH / 2,
            keys * columns * SIDE / 2,
            2 * LOWER,
            2 * LOWER,
        ]
    }

    /// The pair of sequence and head of an item, and its queries. Where queries are most of what is
    /// read, the heads of a group, which lie side by side, follow one another.
    fn place(&self, item: usize) -> (usize, Range<usize>) {
        let (heads, groups) = (self.spec.heads, self.groups());
        let (pair, group) = if self.spec.keys > KEYS {
            (item / groups, item % groups)
        } else {
            let (sequence, rest) = (item / (heads * groups), item % (heads * groups));
            (sequence * heads + rest % heads, rest / heads)
        };
        let len = self.blocks * QUERIES;
        (
            pair,
            group * len..((group + 1) * len).min(self.spec.queries),
        )
    }
}

impl<U: Unit> Forward<'_, U> {
    /// Has what an item begins with, and what it comes to, brought closer. Where items are short,
    /// the processor does not foresee their reads.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, item: usize) {
        let (spec, inputs) = (self.spec, &self.inputs);
        let (pair, Range { start, end }) = self.place(item);
        let first = start..end.min(start + QUERIES);
        inputs.q.head(spec, pair).prefetch::<S>(first.clone());
        self.out.head(spec, pair, start).prefetch::<S>(first.len());
        let first = 0..spec.keys.min(KEYS);
        if !first.is_empty() {
            inputs.k.head(spec, pair).prefetch::<S>(first.clone());
            inputs.v.head(spec, pair).prefetch::<S>(first);
        }
    }
}

/// Some items: each one group of queries of one pair of sequence and head.
struct ForwardTask<'a, U> {
    pass: &'a Forward<'a, U>,
    items: Range<usize>,
    held: Held<'a>,
    tile: Tile<'a>,
}

impl<U: Unit> Task for ForwardTask<'_, U> {
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        for item in self.items.clone() {
            if item + 1 < self.items.end {
                self.pass.prefetch::<S>(item + 1);
            }
            let (pair, queries) = self.pass.place(item);
            self.group::<S>(pair, &queries);
        }
    }
}

/// What is held of one block of queries.
struct HeldBlock<'a> {
    q: &'a mut [bf16],
    running: Running<'a>,
}

impl Held<'_> {
    fn block(&mut self, index: usize, [steps, columns]: [usize; 2]) -> HeldBlock<'_> {
        let stats = &mut self.stats[index * 2 * QUERIES..][..2 * QUERIES];
        let (base, limit) = stats.split_at_mut(QUERIES);
        HeldBlock {
            q: &mut self.q[index * 2 * steps * TILE..][..2 * steps * TILE],
            running: Running {
                out: &mut self.out[index * 2 * columns * SUMS..][..2 * columns * SUMS],
                columns,
                sums: &mut self.sums[index * QUERIES * 16..][..QUERIES * 16],
                base,
                limit,
            },
        }
    }
}

/// The blocks of a group, numbered.
fn blocks(queries: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
    let end = queries.end;
    let starts = queries.clone().step_by(QUERIES);
    starts
        .map(move |start| start..(start + QUERIES).min(end))
        .enumerate()
}
