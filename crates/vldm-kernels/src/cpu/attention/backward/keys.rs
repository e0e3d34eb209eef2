//! The pass with keys in the lanes: the gradients of keys and values, and of the queries where a
//! task does a whole sequence.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use super::{BackwardTask, Memory};
use crate::cpu::attention::pack::row_stride;
use crate::cpu::attention::product::{Accumulate, ROWS, Rows, Scores, Spread, Start, VECTORS};
use crate::cpu::attention::simd::Simd;
use crate::cpu::attention::softmax::SoftmaxGradient;
use crate::cpu::attention::tiling::{Block, Side, TILE, blocks};
use crate::cpu::element::Element;

impl<T: Element> BackwardTask<'_, T> {
    /// All gradients of a head.
    #[inline(always)]
    pub(super) fn whole<S: Simd>(&mut self, pair: usize) {
        let (spec, pass) = (self.pass.spec, self.pass);
        self.memory.dq.fill(0.0);
        for group in 0..pass.key_groups.count {
            self.key_group::<S>(pair, &pass.key_groups.range(group));
        }
        let rows = Rows {
            data: &*self.memory.dq,
            stride: row_stride(spec.dim),
        };
        let to = pass.dq.head(spec, pair, 0);
        // SAFETY: the queries are this item's, and this item is only this task's.
        unsafe { to.unpack_rows::<S>(spec.queries, rows, spec.scale()) }
    }

    #[inline(always)]
    pub(super) fn key_group<S: Simd>(&mut self, pair: usize, keys: &Range<usize>) {
        let (spec, pass) = (self.pass.spec, self.pass);
        let padded = spec.dim.next_multiple_of(ROWS);
        for block in blocks::<S>(keys) {
            self.pack_keys::<S>(pair, &block);
        }
        let memory = &mut self.memory;
        if !memory.dq.is_empty() {
            let k = pass.inputs.k.head(spec, pair);
            k.pack_rows::<S>(keys, memory.key_rows);
        }
        let side = Side::keys(spec);
        for queries in side.tiles_of_any(keys) {
            let [q, d_out] = &mut memory.rows;
            let q = pass.inputs.q.head(spec, pair).pack_rows::<S>(&queries, q);
            let from = pass.saved.d_out.head(spec, pair);
            let d_out = from.pack_rows::<S>(&queries, d_out);
            let (lse, delta) = memory.stats.split_at_mut(TILE);
            pass.stats(pair, &queries, lse, delta);
            let tile = Tile {
                side,
                queries: &queries,
                q,
                d_out,
                lse,
                delta,
            };
            for block in blocks::<S>(keys).filter(|b| side.any_meet(&queries, &b.tokens)) {
                let ([k, v], [dk, dv]) = (&mut memory.lanes, &mut memory.sums);
                let step = Step {
                    dim: spec.dim,
                    k: block.part(k, spec.dim),
                    v: block.part(v, spec.dim),
                    dk: block.part(dk, padded),
                    dv: block.part(dv, padded),
                    weights: &mut *memory.weights,
                    d_weights: &mut *memory.d_weights,
                };
                match block.width / S::LANES {
                    1 => step.run::<S, 1>(tile, &block.tokens),
                    2 => step.run::<S, 2>(tile, &block.tokens),
                    _ => step.run::<S, VECTORS>(tile, &block.tokens),
                }
                if !memory.dq.is_empty() {
                    let stride = row_stride(spec.dim);
                    let to = &mut memory.dq[queries.start * stride..];
                    let data = &*memory.key_rows;
                    let weights = (&*memory.d_weights, queries.len());
                    add_to_queries::<S>(
                        spec.dim,
                        weights,
                        Rows { data, stride },
                        (keys, &block),
                        to,
                    );
                }
            }
        }
        self.write_keys::<S>(pair, keys);
    }

    /// Writes the gradients of a group of keys and their values.
    #[inline(always)]
    fn write_keys<S: Simd>(&mut self, pair: usize, keys: &Range<usize>) {
        let (spec, pass, memory) = (self.pass.spec, self.pass, &mut self.memory);
        let padded = spec.dim.next_multiple_of(ROWS);
        for block in blocks::<S>(keys) {
            let Memory {
                sums: [dk, dv],
                weights,
                ..
            } = memory;
            let factors = &mut weights[..block.width];
            for (to, from, factor) in [(pass.dk, dk, spec.scale()), (pass.dv, dv, 1.0)] {
                factors.fill(factor);
                let to = to.head(spec, pair, block.tokens.start);
                // SAFETY: the keys are this item's, and this item is only this task's.
                unsafe { to.unpack::<S>(block.tokens.len(), block.part(from, padded), factors) }
            }
        }
    }

    #[inline(always)]
    fn pack_keys<S: Simd>(&mut self, pair: usize, block: &Block) {
        let (spec, inputs, memory) = (self.pass.spec, &self.pass.inputs, &mut self.memory);
        let (first, count) = (block.tokens.start, block.tokens.len());
        let factors = [spec.scale() * LOG2_E, 1.0];
        for (from, (to, factor)) in [inputs.k, inputs.v]
            .iter()
            .zip(memory.lanes.iter_mut().zip(factors))
        {
            let from = from.head(spec, pair).skip(first);
            from.pack_lanes::<S>(count, factor, block.part(to, spec.dim));
        }
        for sums in &mut memory.sums {
            block.part(sums, spec.dim.next_multiple_of(ROWS)).fill(0.0);
        }
    }
}

