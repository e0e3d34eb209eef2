//! How the tokens of one sequence are cut into tasks and tiles: by its shape, nothing else.

use std::ops::Range;

use super::product::VECTORS;
use super::simd::Simd;
use super::spec::{AttentionSpec, Mask};

/// Tokens of the rows' side that are in work at a time: their rows and the block of weights stay
/// in the first cache.
pub(super) const TILE: usize = 64;

/// Tokens in the widest block of the widest vectors, and a multiple of all others.
pub(super) const BLOCK: usize = VECTORS * 16;

/// Tokens of the lanes' side, cut into groups that share every packed tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Groups {
    tokens: usize,
    len: usize,
    /// How many groups.
    pub(super) count: usize,
}

impl Groups {
    /// `held` is the number of elements that a task holds per token.
    pub(super) fn new(spec: &AttentionSpec, tokens: usize, held: usize) -> Self {
        // A part of the second cache.
        const HELD: usize = 1 << 17;
        // What one sample should at least be cut into, for the threads.
        const PER_SAMPLE: usize = 16;
        let blocks = tokens.div_ceil(BLOCK);
        let pairs = (spec.sequences[1] * spec.heads).max(1);
        let spread = blocks / PER_SAMPLE.div_ceil(pairs);
        let most = (HELD / (BLOCK * held.max(1)))
            .clamp(2, 16)
            .min(spread)
            .max(1);
        let count = blocks.div_ceil(most);
        let len = blocks.div_ceil(count.max(1)) * BLOCK;
        Self { tokens, len, count }
    }

    /// The tokens of a group.
    pub(super) fn range(self, group: usize) -> Range<usize> {
        group * self.len..((group + 1) * self.len).min(self.tokens)
    }

    /// The most tokens of a group, in whole blocks.
    pub(super) fn len(self) -> usize {
        self.len
    }
}

/// A few tokens of a group that stand in the lanes together.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The tokens.
    pub(super) tokens: Range<usize>,
    /// The first one, counted from the group's first.
    at: usize,
    /// Lanes: the tokens, up to a whole number of vectors.
    pub(super) width: usize,
}

impl Block {
    /// The block's part of what is held for a group.
    #[inline(always)]
    pub(super) fn part<'a>(&self, held: &'a mut [f32], per_lane: usize) -> &'a mut [f32] {
        &mut held[self.at * per_lane..][..self.width * per_lane]
    }
}

/// A group of tokens, cut into blocks.
#[inline(always)]
pub(super) fn blocks<S: Simd>(group: &Range<usize>) -> impl Iterator<Item = Block> {
    let Range { start, end } = *group;
    let step = VECTORS * S::LANES;
    (start..end).step_by(step).map(move |first| {
        let tokens = first..(first + step).min(end);
        let width = tokens.len().next_multiple_of(S::LANES);
        Block {
            tokens,
            at: first - start,
            width,
        }
    })
}

/// Consecutive items that make a task worth its overhead, where one takes `work` multiplications.
pub(super) fn items_per_task(work: usize) -> usize {
    ((1 << 21) / work.max(1)).max(1)
}

/// Which tokens of the rows' side a token of the lanes' side meets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    mask: Mask,
    lanes_are_keys: bool,
    rows: usize,
    lanes: usize,
}

impl Side {
    /// Queries in the lanes, keys as rows.
    pub(super) fn queries(spec: &AttentionSpec) -> Self {
        Self {
            mask: spec.mask,
            lanes_are_keys: false,
            rows: spec.keys,
            lanes: spec.queries,
        }
    }

    /// Keys in the lanes, queries as rows.
    pub(super) fn keys(spec: &AttentionSpec) -> Self {
        Self {
            mask: spec.mask,
            lanes_are_keys: true,
            rows: spec.queries,
            lanes: spec.keys,
        }
    }

    fn rows_of(self, lane: usize) -> Range<usize> {
        if self.lanes_are_keys {
            self.mask.queries(lane, self.rows)
        } else {
            self.mask.keys(lane, self.rows)
        }
    }

    fn lanes_of(self, row: usize) -> Range<usize> {
        if self.lanes_are_keys {
            self.mask.keys(row, self.lanes)
        } else {
            self.mask.queries(row, self.lanes)
        }
    }

    /// The rows that meet any of the lanes. (Both ends of `rows_of` only ever grow.)
    fn rows_of_any(self, lanes: &Range<usize>) -> Range<usize> {
        self.rows_of(lanes.start).start..self.rows_of(lanes.end - 1).end
    }

    /// The tiles of rows that meet any of the lanes.
    pub(super) fn tiles_of_any(self, lanes: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let rows = self.rows_of_any(lanes);
        let tiles = (rows.start / TILE * TILE..rows.end).step_by(TILE);
        tiles.map(move |start| start..(start + TILE).min(self.rows))
    }

    /// Whether any of the rows meets any of the lanes.
    pub(super) fn any_meet(self, rows: &Range<usize>, lanes: &Range<usize>) -> bool {
        let met = self.rows_of_any(lanes);
        met.start < rows.end && rows.start < met.end
    }

    /// Whether each of the rows meets each of the lanes.
    pub(super) fn all_meet(self, rows: &Range<usize>, lanes: &Range<usize>) -> bool {
        self.rows_of(lanes.end - 1).start <= rows.start && rows.end <= self.rows_of(lanes.start).end
    }

    /// Makes `block` (`[rows, width]`) minus infinity where row and lane do not meet.
    pub(super) fn hide(self, rows: &Range<usize>, lanes: &Range<usize>, block: &mut [f32]) {
        let width = block.len() / rows.len();
        for (row, logits) in rows.clone().zip(block.chunks_exact_mut(width)) {
            let meets = self.lanes_of(row);
            let start = meets.start.clamp(lanes.start, lanes.end) - lanes.start;
            let end = meets.end.clamp(lanes.start, lanes.end) - lanes.start;
            logits[..start].fill(f32::NEG_INFINITY);
            logits[end.max(start)..].fill(f32::NEG_INFINITY);
        }
    }
}
