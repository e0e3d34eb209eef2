//! Products of bf16 in matrix tiles (AMX).
//!
//! Blocks are as in f32, with two differences: the left block is always `[row, depth]`, and the
//! panel holds pairs of depths side by side, `[depth / 2, column, 2]`, which is how the tile unit
//! reads its right operand. All blocks and strides are multiples of a cache line: tile loads that
//! straddle lines cost two thirds of the speed.

#[cfg(test)]
pub(super) mod tests;

use std::ops::Range;

use half::bf16;

use super::super::element::{Element, convert_into, halves};
use super::super::level::Level;
#[cfg(target_arch = "x86_64")]
use super::super::tile_unit;
use super::panels::{Panels, Part, copy_step};
use super::{Left, PANEL, ROWS, Right, Sink, Task, scratch, turned};

/// Depth of a block: a panel of it and the rows of a step stay in the first-level cache.
const DEPTH: usize = 256;

/// Elements from one row of the left block to the next: an odd number of cache lines, so that the
/// rows of a tile do not compete for the same places in the cache.
const STRIDE: usize = DEPTH + 32;

/// Rows, and columns, that are multiplied at once: two by two tiles.
pub(super) const STEP: usize = 32;

/// Depth that one instruction multiplies.
pub(crate) const TILE_DEPTH: usize = 32;

/// Rows of the left block, so that every step of rows is whole.
const PADDED_ROWS: usize = ROWS.next_multiple_of(STEP);

/// Rows of the left operand, piece by piece of their depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// Where the pieces of the upper half of the rows start.
    pub(super) starts: *const *const bf16,
    /// From the pointers of the upper half to those of the lower one.
    pub(super) lower: usize,
    /// Elements from one row to the next.
    pub(super) stride: usize,
}

/// What multiplies tiles.
pub(super) trait Unit {
    /// Gets this thread ready.
    fn begin();

    /// Multiplies [`STEP`] rows by [`PANEL`] columns over a depth of pieces, and steps of
    /// [`TILE_DEPTH`] in each.
    ///
    /// # Safety
    ///
    /// `left` are as many pointers as pieces to the upper half of the rows and, `lower` pointers further, as
    /// many to the lower half: each valid for half of the rows, `left_stride` elements from one to the
    /// next. `panel` is valid for the depth times [`PANEL`] elements, `sums` for [`STEP`] rows of as
    /// many elements as stand beside it; the unit is there.
    unsafe fn multiply(
        left: Rows,
        panel: *const bf16,
        depth: [usize; 2],
        sums: (*mut f32, usize),
        adds: bool,
    );

    /// Has values brought closer that are read soon.
    fn prefetch(values: &[bf16]);

    /// Leaves this thread as it was.
    fn end();
}

/// The processor's tile unit.
#[derive(Debug)]
pub(super) struct Hardware;

/// Computes one task; panels that are not shared are copied.
pub(super) fn run<U: Unit, L: Left, W: Element>(
    task: &Task,
    left: &L,
    right: Right<'_, W>,
    shared: Option<&Panels<bf16>>,
    sink: &impl Sink,
) {
    let rows = task.rows.len();
    let stride = task.stride();
    // Two bf16 take the place of one f32.
    let parts = [
        PADDED_ROWS * STRIDE / 2,
        DEPTH * ROWS / 2,
        if shared.is_some() {
            0
        } else {
            stride * DEPTH / 2
        },
        rows.next_multiple_of(STEP) * stride,
    ];
    scratch::with(parts, |[left_block, turned, own, sums]| {
        let [left_block, turned, own] = [left_block, turned, own].map(halves);
        if task.depth.is_empty() {
            sums.fill(0.0);
        }
        U::begin();
        for start in task.depth.clone().step_by(DEPTH) {
            let depth = start..(start + DEPTH).min(task.depth.end);
            let steps = depth.len().div_ceil(TILE_DEPTH);
            copy_left(task, left, depth.clone(), left_block, turned);
            if shared.is_none() {
                copy_step(copy_panels, task, right, depth.clone(), own);
            }
            for (index, panel) in task.panels().enumerate() {
                let panel = match shared {
                    Some(panels) => panels.from(panel, start),
                    None => &own[index * PANEL * DEPTH..],
                };
                let panel = &panel[..steps * TILE_DEPTH * PANEL];
                for row in (0..rows).step_by(STEP) {
                    let left = &left_block[row * STRIDE..][..STEP * STRIDE];
                    let sums = &mut sums[row * stride + index * PANEL..];
                    assert!(sums.len() >= (STEP - 1) * stride + PANEL);
                    let halves = [left, &left[STEP / 2 * STRIDE..]].map(<[bf16]>::as_ptr);
                    let sums = (sums.as_mut_ptr(), stride);
                    let adds = start > task.depth.start;
                    let left = Rows {
                        starts: halves.as_ptr(),
                        lower: 1,
                        stride: STRIDE,
                    };
                    // SAFETY: the slices were just checked; the level promises the unit.
                    unsafe { U::multiply(left, panel.as_ptr(), [1, steps], sums, adds) }
                }
            }
        }
        U::end();
        sink.write(task.level, task.sums(sums));
    });
}

