//! Products that are deeper than wide: weight gradients, which sum over all positions.
//!
//! There are few outputs: cut into as many blocks as threads want, each block would copy much and
//! compute little. Instead the depth is divided too. Whoever finishes the last part of a block adds
//! its parts up, in their order.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::element::Element;
use super::super::level::Level;
use super::super::shared::Shared;
use super::panels::{Halves, Panels};
use super::plan::{Plan, for_each};
use super::{Left, Right, Sink, Sums, Task, floats, in_tiles, product, tiles};
use crate::memory::pool::Buffer;

/// As [`product`], for a sink without pairs. The order of the sums depends on the shape alone, but
/// on all of it.
pub(crate) fn product_in_parts<W: Element>(
    level: Level,
    half: bool,
    [rows, depth]: [usize; 2],
    left: &impl Left,
    right: Right<'_, W>,
    sink: &impl Sink,
) {
    let columns = right.columns;
    if rows * columns == 0 {
        return;
    }
    let (plan, parts) = Plan::in_parts(rows, columns, depth);
    if parts == 1 {
        return product(level, half, [rows, depth], left, right, sink);
    }
    let length = plan.most_sums();
    let mut values = Buffer::<f32>::new(plan.tasks() * parts * length);
    let blocks = Blocks {
        values: Shared::new(&mut values),
        length,
        parts,
        finished: (0..plan.tasks()).map(|_| AtomicUsize::new(0)).collect(),
        sink,
    };
    let halves = Halves {
        columns,
        pair: None,
    };
    let shares = plan.row_blocks() > 2;
    let task = |index: usize| {
        let (block, part) = (index % plan.tasks(), index / plan.tasks());
        let task = Task {
            level,
            rows: plan.rows(block),
            columns: plan.columns(block),
            pair: None,
            depth: part_of(depth, parts, part)..part_of(depth, parts, part + 1),
        };
        let blocks = &blocks;
        let sink = Part {
            blocks,
            block,
            part,
        };
        (task, sink)
    };
    let tasks = plan.tasks() * parts;
    if in_tiles(level, half) {
        let panels = shares.then(|| Panels::new(tiles::copy_panels, level, right, halves));
        for_each(tasks, |index| {
            let (task, sink) = task(index);
            tiles::run::<tiles::Hardware, _, _>(&task, left, right, panels.as_ref(), &sink);
        });
    } else {
        let panels = shares.then(|| Panels::new(floats::copy_panels, level, right, halves));
        for_each(tasks, |index| {
            let (task, sink) = task(index);
            floats::run(&task, left, right, panels.as_ref(), &sink);
        });
    }
}

/// Where a part of the depth starts: where a step of the tile unit does.
fn part_of(depth: usize, parts: usize, part: usize) -> usize {
    const STEP: usize = 32;
    (depth * part / parts).next_multiple_of(STEP).min(depth)
}

/// The sums of all parts of all blocks of outputs.
struct Blocks<'a, S> {
    /// `[blocks, parts, length]`
    values: Shared<'a, f32>,
    /// Elements of the largest block.
    length: usize,
    parts: usize,
    /// How many parts of each block are finished.
    finished: Vec<AtomicUsize>,
    sink: &'a S,
}

impl<S> Blocks<'_, S> {
    fn place(&self, block: usize, part: usize, length: usize) -> Range<usize> {
        let start = (block * self.parts + part) * self.length;
        start..start + length
    }
}

/// Takes the sums of one part of one block.
struct Part<'a, S> {
    blocks: &'a Blocks<'a, S>,
    block: usize,
    part: usize,
}

impl<S: Sink> Sink for Part<'_, S> {
    fn write(&self, level: Level, sums: Sums<'_>) {
        let Self {
            blocks,
            block,
            part,
        } = *self;
        let length = sums.rows.len() * sums.stride;
        // SAFETY: a task of its own delivers each part.
        let own = unsafe { blocks.values.slice(blocks.place(block, part, length)) };
        own.copy_from_slice(&sums.values[..length]);
        // Each part is seen by whoever counts last.
        if blocks.finished[block].fetch_add(1, Ordering::AcqRel) + 1 < blocks.parts {
            return;
        }
        // SAFETY: all parts of the block are finished, and only the last task gets here.
        let all = (0..blocks.parts)
            .map(|part| unsafe { blocks.values.slice(blocks.place(block, part, length)) });
        let total = all.reduce(|total, part| {
            add(level, total, part);
            total
        });
        let values = &*total.expect("at least one part");
        blocks.sink.write(level, Sums { values, ..sums });
    }
}

leveled! {
    fn add(level, total: &mut [f32], part: &[f32]) {
        for (total, part) in total.iter_mut().zip(part) {
            *total += part;
        }
    }
}