/// What a block of keys adds to the gradients of some queries; `rows` are all `keys` of the group.
#[inline(always)]
fn add_to_queries<S: Simd>(
    dim: usize,
    (weights, queries): (&[f32], usize),
    rows: Rows<'_>,
    (keys, block): (&Range<usize>, &Block),
    to: &mut [f32],
) {
    let queries = queries.next_multiple_of(ROWS);
    let first = block.tokens.start - keys.start;
    S::outlined(Spread {
        weights: &weights[..queries * block.width],
        width: block.width,
        rows: Rows {
            data: &rows.data[first * rows.stride..],
            ..rows
        },
        lanes: block.tokens.len(),
        dim,
        out: &mut to[..queries * rows.stride],
    });
}

/// Queries and the gradients of their outputs as rows.
#[derive(Clone, Copy)]
struct Tile<'a> {
    side: Side,
    queries: &'a Range<usize>,
    q: Rows<'a>,
    d_out: Rows<'a>,
    lse: &'a [f32],
    delta: &'a [f32],
}

/// A block of keys, to meet a tile.
struct Step<'a> {
    dim: usize,
    k: &'a [f32],
    v: &'a [f32],
    dk: &'a mut [f32],
    dv: &'a mut [f32],
    weights: &'a mut [f32],
    d_weights: &'a mut [f32],
}

impl Step<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, tile: Tile<'_>, keys: &Range<usize>) {
        let rows = tile.queries.len();
        S::outlined(Scores::<V> {
            rows: tile.q,
            tokens: rows,
            block: self.k,
            out: &mut *self.weights,
        });
        S::outlined(Scores::<V> {
            rows: tile.d_out,
            tokens: rows,
            block: self.v,
            out: &mut *self.d_weights,
        });
        let weights = &mut self.weights[..rows * V * S::LANES];
        let d_weights = &mut self.d_weights[..rows * V * S::LANES];
        if !tile.side.all_meet(tile.queries, keys) {
            tile.side.hide(tile.queries, keys, weights);
        }
        S::outlined(SoftmaxGradient::<V, true> {
            logits: &mut *weights,
            d_weights: &mut *d_weights,
            lse: tile.lse,
            delta: tile.delta,
        });
        S::outlined(Accumulate::<V> {
            rows: tile.d_out,
            dim: self.dim,
            weights,
            start: Start::Held,
            out: self.dv,
        });
        S::outlined(Accumulate::<V> {
            rows: tile.q,
            dim: self.dim,
            weights: d_weights,
            start: Start::Held,
            out: self.dk,
        });
    }
}
