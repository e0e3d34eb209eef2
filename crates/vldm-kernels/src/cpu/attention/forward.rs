//! The forward pass: one loop over tiles of keys, with the softmax kept up to date.

use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

use rayon::prelude::*;

use super::Inputs;
use super::pack::row_stride;
use super::product::{Accumulate, ROWS, Rows, Scores, Start, VECTORS};
use super::scratch::with_scratch;
use super::simd::{Simd, Task, dispatch};
use super::softmax::{NO_LOGIT, SoftmaxStep};
use super::spec::{AttentionSpec, Shared, TokensMut, as_halves};
use super::tiles;
use super::tiling::{BLOCK, Block, Groups, Side, TILE, blocks, items_per_task};
use crate::cpu::element::Element;
use crate::cpu::level::Level;

/// Multi-head attention, scale `1 / sqrt(dim)`, without ever holding all weights of a head.
///
/// `log_sum_exp` receives the logarithm of each query's softmax denominator (minus infinity
/// where it sees no key), which the backward pass needs.
///
/// # Shapes
/// - `inputs`, `out`: as `spec` and their strides say
/// - `log_sum_exp`: `[sequences, queries, heads]`
///
/// # Source
/// Dao et al. 2022 (arXiv:2205.14135), algorithm 1, with its loops exchanged.
pub fn attention<T: Element>(
    level: Level,
    spec: &AttentionSpec,
    inputs: Inputs<'_, T>,
    mut out: TokensMut<'_, T>,
    log_sum_exp: Option<&mut [f32]>,
) {
    inputs.check(spec);
    if tiles::suit(level, spec)
        && let Some((inputs, out)) = as_halves(&inputs, &mut out)
    {
        return tiles::attention::<tiles::Hardware>(level, spec, inputs, out, log_sum_exp);
    }
    let smaller = if few_keys(spec) { 4 } else { 1 };
    let groups = Groups::new(spec, spec.queries, 2 * spec.dim * smaller);
    let pass = Forward {
        spec,
        inputs,
        groups,
        out: Shared::new(spec, spec.queries, out),
        sums: log_sum_exp.map(|sums| spec.share_per_head(sums)),
    };
    let items = spec.pairs() * groups.count;
    let per_task = items_per_task(2 * groups.len().min(spec.queries) * spec.keys * spec.dim);
    let lengths = scratch_lengths(spec, groups);
    (0..items.div_ceil(per_task))
        .into_par_iter()
        .for_each(|task| {
            let items = task * per_task..((task + 1) * per_task).min(items);
            with_scratch(lengths, |[q, sums, running, rows, weights, decay]| {
                let held = Held { q, sums, running };
                let tile = Tile {
                    rows,
                    weights,
                    decay,
                };
                let task = ForwardTask {
                    pass: &pass,
                    items,
                    held,
                    tile,
                };
                dispatch(level, spec.queries <= 8, task);
            });
        });
}

/// Whether queries are most of what is read: then the heads of a group of queries, which lie side
/// by side, follow one another; else the groups of a head, which share its keys.
fn few_keys(spec: &AttentionSpec) -> bool {
    spec.keys <= 2 * TILE
}

/// What all tasks share.
struct Forward<'a, T> {
    spec: &'a AttentionSpec,
    inputs: Inputs<'a, T>,
    groups: Groups,
    out: Shared<'a, T>,
    sums: Option<Shared<'a, f32>>,
}

/// What a task keeps of its group of queries, block by block.
struct Held<'a> {
    /// Queries: `[dim, width]`.
    q: &'a mut [f32],
    /// Weighted sums of values: `[dim, width]`.
    sums: &'a mut [f32],
    /// Maxima and denominators: `[2, width]`.
    running: &'a mut [f32],
}

/// What a task needs for one tile of keys at a time.
struct Tile<'a> {
    /// Keys, then values: `[2, TILE, row_stride]`.
    rows: &'a mut [f32],
    /// Logits, then weights: `[TILE, width]`.
    weights: &'a mut [f32],
    /// One per lane.
    decay: &'a mut [f32],
}

/// Lengths of the parts of [`Held`], then those of [`Tile`].
fn scratch_lengths(spec: &AttentionSpec, groups: Groups) -> [usize; 6] {
    let tile = TILE.min(spec.keys.next_multiple_of(ROWS));
    [
        groups.len() * spec.dim,
        groups.len() * spec.dim.next_multiple_of(ROWS),
        groups.len() * 2,
        tile * row_stride(spec.dim) * 2,
        tile * BLOCK,
        BLOCK,
    ]
}

/// Some items: each one group of queries of one pair of sequence and head.
struct ForwardTask<'a, T> {
    pass: &'a Forward<'a, T>,
    items: Range<usize>,
    held: Held<'a>,
    tile: Tile<'a>,
}

impl<T: Element> Task for ForwardTask<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let groups = self.pass.groups;
        for item in self.items.clone() {
            if item + 1 < self.items.end {
                self.prefetch::<S>(item + 1);
            }
            let (pair, group) = self.pass.place(item);
            self.group::<S>(pair, &groups.range(group));
        }
    }
}

