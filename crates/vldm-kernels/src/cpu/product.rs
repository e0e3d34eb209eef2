//! Matrix products in blocks: the one loop under every convolution, linear layer and their
//! gradients.
//!
//! `out[row, column] = sum over depth of left[row, depth] * right[depth, column]`, where `right`
//! is a plain matrix in memory, `left` is anything that can copy a block of itself (pixels under a
//! moving kernel, rows of tokens) and what becomes of the sums is up to a [`Sink`].
//!
//! A task computes a block of rows times a range of columns. It walks the depth in steps: each
//! step copies a block of `left` once, then, panel by panel of [`PANEL`] columns, a block of
//! `right` into the first-level cache, and runs a micro-kernel down the rows. Copying costs a few
//! percent and buys everything else: padding, strides, skip connections and half precision are
//! matters of the copy, the micro-kernel sees aligned f32 or bf16.
//!
//! Every sum runs over the depth in the same order wherever its row and column fall into blocks,
//! so results depend neither on the number of threads nor on the batch.

mod floats;
mod panels;
mod parts;
mod plan;
mod scratch;
mod strips;
mod tiles;
mod turned;

use std::ops::Range;

use super::element::Element;
use super::level::Level;
use half::bf16;
pub(crate) use panels::{Halves, Packing};
use panels::{Packed, Panels};
pub(crate) use parts::product_in_parts;
use plan::Plan;
pub(crate) use strips::{STRIP, Strips};
pub(crate) use tiles::TILE_DEPTH;

/// Columns that a micro-kernel computes at once.
pub(crate) const PANEL: usize = 32;

/// Most rows of a block: it stays in the second-level cache.
const ROWS: usize = 224;

/// The left operand, copied block by block.
pub(crate) trait Left: Sync {
    /// How a copied block lies in memory: `[depth, row]` if true, else `[row, depth]`.
    const DEPTH_FIRST: bool;

    /// Copies the block of `rows` by `depth` to `block`, whose leading axis has `stride` elements.
    fn copy<E: Element>(
        &self,
        level: Level,
        rows: Range<usize>,
        depth: Range<usize>,
        block: &mut [E],
        stride: usize,
    );
}

/// The right operand: a matrix of `columns` without gaps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Right<'a, W> {
    /// The elements, `[depth, columns]`; with `inner`, `[depth / inner, columns, inner]`.
    pub(crate) values: &'a [W],
    /// Columns of the matrix.
    pub(crate) columns: usize,
    /// How many depths lie side by side in memory, if it is not columns that do.
    pub(crate) inner: Option<usize>,
}

/// Finished sums of a block of outputs, and where they belong.
#[derive(Debug, Clone)]
pub(crate) struct Sums<'a> {
    /// Rows of the block.
    pub(crate) rows: Range<usize>,
    /// Columns of the block.
    pub(crate) columns: Range<usize>,
    /// `[rows, stride]`; the first of each row are the columns, those of the
    /// [pair](Sink::pair) start at `pair`.
    pub(crate) values: &'a [f32],
    /// Elements from one row to the next.
    pub(crate) stride: usize,
    /// Where the paired columns start in a row.
    pub(crate) pair: usize,
}

impl Sums<'_> {
    /// The row `index` of the block and its sums.
    #[inline(always)]
    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride..][..self.columns.len()]
    }

    /// The sums of the paired columns in the row `index` of the block.
    #[inline(always)]
    pub(crate) fn paired_row(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride + self.pair..][..self.columns.len()]
    }
}

