//! Products in matrix tiles whose left operand is read where it lies.
//!
//! A strip is sixteen rows at a constant distance from one another: neighbouring pixels of a line, or
//! rows of tokens. Under a convolution a row's depth is in pieces, one for each line under the kernel,
//! and each piece lies in one stretch of memory. So nothing is copied per tap: the tile unit walks
//! along the strip's lines, and along panels of the right operand that were packed once.

use std::ops::Range;

use half::bf16;

use super::super::element;
use super::super::level::Level;
use super::panels::Packed;
use super::plan::for_each;
use super::tiles::{Rows, STEP, TILE_DEPTH, Unit};
use super::{PANEL, Sink, Sums, scratch};

/// Rows of a strip: those of a tile.
pub(crate) const STRIP: usize = STEP / 2;

/// Most depth of a block, in steps of the tile unit: sums stay in the unit that long, and the block's
/// panel in the second-level cache.
const MOST_STEPS: usize = 128;

/// Fewest and most strips of a task that is not cut.
const STRIPS: [usize; 2] = [32, 128];

/// Bytes that a task's strips and their sums should take: a part of the second-level cache.
const BYTES: usize = 768 << 10;

/// Tasks that a product is cut into at least, if it is large enough.
const TASKS: usize = 8;

/// Multiply-adds below which a task is not cut.
const LEAST_WORK: usize = 1 << 22;

/// Elements of a block of sums: two strips by a panel.
const BLOCK: usize = STEP * PANEL;

/// The left operand.
///
/// # Safety
///
/// What [`open`](Self::open) promises of its pointers holds.
pub(crate) unsafe trait Strips: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// The rows of a strip, at most [`STRIP`]; strips follow one another.
    fn rows(&self, strip: usize) -> Range<usize>;

    /// Pieces of a row's depth, and elements of a piece: a multiple of [`TILE_DEPTH`].
    fn depth(&self) -> [usize; 2];

    /// Elements from one row of a strip to the next.
    fn stride(&self) -> usize;

    /// Elements of working memory that [`open`](Self::open) needs for these strips.
    fn working(&self, strips: Range<usize>) -> usize;

    /// Sets where each piece of each of the strips starts, `[strips, pieces]`. From each start on, the
    /// piece of [`STRIP`] rows can be read until `working` is written to again.
    fn open(&self, strips: Range<usize>, working: &mut [bf16], starts: &mut [*const bf16]);
}

/// Part of the strips times part of the columns.
struct Task {
    level: Level,
    strips: Range<usize>,
    /// Panels of one half of the columns.
    panels: Range<usize>,
}

/// How strips and columns are divided into tasks, by their number alone.
struct Plan {
    strips: usize,
    panels: usize,
    strips_per_task: usize,
    panels_per_task: usize,
}

impl Plan {
    fn new(left: &impl Strips, panels: usize, halves: usize) -> Self {
        let strips = left.count();
        let depth = left.depth().iter().product();
        let bytes = STRIP * (left.stride() * size_of::<bf16>() + halves * PANEL * size_of::<f32>());
        let most = (BYTES / bytes).clamp(STRIPS[0], STRIPS[1]);
        let mut plan = Self {
            strips,
            panels,
            strips_per_task: even_part(strips, most).next_multiple_of(2),
            panels_per_task: panels,
        };
        while plan.tasks() < TASKS && plan.work(halves, depth) > 2 * LEAST_WORK && plan.halve() {}
        plan
    }

    /// Makes tasks smaller along their longer side; false when they are as small as they get.
    fn halve(&mut self) -> bool {
        let [strips, panels] = [self.strips_per_task, self.panels_per_task];
        if panels > 1 && (2 * panels >= strips || strips <= 2) {
            self.panels_per_task = panels.div_ceil(2);
        } else if strips > 2 {
            self.strips_per_task = strips.div_ceil(2).next_multiple_of(2);
        }
        panels > 1 || strips > 2
    }

    fn work(&self, halves: usize, depth: usize) -> usize {
        self.strips_per_task * STRIP * self.panels_per_task * PANEL * halves * depth
    }

    fn tasks(&self) -> usize {
        self.strips.div_ceil(self.strips_per_task) * self.across()
    }

    fn across(&self) -> usize {
        self.panels.div_ceil(self.panels_per_task)
    }

    fn task(&self, level: Level, index: usize) -> Task {
        let part = |at: usize, size: usize, end: usize| at * size..((at + 1) * size).min(end);
        Task {
            level,
            strips: part(index / self.across(), self.strips_per_task, self.strips),
            panels: part(index % self.across(), self.panels_per_task, self.panels),
        }
    }
}

/// The size of equal parts of `whole`, none above `most`.
fn even_part(whole: usize, most: usize) -> usize {
    whole.div_ceil(whole.div_ceil(most).max(1))
}

/// The product of all strips with packed panels, delivered to `sink`.
pub(super) fn product<U: Unit>(
    level: Level,
    left: &impl Strips,
    right: &Packed<'_>,
    columns: usize,
    sink: &impl Sink,
) {
    let halves = if sink.pair().is_some() { 2 } else { 1 };
    let plan = Plan::new(left, columns.div_ceil(PANEL), halves);
    for_each(plan.tasks(), |index| {
        run::<U>(&plan.task(level, index), left, right, (columns, sink));
    });
}

