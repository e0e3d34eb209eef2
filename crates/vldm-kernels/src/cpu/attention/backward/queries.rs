//! The pass with queries in the lanes: the gradient of the queries.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use super::{BackwardTask, Memory};
use crate::cpu::attention::product::{Accumulate, ROWS, Rows, Scores, Start, VECTORS};
use crate::cpu::attention::simd::Simd;
use crate::cpu::attention::softmax::SoftmaxGradient;
use crate::cpu::attention::tiling::{Block, Side, blocks};
use crate::cpu::element::Element;

impl<T: Element> BackwardTask<'_, T> {
    #[inline(always)]
    pub(super) fn query_group<S: Simd>(&mut self, pair: usize, queries: &Range<usize>) {
        let (spec, pass) = (self.pass.spec, self.pass);
        for block in blocks::<S>(queries) {
            self.pack_queries::<S>(pair, &block);
        }
        let memory = &mut self.memory;
        let side = Side::queries(spec);
        for keys in side.tiles_of_any(queries) {
            let [k, v] = &mut memory.rows;
            let k = pass.inputs.k.head(spec, pair).pack_rows::<S>(&keys, k);
            let v = pass.inputs.v.head(spec, pair).pack_rows::<S>(&keys, v);
            let tile = Tile {
                side,
                keys: &keys,
                k,
                v,
            };
            for block in blocks::<S>(queries).filter(|b| side.any_meet(&keys, &b.tokens)) {
                let [q, d_out] = &mut memory.lanes;
                let (lse, delta) = block.part(memory.stats, 2).split_at(block.width);
                let step = Step {
                    dim: spec.dim,
                    q: block.part(q, spec.dim),
                    d_out: block.part(d_out, spec.dim),
                    lse,
                    delta,
                    dq: block.part(memory.sums[0], spec.dim.next_multiple_of(ROWS)),
                    weights: &mut *memory.weights,
                    d_weights: &mut *memory.d_weights,
                };
                match block.width / S::LANES {
                    1 => step.run::<S, 1>(tile, &block.tokens),
                    2 => step.run::<S, 2>(tile, &block.tokens),
                    _ => step.run::<S, VECTORS>(tile, &block.tokens),
                }
            }
        }
        for block in blocks::<S>(queries) {
            let to = pass.dq.head(spec, pair, block.tokens.start);
            let Memory { sums, weights, .. } = memory;
            let dq = block.part(sums[0], spec.dim.next_multiple_of(ROWS));
            let factors = &mut weights[..block.width];
            factors.fill(spec.scale());
            // SAFETY: the queries are this item's, and this item is only this task's.
            unsafe { to.unpack::<S>(block.tokens.len(), dq, factors) }
        }
    }

    #[inline(always)]
    fn pack_queries<S: Simd>(&mut self, pair: usize, block: &Block) {
        let (spec, pass, memory) = (self.pass.spec, self.pass, &mut self.memory);
        let (first, count) = (block.tokens.start, block.tokens.len());
        let q = pass.inputs.q.head(spec, pair).skip(first);
        let d_out = pass.saved.d_out.head(spec, pair).skip(first);
        let [q_lanes, d_out_lanes] = &mut memory.lanes;
        q.pack_lanes::<S>(count, spec.scale() * LOG2_E, block.part(q_lanes, spec.dim));
        d_out.pack_lanes::<S>(count, 1.0, block.part(d_out_lanes, spec.dim));
        let (lse, delta) = block.part(memory.stats, 2).split_at_mut(block.width);
        pass.stats(pair, &block.tokens, lse, delta);
        block
            .part(memory.sums[0], spec.dim.next_multiple_of(ROWS))
            .fill(0.0);
    }
}

/// Keys and values as rows.
#[derive(Clone, Copy)]
struct Tile<'a> {
    side: Side,
    keys: &'a Range<usize>,
    k: Rows<'a>,
    v: Rows<'a>,
}

/// A block of queries, to meet a tile.
struct Step<'a> {
    dim: usize,
    q: &'a [f32],
    d_out: &'a [f32],
    lse: &'a [f32],
    delta: &'a [f32],
    dq: &'a mut [f32],
    weights: &'a mut [f32],
    d_weights: &'a mut [f32],
}

impl Step<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, tile: Tile<'_>, queries: &Range<usize>) {
        let rows = tile.keys.len();
        S::outlined(Scores::<V> {
            rows: tile.k,
            tokens: rows,
            block: self.q,
            out: &mut *self.weights,
        });
        S::outlined(Scores::<V> {
            rows: tile.v,
            tokens: rows,
            block: self.d_out,
            out: &mut *self.d_weights,
        });
        let weights = &mut self.weights[..rows * V * S::LANES];
        let d_weights = &mut self.d_weights[..rows * V * S::LANES];
        if !tile.side.all_meet(tile.keys, queries) {
            tile.side.hide(tile.keys, queries, weights);
        }
        S::outlined(SoftmaxGradient::<V, false> {
            logits: &mut *weights,
            d_weights: &mut *d_weights,
            lse: self.lse,
            delta: self.delta,
        });
        S::outlined(Accumulate::<V> {
            rows: tile.k,
            dim: self.dim,
            weights: d_weights,
            start: Start::Held,
            out: self.dq,
        });
    }
}