/// Copies rows of the left operand to a block, with zeros up to a whole step of depth.
fn copy_left<L: Left>(
    task: &Task,
    left: &L,
    depth: Range<usize>,
    block: &mut [bf16],
    turned_block: &mut [bf16],
) {
    let rows = task.rows.len();
    if L::DEPTH_FIRST {
        left.copy(
            task.level,
            task.rows.clone(),
            depth.clone(),
            turned_block,
            ROWS,
        );
        let size = [depth.len(), rows];
        turned::turn_block(task.level, (turned_block, ROWS), size, (block, STRIDE));
    } else {
        left.copy(task.level, task.rows.clone(), depth.clone(), block, STRIDE);
    }
    let end = depth.len().next_multiple_of(TILE_DEPTH);
    for row in block.chunks_exact_mut(STRIDE).take(rows) {
        row[depth.len()..end].fill(bf16::ZERO);
    }
}

/// Copies a part of the right operand to panels of pairs; what the last panel and the last step of
/// depth have too many becomes zero.
pub(super) fn copy_panels<W: Element>(
    level: Level,
    right: Right<'_, W>,
    part: Part,
    panels: &mut [bf16],
) {
    match right.inner {
        Some(inner) => turned::copy_panels(level, right, inner, &part, panels),
        None => copy_rows(level, right, part, panels),
    }
}

leveled! {
    fn copy_rows<W: Element>(level, right: Right<'_, W>, part: Part, panels: &mut [bf16]) {
        let Part { depth, columns, panel } = part;
        let zeros = [bf16::ZERO; PANEL];
        for (first, to) in columns.clone().step_by(PANEL).zip(panels.chunks_mut(panel)) {
            let count = PANEL.min(columns.end - first);
            for pair in 0..depth.len().next_multiple_of(TILE_DEPTH) / 2 {
                let mut rows = [zeros; 2];
                for (at, row) in rows.iter_mut().enumerate() {
                    let line = depth.start + 2 * pair + at;
                    if line < depth.end {
                        let from = &right.values[line * right.columns + first..][..count];
                        convert_into(from, &mut row[..count]);
                    }
                }
                let to = &mut to[pair * 2 * PANEL..][..2 * PANEL];
                for (column, to) in to.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                    *to = [rows[0][column], rows[1][column]];
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Unit for Hardware {
    fn begin() {
        // SAFETY: the level promises the unit.
        unsafe { tile_unit::begin() }
    }

    #[expect(clippy::too_many_lines, reason = "one loop, an instruction a line")]
    unsafe fn multiply(
        left: Rows,
        panel: *const bf16,
        [pieces, steps]: [usize; 2],
        (sums, stride): (*mut f32, usize),
        adds: bool,
    ) {
        debug_assert!(
            [
                panel.addr(),
                sums.addr(),
                left.stride * size_of::<bf16>(),
                stride * size_of::<f32>()
            ]
            .iter()
            .all(|at| at.is_multiple_of(64)),
            "blocks of tiles lie on cache lines"
        );
        debug_assert!(pieces > 0 && steps > 0);
        // SAFETY: reads and writes what the caller promises; all tile registers are named.
        unsafe {
            std::arch::asm!(
                "mov {upper}, {stride}",
                "shl {upper}, 4",
                "add {upper}, {top}",
                "test {step:e}, {step:e}",
                "jnz 3f",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "jmp 4f",
                "3:",
                "tileloadd tmm0, [{top} + {stride}]",
                "tileloadd tmm1, [{top} + {stride} + 64]",
                "tileloadd tmm2, [{upper} + {stride}]",
                "tileloadd tmm3, [{upper} + {stride} + 64]",
                "4:",
                "mov {upper}, [{starts}]",
                "mov {lower}, [{starts} + {lowers}]",
                "mov {step}, {steps}",
                "2:",
                "tileloadd tmm4, [{upper} + {left_stride}]",
                "tileloadd tmm6, [{panel} + {panel_stride}]",
                "tileloadd tmm7, [{panel} + {panel_stride} + 64]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{lower} + {left_stride}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {upper}, 64",
                "add {lower}, 64",
                "add {panel}, 2048",
                "dec {step}",
                "jnz 2b",
                "add {starts}, 8",
                "dec {pieces}",
                "jnz 4b",
                "mov {upper}, {stride}",
                "shl {upper}, 4",
                "add {upper}, {top}",
                "tilestored [{top} + {stride}], tmm0",
                "tilestored [{top} + {stride} + 64], tmm1",
                "tilestored [{upper} + {stride}], tmm2",
                "tilestored [{upper} + {stride} + 64], tmm3",
                top = in(reg) sums,
                stride = in(reg) stride * size_of::<f32>(),
                starts = inout(reg) left.starts => _,
                lowers = in(reg) left.lower * size_of::<*const bf16>(),
                upper = out(reg) _,
                lower = out(reg) _,
                left_stride = in(reg) left.stride * size_of::<bf16>(),
                panel = inout(reg) panel => _,
                panel_stride = in(reg) 2 * PANEL * size_of::<bf16>(),
                pieces = inout(reg) pieces => _,
                steps = in(reg) steps,
                step = inout(reg) u64::from(adds) => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack)
            );
        }
    }

    fn prefetch(values: &[bf16]) {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        for line in values.chunks(32) {
            // SAFETY: a hint, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
        }
    }

    fn end() {
        // SAFETY: the unit is there; its registers hold nothing that is still needed.
        unsafe { tile_unit::end() }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Unit for Hardware {
    fn begin() {
        unreachable!("no level of this processor has tiles");
    }

    unsafe fn multiply(_: Rows, _: *const bf16, _: [usize; 2], _: (*mut f32, usize), _: bool) {
        unreachable!("no level of this processor has tiles");
    }

    fn prefetch(_: &[bf16]) {}

    fn end() {}
}