fn run<U: Unit>(
    task: &Task,
    left: &impl Strips,
    right: &Packed<'_>,
    (columns, sink): (usize, &impl Sink),
) {
    let [pieces, piece] = left.depth();
    let steps = task.strips.len().div_ceil(2);
    let halves = if sink.pair().is_some() { 2 } else { 1 };
    let working = left.working(task.strips.clone());
    let parts = [working.div_ceil(2), halves * steps * BLOCK];
    scratch::with(parts, |[working, sums]| {
        let working = element::halves(working);
        let mut starts = vec![std::ptr::null(); 2 * steps * pieces];
        let (opened, rest) = starts.split_at_mut(task.strips.len() * pieces);
        left.open(task.strips.clone(), working, opened);
        // A step without a second strip computes the first one twice.
        if !rest.is_empty() {
            rest.copy_from_slice(&opened[opened.len() - pieces..]);
        }
        let work = Work {
            starts: &starts,
            strips: task.strips.len(),
            pieces,
            stride: left.stride(),
            blocks: blocks([pieces, piece]),
        };
        if work.blocks.is_empty() {
            sums.fill(0.0);
        }
        U::begin();
        for place in task.panels.clone() {
            for (half, sums) in sums.chunks_exact_mut(steps * BLOCK).enumerate() {
                let panel = right.panel([half, place]);
                // Behind the last panel of a task comes the first one of another.
                let next = match half + 1 < halves {
                    true => [half + 1, place],
                    false => [0, (place + 1) % columns.div_ceil(PANEL)],
                };
                let next = right.panel(next);
                work.multiply::<U>([panel, next], sums, |strip| {
                    if half == 0 {
                        sink.prefetch(left.rows(task.strips.start + strip), place * PANEL);
                    }
                });
            }
            let columns = place * PANEL..((place + 1) * PANEL).min(columns);
            deliver(task, left, columns, sums, sink);
        }
        U::end();
    });
}

/// A part of the depth: some whole pieces, or a part of one.
#[derive(Debug, Clone)]
struct Depth {
    pieces: Range<usize>,
    /// Where it starts in each of them.
    offset: usize,
    /// Steps of the tile unit in each of them.
    steps: usize,
}

impl Depth {
    fn steps(&self) -> usize {
        self.pieces.len() * self.steps
    }
}

/// The depth in blocks of about the same length.
fn blocks([pieces, piece]: [usize; 2]) -> Vec<Depth> {
    let steps = piece / TILE_DEPTH;
    if steps == 0 {
        return Vec::new();
    }
    if steps < MOST_STEPS {
        let most = even_part(pieces, MOST_STEPS / steps);
        let parts = (0..pieces).step_by(most);
        return parts
            .map(|start| Depth {
                pieces: start..(start + most).min(pieces),
                offset: 0,
                steps,
            })
            .collect();
    }
    let most = even_part(steps, MOST_STEPS);
    let parts = (0..steps).step_by(most);
    let starts = (0..pieces).flat_map(|piece| parts.clone().map(move |start| (piece, start)));
    starts
        .map(|(piece, start)| Depth {
            pieces: piece..piece + 1,
            offset: start * TILE_DEPTH,
            steps: most.min(steps - start),
        })
        .collect()
}

/// What all panels of a task meet.
struct Work<'a> {
    /// `[steps, 2, pieces]`
    starts: &'a [*const bf16],
    strips: usize,
    pieces: usize,
    stride: usize,
    blocks: Vec<Depth>,
}

impl Work<'_> {
    /// All strips times a panel; the next one is brought closer, a part of it with each step, and
    /// so is what `prefetch` does for a strip.
    fn multiply<U: Unit>(
        &self,
        [panel, next]: [&[bf16]; 2],
        sums: &mut [f32],
        prefetch: impl Fn(usize),
    ) {
        let steps = sums.len() / BLOCK;
        let share = (next.len() / (steps * self.blocks.len()).max(1)).next_multiple_of(PANEL);
        let mut next = next.chunks(share.max(1));
        let mut rest = panel;
        for (at, depth) in self.blocks.iter().enumerate() {
            let (panel, after) = rest.split_at(depth.steps() * TILE_DEPTH * PANEL);
            rest = after;
            for (step, sums) in sums.chunks_exact_mut(BLOCK).enumerate() {
                U::prefetch(next.next().unwrap_or(&[]));
                if at + 1 == self.blocks.len() {
                    (2 * step..(2 * step + 2).min(self.strips)).for_each(&prefetch);
                }
                let starts = &self.starts[2 * step * self.pieces..][..2 * self.pieces];
                let part = [0, self.pieces]
                    .map(|strip| starts[strip + depth.pieces.start].wrapping_add(depth.offset));
                let mut left = Rows {
                    starts: part.as_ptr(),
                    lower: 1,
                    stride: self.stride,
                };
                if depth.pieces.len() > 1 {
                    left.starts = starts[depth.pieces.start..].as_ptr();
                    left.lower = self.pieces;
                }
                let size = [depth.pieces.len(), depth.steps];
                let sums = (sums.as_mut_ptr(), PANEL);
                // SAFETY: strips can be read from their starts on, for the whole of each piece; the
                // panel and the sums were just cut to size; the level promises the unit.
                unsafe { U::multiply(left, panel.as_ptr(), size, sums, at > 0) }
            }
        }
    }
}

/// Hands over the sums of a panel, `[steps, STEP, PANEL]`, and behind them those of its pair.
fn deliver(task: &Task, left: &impl Strips, columns: Range<usize>, sums: &[f32], sink: &impl Sink) {
    let pair = task.strips.len().div_ceil(2) * BLOCK;
    for (at, strip) in task.strips.clone().enumerate() {
        let sums = Sums {
            rows: left.rows(strip),
            columns: columns.clone(),
            values: &sums[at * STRIP * PANEL..],
            stride: PANEL,
            pair,
        };
        sink.write(task.level, sums);
    }
}