/// Where the finished sums go.
pub(crate) trait Sink: Sync {
    /// Takes the sums of a block; each output is delivered exactly once.
    fn write(&self, level: Level, sums: Sums<'_>);

    /// Has the places of outputs brought closer that are delivered soon.
    fn prefetch(&self, _rows: Range<usize>, _column: usize) {}

    /// Distance to a second half of the columns that the sink wants side by side with the first
    /// half: blocks are then ranges of the first half only.
    fn pair(&self) -> Option<usize> {
        None
    }
}

/// `rows`×`depth` of `left` times `right`, delivered to `sink`.
///
/// With `half`, and where the level has tiles, operands are rounded to bf16 and multiplied there.
pub(crate) fn product<W: Element>(
    level: Level,
    half: bool,
    [rows, depth]: [usize; 2],
    left: &impl Left,
    right: Right<'_, W>,
    sink: &impl Sink,
) {
    assert_eq!(right.values.len(), depth * right.columns);
    let columns = sink.pair().unwrap_or(right.columns);
    if rows * columns == 0 {
        return;
    }
    let plan = Plan::new(rows, columns, depth);
    let halves = Halves {
        columns,
        pair: sink.pair(),
    };
    // Where many tasks read the same panels, they are copied once for all of them.
    let shares = plan.row_blocks() > 2;
    let task = |index: usize| Task {
        level,
        rows: plan.rows(index),
        columns: plan.columns(index),
        pair: sink.pair(),
        depth: 0..depth,
    };
    if in_tiles(level, half) {
        let panels = shares.then(|| Panels::new(tiles::copy_panels, level, right, halves));
        let panels = panels.as_ref();
        plan.for_each(|index| {
            tiles::run::<tiles::Hardware, _, _>(&task(index), left, right, panels, sink);
        });
    } else {
        let panels = shares.then(|| Panels::new(floats::copy_panels, level, right, halves));
        let panels = panels.as_ref();
        plan.for_each(|index| floats::run(&task(index), left, right, panels, sink));
    }
}

/// The product of strips with an operand that was [packed](pack), delivered to `sink`, in matrix
/// tiles: only where the level has them.
pub(crate) fn product_of_strips(
    level: Level,
    left: &impl Strips,
    right: &[bf16],
    (packing, halves): (Packing, Halves),
    sink: &impl Sink,
) {
    if left.count() * halves.columns == 0 {
        return;
    }
    let right = Packed::new(right, packing, halves);
    strips::product::<tiles::Hardware>(level, left, &right, halves.columns, sink);
}

/// As [`product_of_strips`], in plain arithmetic: on any machine.
#[cfg(test)]
pub(crate) fn plain_product_of_strips(
    left: &impl Strips,
    right: &[bf16],
    (packing, halves): (Packing, Halves),
    sink: &impl Sink,
) {
    let right = Packed::new(right, packing, halves);
    strips::product::<tiles::tests::Plain>(Level::Portable, left, &right, halves.columns, sink);
}

/// Packs the right operand of a [product of strips](product_of_strips).
pub(crate) fn pack<W: Element>(
    level: Level,
    right: Right<'_, W>,
    shape: (Packing, Halves),
    to: &mut [bf16],
) {
    panels::pack(tiles::copy_panels, level, right, shape, to);
}

/// Undoes [`pack`] for an operand `[depth, columns]`.
pub(crate) fn unpack<W: Element>(packed: &[bf16], shape: (Packing, Halves), to: &mut [W]) {
    panels::unpack(packed, shape, to);
}

/// The product of `rows`×`depth` in f32, for a caller that is one of enough tasks itself: nothing is
/// made smaller than the caches ask for.
pub(crate) fn product_of_task<W: Element>(
    level: Level,
    [rows, depth]: [usize; 2],
    left: &impl Left,
    right: Right<'_, W>,
    sink: &impl Sink,
) {
    let columns = right.columns;
    if rows * columns == 0 {
        return;
    }
    let plan = Plan::uncut(rows, columns);
    for index in 0..plan.tasks() {
        let task = Task {
            level,
            rows: plan.rows(index),
            columns: plan.columns(index),
            pair: None,
            depth: 0..depth,
        };
        floats::run(&task, left, right, None, sink);
    }
}

/// Whether products of half-precision operands (`half`) run in matrix tiles.
pub(crate) fn in_tiles(level: Level, half: bool) -> bool {
    half && level.prefers_half()
}

/// A block of outputs, over the whole depth or a part of it.
#[derive(Debug, Clone)]
struct Task {
    level: Level,
    rows: Range<usize>,
    columns: Range<usize>,
    pair: Option<usize>,
    depth: Range<usize>,
}

impl Task {
    /// The columns, and those of their pairs.
    fn halves(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let columns = self.columns.clone();
        let halves = [Some(0), self.pair].into_iter().flatten();
        halves.map(move |offset| offset + columns.start..offset + columns.end)
    }

    /// Number of each panel among those of the columns (first half or second, and place in it).
    fn panels(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let places = self.columns.start / PANEL..self.columns.end.div_ceil(PANEL);
        let halves = if self.pair.is_some() { 2 } else { 1 };
        (0..halves).flat_map(move |half| places.clone().map(move |place| [half, place]))
    }

    /// Elements of a row of sums that belong to one half of the columns.
    fn half_width(&self) -> usize {
        self.columns.len().next_multiple_of(PANEL)
    }

    /// Elements of a row of sums.
    fn stride(&self) -> usize {
        self.half_width() * if self.pair.is_some() { 2 } else { 1 }
    }

    fn sums<'a>(&self, values: &'a [f32]) -> Sums<'a> {
        Sums {
            rows: self.rows.clone(),
            columns: self.columns.clone(),
            values,
            stride: self.stride(),
            pair: self.half_width(),
        }
    }
}