impl<T: Element> ForwardTask<'_, T> {
    /// Has what an item begins with brought closer. Where items are short, the processor does not
    /// foresee their reads.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, item: usize) {
        let Forward { spec, inputs, .. } = self.pass;
        let (pair, group) = self.pass.place(item);
        let Range { start, end } = self.pass.groups.range(group);
        let first = start..end.min(start + BLOCK);
        inputs.q.head(spec, pair).prefetch::<S>(first);
        let first = 0..spec.keys.min(TILE);
        if !first.is_empty() {
            inputs.k.head(spec, pair).prefetch::<S>(first.clone());
            inputs.v.head(spec, pair).prefetch::<S>(first);
        }
    }

    #[inline(always)]
    fn group<S: Simd>(&mut self, pair: usize, queries: &Range<usize>) {
        let spec = self.pass.spec;
        let scale = spec.scale() * LOG2_E;
        for block in blocks::<S>(queries) {
            let q = self.pass.inputs.q.head(spec, pair).skip(block.tokens.start);
            q.prefetch::<S>(BLOCK..(2 * BLOCK).min(queries.end - block.tokens.start).max(BLOCK));
            let out = self.pass.out.head(spec, pair, block.tokens.start);
            out.prefetch::<S>(block.tokens.len());
            let held = self.held.block(&block, spec.dim);
            q.pack_lanes::<S>(block.tokens.len(), scale, held.q);
            held.sums.fill(0.0);
            held.max.fill(NO_LOGIT);
            held.sum.fill(0.0);
        }
        for keys in Side::queries(spec).tiles_of_any(queries) {
            self.tile::<S>(pair, &keys, queries);
        }
        for block in blocks::<S>(queries) {
            let held = self.held.block(&block, spec.dim);
            self.pass.finish::<S>(pair, &block.tokens, held);
        }
    }

    /// Every query of the group meets the keys of one tile.
    #[inline(always)]
    fn tile<S: Simd>(&mut self, pair: usize, keys: &Range<usize>, queries: &Range<usize>) {
        let (spec, inputs) = (self.pass.spec, &self.pass.inputs);
        let side = Side::queries(spec);
        let half = self.tile.rows.len() / 2;
        let next = keys.end..(keys.end + TILE).min(spec.keys);
        inputs.k.head(spec, pair).prefetch::<S>(next.clone());
        inputs.v.head(spec, pair).prefetch::<S>(next);
        let (k, v) = self.tile.rows.split_at_mut(half);
        let k = inputs.k.head(spec, pair).pack_rows::<S>(keys, k);
        let v = inputs.v.head(spec, pair).pack_rows::<S>(keys, v);
        for block in blocks::<S>(queries) {
            if !side.any_meet(keys, &block.tokens) {
                continue;
            }
            let mut step = Step {
                dim: spec.dim,
                side,
                keys,
                k,
                v,
                weights: &mut *self.tile.weights,
                decay: &mut *self.tile.decay,
            };
            let held = self.held.block(&block, spec.dim);
            match block.width / S::LANES {
                1 => step.run::<S, 1>(&block.tokens, held),
                2 => step.run::<S, 2>(&block.tokens, held),
                _ => step.run::<S, VECTORS>(&block.tokens, held),
            }
        }
    }
}

/// What is held of one block of queries.
struct HeldBlock<'a> {
    q: &'a mut [f32],
    sums: &'a mut [f32],
    max: &'a mut [f32],
    sum: &'a mut [f32],
}

impl Held<'_> {
    #[inline(always)]
    fn block(&mut self, block: &Block, dim: usize) -> HeldBlock<'_> {
        let (max, sum) = block.part(self.running, 2).split_at_mut(block.width);
        HeldBlock {
            q: block.part(self.q, dim),
            sums: block.part(self.sums, dim.next_multiple_of(ROWS)),
            max,
            sum,
        }
    }
}

/// One tile of keys, to meet blocks of queries.
struct Step<'a> {
    dim: usize,
    side: Side,
    keys: &'a Range<usize>,
    k: Rows<'a>,
    v: Rows<'a>,
    weights: &'a mut [f32],
    decay: &'a mut [f32],
}

impl Step<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(&mut self, queries: &Range<usize>, held: HeldBlock<'_>) {
        S::outlined(Scores::<V> {
            rows: self.k,
            tokens: self.keys.len(),
            block: held.q,
            out: &mut *self.weights,
        });
        let weights = &mut self.weights[..self.keys.len() * V * S::LANES];
        if !self.side.all_meet(self.keys, queries) {
            self.side.hide(self.keys, queries, weights);
        }
        S::outlined(SoftmaxStep::<V> {
            logits: &mut *weights,
            max: held.max,
            sum: held.sum,
            decay: &mut *self.decay,
        });
        S::outlined(Accumulate::<V> {
            rows: self.v,
            dim: self.dim,
            weights,
            start: Start::Scaled(self.decay),
            out: held.sums,
        });
    }
}

impl<T: Element> Forward<'_, T> {
    /// The pair of sequence and head of an item, and the group of queries.
    #[inline(always)]
    fn place(&self, item: usize) -> (usize, usize) {
        let (heads, groups) = (self.spec.heads, self.groups.count);
        if !few_keys(self.spec) {
            return (item / groups, item % groups);
        }
        let (sequence, rest) = (item / (heads * groups), item % (heads * groups));
        (sequence * heads + rest % heads, rest / heads)
    }

    /// Writes what a block of queries has come to.
    #[inline(always)]
    fn finish<S: Simd>(&self, pair: usize, queries: &Range<usize>, held: HeldBlock<'_>) {
        if let Some(sums) = self.sums {
            let sums = sums.head(&self.spec.per_head(), pair, queries.start);
            for (at, (max, sum)) in held.max.iter().zip(&*held.sum).enumerate() {
                if at < queries.len() {
                    // SAFETY: the query is this item's, and this item is only this task's.
                    unsafe { sums.write(at, (max + sum.log2()) * LN_2) }
                }
            }
        }
        for sum in &mut *held.sum {
            *sum = if *sum == 0.0 { 0.0 } else { 1.0 / *sum };
        }
        let out = self.out.head(self.spec, pair, queries.start);
        // SAFETY: as above.
        unsafe { out.unpack::<S>(queries.len(), held.sums, held.sum) }
    }
}
