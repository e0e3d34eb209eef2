//! The right operand in panels, once for all tasks.

use std::ops::Range;

use bytemuck::Pod;
use rayon::prelude::*;

use super::super::element::Element;
use super::super::level::Level;
use super::{PANEL, Right, Task};
use crate::memory::pool::Buffer;

/// Depths that panels are padded to: a step of the tile unit.
const STEP: usize = 32;

/// Elements that are worth a task of their own.
const LEAST: usize = 1 << 16;

/// The columns of a product: one range, or two of the same length side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Halves {
    pub(super) columns: usize,
    /// Where the second range starts.
    pub(super) pair: Option<usize>,
}

/// Which part of the right operand a copy takes.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) depth: Range<usize>,
    pub(super) columns: Range<usize>,
    /// Elements from one panel to the next.
    pub(super) panel: usize,
}

/// Copies a part of the right operand to panels.
pub(super) type CopyPanels<W, E> = fn(Level, Right<'_, W>, Part, &mut [E]);

/// All of the right operand, panel by panel over the whole depth.
#[derive(Debug)]
pub(super) struct Panels<E> {
    values: Buffer<E>,
    /// Elements of a panel.
    panel: usize,
    /// Panels in each half.
    per_half: usize,
}

impl<E: Pod + Send + Sync> Panels<E> {
    pub(super) fn new<W: Element>(
        copy: CopyPanels<W, E>,
        level: Level,
        right: Right<'_, W>,
        halves: Halves,
    ) -> Self {
        let depth = right.values.len() / right.columns.max(1);
        let panel = depth.next_multiple_of(STEP) * PANEL;
        let per_half = halves.columns.div_ceil(PANEL);
        let count = per_half * if halves.pair.is_some() { 2 } else { 1 };
        let mut values = Buffer::new(count * panel);
        values
            .par_chunks_mut(panel.max(1))
            // Few panels are copied sooner than another thread wakes up.
            .with_min_len((LEAST / panel.max(1)).max(1))
            .enumerate()
            .for_each(|(index, to)| {
                let start = index % per_half * PANEL;
                let end = (start + PANEL).min(halves.columns);
                let offset = if index < per_half {
                    0
                } else {
                    halves.pair.unwrap_or(0)
                };
                let part = Part {
                    depth: 0..depth,
                    columns: offset + start..offset + end,
                    panel,
                };
                copy(level, right, part, to);
            });
        Self {
            values,
            panel,
            per_half,
        }
    }

    /// The panel at `place` of a half, from row `start` on.
    pub(super) fn from(&self, [half, place]: [usize; 2], start: usize) -> &[E] {
        let index = half * self.per_half + place;
        &self.values[index * self.panel..][start * PANEL..self.panel]
    }
}

/// Copies the panels of one task and one step of its depth to `own`, which has room for as deep a
/// step as there is.
pub(super) fn copy_step<W: Element, E>(
    copy: CopyPanels<W, E>,
    task: &Task,
    right: Right<'_, W>,
    depth: Range<usize>,
    own: &mut [E],
) {
    let deepest = own.len() / task.stride();
    for (half, columns) in task.halves().enumerate() {
        let part = Part {
            depth: depth.clone(),
            columns,
            panel: PANEL * deepest,
        };
        let to = &mut own[half * task.half_width() * deepest..];
        copy(task.level, right, part, to);
    }
}
