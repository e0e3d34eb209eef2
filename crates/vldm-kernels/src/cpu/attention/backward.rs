//! The backward pass: weights computed once more from the log-sum-exp, tile by tile.
//!
//! Where a sample has enough heads to be cut into, and a head's queries fit into a cache, a task does
//! a whole head: keys are in the lanes, and the gradient of all queries is held. Elsewhere there are
//! two passes, so that every sum belongs to one task: the first has queries in the lanes and sums
//! over keys, for the gradient of the queries; the second has keys in the lanes and sums over
//! queries, for the gradients of keys and values. It computes the weights twice.

mod keys;
mod queries;

use std::f32::consts::LOG2_E;
use std::ops::Range;

use rayon::prelude::*;

use super::pack::row_stride;
use super::product::ROWS;
use super::scratch::with_scratch;
use super::simd::{Simd, Task, dispatch};
use super::spec::{AttentionSpec, Inputs, Shared, Tokens, TokensMut, check};
use super::tiling::{BLOCK, Groups, TILE, items_per_task};
use crate::cpu::element::Element;
use crate::cpu::level::Level;

/// What the forward pass left, and the gradient of its output.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a, T> {
    /// The output.
    pub out: Tokens<'a, T>,
    /// `[sequences, queries, heads]`.
    pub log_sum_exp: &'a [f32],
    /// The gradient of the output.
    pub d_out: Tokens<'a, T>,
}

/// Where the gradients of the operands go.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// That of the queries.
    pub dq: TokensMut<'a, T>,
    /// That of the keys.
    pub dk: TokensMut<'a, T>,
    /// That of the values.
    pub dv: TokensMut<'a, T>,
}

/// Gradients of [`attention`](super::attention).
///
/// # Shapes
/// As `spec` and the strides say.
///
/// # Source
/// Dao et al. 2022 (arXiv:2205.14135), algorithm 4; for large sequences its loop is taken apart in two.
pub fn attention_backward<T: Element>(
    level: Level,
    spec: &AttentionSpec,
    inputs: Inputs<'_, T>,
    saved: Saved<'_, T>,
    gradients: Gradients<'_, T>,
) {
    inputs.check(spec);
    check(spec, spec.queries, &saved.out);
    check(spec, spec.queries, &saved.d_out);
    assert_eq!(
        saved.log_sum_exp.len(),
        spec.log_sum_exp_len(),
        "attention: log_sum_exp"
    );
    let pass = Backward {
        spec,
        inputs,
        saved,
        dq: Shared::new(spec, spec.queries, gradients.dq),
        dk: Shared::new(spec, spec.keys, gradients.dk),
        dv: Shared::new(spec, spec.keys, gradients.dv),
        query_groups: Groups::new(spec, spec.queries, 3 * spec.dim),
        key_groups: Groups::new(spec, spec.keys, 4 * spec.dim),
    };
    if pass.is_whole() {
        pass.run(level, Part::Whole, spec.pairs());
    } else {
        pass.run(level, Part::Queries, spec.pairs() * pass.query_groups.count);
        pass.run(level, Part::Keys, spec.pairs() * pass.key_groups.count);
    }
}

/// What all tasks share.
struct Backward<'a, T> {
    spec: &'a AttentionSpec,
    inputs: Inputs<'a, T>,
    saved: Saved<'a, T>,
    dq: Shared<'a, T>,
    dk: Shared<'a, T>,
    dv: Shared<'a, T>,
    query_groups: Groups,
    key_groups: Groups,
}

/// What an item is.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// A group of queries.
    Queries,
    /// A group of keys.
    Keys,
    /// All queries and all keys.
    Whole,
}

