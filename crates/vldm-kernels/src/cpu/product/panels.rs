//! The right operand in panels, once for all tasks.

use std::ops::Range;

use bytemuck::Pod;
use half::bf16;
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
pub(crate) struct Halves {
    pub(crate) columns: usize,
    /// Where the second range starts.
    pub(crate) pair: Option<usize>,
}

impl Halves {
    fn per_half(self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    fn panels(self) -> usize {
        self.per_half() * if self.pair.is_some() { 2 } else { 1 }
    }

    /// The columns of the panel `index`.
    fn columns_of(self, index: usize) -> Range<usize> {
        let start = index % self.per_half() * PANEL;
        let end = (start + PANEL).min(self.columns);
        let offset = match index < self.per_half() {
            true => 0,
            false => self.pair.unwrap_or(0),
        };
        offset + start..offset + end
    }
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
        let mut values = Buffer::new(halves.panels() * panel);
        values
            .par_chunks_mut(panel.max(1))
            // Few panels are copied sooner than another thread wakes up.
            .with_min_len((LEAST / panel.max(1)).max(1))
            .enumerate()
            .for_each(|(index, to)| {
                let part = Part {
                    depth: 0..depth,
                    columns: halves.columns_of(index),
                    panel,
                };
                copy(level, right, part, to);
            });
        let per_half = halves.per_half();
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

/// How the depth of a packed operand is made of that of the operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Taps, and depths of each.
    pub(crate) taps: [usize; 2],
    /// Whether the last tap comes first.
    pub(crate) turned: bool,
}

impl Packing {
    /// Depths of a tap in a packed operand: whole steps of the tile unit.
    pub(crate) fn padded(self) -> usize {
        self.taps[1].next_multiple_of(STEP)
    }

    /// Elements of a panel.
    fn panel(self) -> usize {
        self.taps[0] * self.padded() * PANEL
    }

    /// Elements of a packed operand of so many columns.
    pub(crate) fn len(self, halves: Halves) -> usize {
        self.panel() * halves.panels()
    }
}

/// A right operand for [strips](super::strips): panels of pairs of depths, each tap padded with
/// zeros to whole steps of the tile unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed<'a> {
    values: &'a [bf16],
    panel: usize,
    per_half: usize,
}

impl<'a> Packed<'a> {
    pub(super) fn new(values: &'a [bf16], packing: Packing, halves: Halves) -> Self {
        assert!(values.len() >= packing.len(halves), "all panels");
        Self {
            values,
            panel: packing.panel(),
            per_half: halves.per_half(),
        }
    }

    /// The panel at `place` of a half.
    pub(super) fn panel(&self, [half, place]: [usize; 2]) -> &'a [bf16] {
        &self.values[(half * self.per_half + place) * self.panel..][..self.panel]
    }
}

/// Packs an operand for [`Packed`].
pub(super) fn pack<W: Element>(
    copy: CopyPanels<W, bf16>,
    level: Level,
    right: Right<'_, W>,
    (packing, halves): (Packing, Halves),
    to: &mut [bf16],
) {
    let [taps, depth] = packing.taps;
    let panel = packing.panel();
    to.par_chunks_mut(panel.max(1))
        .with_min_len((LEAST / panel.max(1)).max(1))
        .enumerate()
        .for_each(|(index, to)| {
            let tap_len = packing.padded() * PANEL;
            for (tap, to) in to.chunks_exact_mut(tap_len.max(1)).enumerate() {
                let from = if packing.turned { taps - 1 - tap } else { tap };
                let part = Part {
                    depth: from * depth..(from + 1) * depth,
                    columns: halves.columns_of(index),
                    panel: tap_len,
                };
                copy(level, right, part, to);
            }
        });
}

/// Undoes [`pack`] for an operand of one half that was not turned: `[depth, columns]`.
pub(super) fn unpack<W: Element>(
    packed: &[bf16],
    (packing, halves): (Packing, Halves),
    to: &mut [W],
) {
    assert!(halves.pair.is_none() && !packing.turned);
    let [taps, depth] = packing.taps;
    assert_eq!(to.len(), taps * depth * halves.columns);
    let panels = Packed::new(packed, packing, halves);
    to.par_chunks_mut(halves.columns.max(1))
        .with_min_len((LEAST / halves.columns.max(1)).max(1))
        .enumerate()
        .for_each(|(line, to)| {
            let line = line / depth * packing.padded() + line % depth;
            for (place, to) in to.chunks_mut(PANEL).enumerate() {
                let pairs = &panels.panel([0, place])[line / 2 * 2 * PANEL..][..2 * PANEL];
                for (to, pair) in to.iter_mut().zip(pairs.as_chunks::<2>().0) {
                    *to = W::narrow(pair[line % 2].widen());
                }
            }
        });
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