/// A task's scratch, which both passes use alike; "lanes" are blocks of `[dim, width]`.
struct Memory<'a> {
    /// Two operands in the lanes.
    lanes: [&'a mut [f32]; 2],
    /// Their gradients, in the lanes.
    sums: [&'a mut [f32]; 2],
    /// Two operands as rows: `[TILE, row_stride]`.
    rows: [&'a mut [f32]; 2],
    /// Logits, then weights: `[TILE, width]`.
    weights: &'a mut [f32],
    /// Gradients of the weights, then of the logits: `[TILE, width]`.
    d_weights: &'a mut [f32],
    /// Log-sum-exp and `d_out . out` of queries, in the lanes or of a tile: `[2, queries]`.
    stats: &'a mut [f32],
    /// Keys of a group as rows, and the gradient of all queries; empty unless an item is a whole
    /// head.
    key_rows: &'a mut [f32],
    dq: &'a mut [f32],
}

impl<T: Element> Backward<'_, T> {
    /// Whether an item is a whole head: by the shape of a sample.
    fn is_whole(&self) -> bool {
        /// Elements of the queries' gradient that stay in the second cache.
        const HELD: usize = 1 << 18;
        /// Heads that give threads enough to do.
        const HEADS: usize = 8;
        let spec = self.spec;
        let is_one_group = self.query_groups.count.max(self.key_groups.count) <= 1;
        let fits = spec.queries * row_stride(spec.dim) <= HELD;
        is_one_group || (fits && spec.sequences[1] * spec.heads >= HEADS)
    }

    fn run(&self, level: Level, part: Part, items: usize) {
        let spec = self.spec;
        let per_task = items_per_task(7 * spec.queries * spec.keys * spec.dim);
        let lengths = self.scratch_lengths(part);
        (0..items.div_ceil(per_task))
            .into_par_iter()
            .for_each(|task| {
                let items = task * per_task..((task + 1) * per_task).min(items);
                with_scratch(lengths, |memory| {
                    let [
                        a,
                        b,
                        da,
                        db,
                        rows,
                        more,
                        weights,
                        d_weights,
                        stats,
                        key_rows,
                        dq,
                    ] = memory;
                    let memory = Memory {
                        lanes: [a, b],
                        sums: [da, db],
                        rows: [rows, more],
                        weights,
                        d_weights,
                        stats,
                        key_rows,
                        dq,
                    };
                    let narrow = spec.queries.max(spec.keys) <= 8;
                    let task = BackwardTask {
                        pass: self,
                        part,
                        items,
                        memory,
                    };
                    dispatch(level, narrow, task);
                });
            });
    }

    /// Lengths of the parts of [`Memory`].
    fn scratch_lengths(&self, part: Part) -> [usize; 11] {
        let spec = self.spec;
        let stride = row_stride(spec.dim);
        let most = self.query_groups.len().max(self.key_groups.len());
        let lanes = most * spec.dim;
        let sums = most * spec.dim.next_multiple_of(ROWS);
        let tile = TILE.min(spec.queries.max(spec.keys).next_multiple_of(ROWS));
        let rows = tile * stride;
        let weights = tile * BLOCK;
        let [key_rows, dq] = match part {
            Part::Whole => [
                self.key_groups.len().min(spec.keys) * stride,
                spec.queries.next_multiple_of(ROWS) * stride,
            ],
            _ => [0, 0],
        };
        [
            lanes,
            lanes,
            sums,
            sums,
            rows,
            rows,
            weights,
            weights,
            2 * most.max(TILE),
            key_rows,
            dq,
        ]
    }
}

/// Some items of a pass.
struct BackwardTask<'a, T> {
    pass: &'a Backward<'a, T>,
    part: Part,
    items: Range<usize>,
    memory: Memory<'a>,
}

impl<T: Element> Task for BackwardTask<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let (queries, keys) = (self.pass.query_groups, self.pass.key_groups);
        for item in self.items.clone() {
            match self.part {
                Part::Queries => {
                    let group = queries.range(item % queries.count);
                    self.query_group::<S>(item / queries.count, &group);
                }
                Part::Keys => {
                    let group = keys.range(item % keys.count);
                    self.key_group::<S>(item / keys.count, &group);
                }
                Part::Whole => {
                    self.prefetch::<S>(item);
                    self.whole::<S>(item);
                }
            }
        }
    }
}

impl<T: Element> Backward<'_, T> {
    /// What the weights and their gradients take from some queries: the log-sum-exp in powers of
    /// two, and `d_out . out`.
    #[inline(always)]
    fn stats(
        &self,
        pair: usize,
        queries: &Range<usize>,
        exponents: &mut [f32],
        deltas: &mut [f32],
    ) {
        let spec = self.spec;
        let log_sum_exp = Tokens {
            data: self.saved.log_sum_exp,
            strides: spec.per_head_strides(),
        };
        let log_sum_exp = log_sum_exp.head(&spec.per_head(), pair);
        let out = self.saved.out.head(spec, pair);
        let d_out = self.saved.d_out.head(spec, pair);
        for (t, (exponent, delta)) in queries.clone().zip(exponents.iter_mut().zip(deltas)) {
            *delta = dot(out.token(t), d_out.token(t));
            *exponent = match log_sum_exp.token(t)[0] {
                // The query sees no key: all weights are 0.
                f32::NEG_INFINITY => f32::INFINITY,
                x => x * LOG2_E,
            };
        }
    }
}

impl<T: Element> BackwardTask<'_, T> {
    /// Has what a short item writes and what the one after it reads brought closer.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, item: usize) {
        let pass = self.pass;
        let spec = pass.spec;
        let (queries, keys) = (spec.queries.min(TILE), spec.keys.min(TILE));
        pass.dq.head(spec, item, 0).prefetch::<S>(queries);
        pass.dk.head(spec, item, 0).prefetch::<S>(keys);
        pass.dv.head(spec, item, 0).prefetch::<S>(keys);
        if item + 1 < self.items.end && queries.min(keys) > 0 {
            for operand in [&pass.inputs.q, &pass.saved.out, &pass.saved.d_out] {
                operand.head(spec, item + 1).prefetch::<S>(0..queries);
            }
            for operand in [&pass.inputs.k, &pass.inputs.v] {
                operand.head(spec, item + 1).prefetch::<S>(0..keys);
            }
        }
    }
}

/// `a . b`.
#[inline(always)]
fn dot<T: Element>(a: &[T], b: &[T]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a.widen() * b.widen();
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += a.widen() * b.widen();
    }
    sums.iter().sum()
}
