//! Products in f32.

use super::super::element::Element;
use super::super::level::Level;
use super::panels::{Panels, Part, copy_step};
use super::{Left, PANEL, ROWS, Right, Sink, Task, scratch, turned};

/// Depth of a block: a panel of it, and the rows of a tile, stay in the first-level cache.
const DEPTH: usize = 192;

/// Steps of equal length, none deeper than a block. (Where depths lie side by side in memory, the
/// length of a block divides what is found there.)
fn even_step(depth: usize) -> usize {
    let steps = depth.div_ceil(DEPTH).max(1);
    depth.div_ceil(steps).next_multiple_of(16).clamp(1, DEPTH)
}

/// Computes one task; panels that are not shared are copied.
pub(super) fn run<L: Left, W: Element>(
    task: &Task,
    left: &L,
    right: Right<'_, W>,
    shared: Option<&Panels<f32>>,
    sink: &impl Sink,
) {
    let rows = task.rows.len();
    let stride = task.stride();
    let own = if shared.is_some() { 0 } else { stride * DEPTH };
    let parts = [ROWS * DEPTH, own, rows * stride];
    scratch::with(parts, |[left_block, own, sums]| {
        if task.depth.is_empty() {
            sums.fill(0.0);
        }
        let step = if L::DEPTH_FIRST {
            even_step(task.depth.len())
        } else {
            DEPTH
        };
        for start in task.depth.clone().step_by(step) {
            let depth = start..(start + step).min(task.depth.end);
            let left_stride = if L::DEPTH_FIRST { ROWS } else { DEPTH };
            let rows_of_left = task.rows.clone();
            left.copy(
                task.level,
                rows_of_left,
                depth.clone(),
                left_block,
                left_stride,
            );
            if shared.is_none() {
                copy_step(copy_panels, task, right, depth.clone(), own);
            }
            for (index, panel) in task.panels().enumerate() {
                let used = task.columns.end - panel[1] * PANEL;
                let panel = match shared {
                    Some(panels) => panels.from(panel, start),
                    None => &own[index * PANEL * DEPTH..],
                };
                let block = Block {
                    left: left_block,
                    depth_first: L::DEPTH_FIRST,
                    panel: &panel[..depth.len() * PANEL],
                    narrow: used <= PANEL / 2,
                    rows,
                    sums: &mut sums[index * PANEL..],
                    stride,
                    adds: start > task.depth.start,
                };
                block.multiply(task.level);
            }
        }
        sink.write(task.level, task.sums(sums));
    });
}

/// Copies a part of the right operand to panels of `[depth, PANEL]`; what the last one has too many
/// becomes zero.
pub(super) fn copy_panels<W: Element>(
    level: Level,
    right: Right<'_, W>,
    part: Part,
    panels: &mut [f32],
) {
    match right.inner {
        Some(inner) => turned::copy_panels(level, right, inner, &part, panels),
        None => copy_rows(level, right, part, panels),
    }
}

leveled! {
    fn copy_rows<W: Element>(level, right: Right<'_, W>, part: Part, panels: &mut [f32]) {
        let Part { depth, columns, panel } = part;
        let whole = columns.len() / PANEL;
        for (row, line) in depth.enumerate() {
            let from = &right.values[line * right.columns..][columns.clone()];
            let (from, rest) = from.as_chunks::<PANEL>();
            for (index, from) in from.iter().enumerate() {
                let to = panels[index * panel + row * PANEL..].first_chunk_mut();
                let to: &mut [f32; PANEL] = to.expect("a panel");
                for (to, from) in to.iter_mut().zip(from) {
                    *to = from.widen();
                }
            }
            if !rest.is_empty() {
                let to = &mut panels[whole * panel + row * PANEL..][..PANEL];
                to.fill(0.0);
                for (to, from) in to.iter_mut().zip(rest) {
                    *to = from.widen();
                }
            }
        }
    }
}

/// A block of the left operand times a panel of the right one.
struct Block<'a> {
    /// `[ROWS, DEPTH]`, or `[DEPTH, ROWS]` if `depth_first`.
    left: &'a [f32],
    depth_first: bool,
    /// `[depth, PANEL]`
    panel: &'a [f32],
    /// Whether nobody asks for the second half of the panel's columns.
    narrow: bool,
    rows: usize,
    /// `[rows, stride]`, of which the first [`PANEL`] columns are meant.
    sums: &'a mut [f32],
    stride: usize,
    /// Whether to add to the sums, instead of replacing them.
    adds: bool,
}

impl Block<'_> {
    fn multiply(mut self, level: Level) {
        assert!(self.left.len() >= ROWS * DEPTH && self.rows <= ROWS);
        assert!(self.panel.len() <= PANEL * DEPTH);
        assert!(self.sums.len() >= (self.rows - 1) * self.stride + PANEL);
        let most = match level {
            Level::Avx512 | Level::Amx => 14,
            Level::Avx2 => 6,
            Level::Portable => 4,
        };
        // Tiles of about equal height: a low one wastes its loads of the panel.
        let tiles = self.rows.div_ceil(most);
        let (height, taller) = (self.rows / tiles, self.rows % tiles);
        let mut row = 0;
        for tile in 0..tiles {
            let height = height + usize::from(tile < taller);
            self.tile(level, row, height);
            row += height;
        }
    }

    /// Picks the kernel compiled for `height` rows.
    fn tile(&mut self, level: Level, row: usize, height: usize) {
        macro_rules! kernels {
            ($kernel:ident: $($height:literal)+) => {
                match (height, self.depth_first, self.narrow) {
                    // SAFETY: `multiply` checked that the tile lies inside the three blocks, and
                    // a level is only in use on a processor that has its instructions.
                    $(($height, false, false) => unsafe { $kernel::<$height, DEPTH, 1, 2>(self, row) },
                    // SAFETY: as above.
                    ($height, true, false) => unsafe { $kernel::<$height, 1, ROWS, 2>(self, row) },
                    // SAFETY: as above.
                    ($height, false, true) => unsafe { $kernel::<$height, DEPTH, 1, 1>(self, row) },
                    // SAFETY: as above.
                    ($height, true, true) => unsafe { $kernel::<$height, 1, ROWS, 1>(self, row) },)+
                    _ => unreachable!("no tile has {height} rows"),
                }
            };
        }
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Amx => kernels!(avx512: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => kernels!(avx2: 1 2 3 4 5 6),
            _ => kernels!(portable: 1 2 3 4),
        }
    }
}

/// `HEIGHT` rows from `row` on, times `HALVES` halves of the panel; the left block has `ROW` elements
/// between rows and `STEP` between depths, as constants so that a tile's addresses need one register.
///
/// # Safety
///
/// The tile lies inside the block's three slices; the processor has AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<const HEIGHT: usize, const ROW: usize, const STEP: usize, const HALVES: usize>(
    block: &mut Block<'_>,
    row: usize,
) {
    use core::arch::x86_64::{
        _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_storeu_ps,
    };
    // SAFETY: all offsets stay inside the slices, as the caller promises.
    unsafe {
        let mut left = block.left.as_ptr().add(row * ROW);
        let mut panel = block.panel.as_ptr();
        let end = panel.add(block.panel.len());
        let mut sums = [[_mm512_setzero_ps(); HALVES]; HEIGHT];
        while panel < end {
            let mut right = [_mm512_setzero_ps(); HALVES];
            for (half, right) in right.iter_mut().enumerate() {
                *right = _mm512_loadu_ps(panel.add(half * 16));
            }
            for (at, sums) in sums.iter_mut().enumerate() {
                let value = _mm512_set1_ps(*left.add(at * ROW));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = _mm512_fmadd_ps(value, right, *sum);
                }
            }
            left = left.add(STEP);
            panel = panel.add(PANEL);
        }
        for (at, sums) in sums.into_iter().enumerate() {
            let to = block.sums.as_mut_ptr().add((row + at) * block.stride);
            for (half, sum) in sums.into_iter().enumerate() {
                let to = to.add(half * 16);
                let sum = if block.adds {
                    _mm512_add_ps(sum, _mm512_loadu_ps(to))
                } else {
                    sum
                };
                _mm512_storeu_ps(to, sum);
            }
        }
    }
}

/// As [`avx512`], in two halves of the panel, for there are half as many registers of half the
/// size.
///
/// # Safety
///
/// The tile lies inside the block's three slices; the processor has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const HEIGHT: usize, const ROW: usize, const STEP: usize, const HALVES: usize>(
    block: &mut Block<'_>,
    row: usize,
) {
    use core::arch::x86_64::{
        _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_storeu_ps,
    };
    for column in (0..HALVES).map(|half| half * PANEL / 2) {
        // SAFETY: all offsets stay inside the slices, as the caller promises.
        unsafe {
            let mut left = block.left.as_ptr().add(row * ROW);
            let mut panel = block.panel.as_ptr().add(column);
            let mut sums = [[_mm256_setzero_ps(); 2]; HEIGHT];
            for _ in 0..block.panel.len() / PANEL {
                let right = [_mm256_loadu_ps(panel), _mm256_loadu_ps(panel.add(8))];
                for (at, sums) in sums.iter_mut().enumerate() {
                    let value = _mm256_set1_ps(*left.add(at * ROW));
                    sums[0] = _mm256_fmadd_ps(value, right[0], sums[0]);
                    sums[1] = _mm256_fmadd_ps(value, right[1], sums[1]);
                }
                left = left.wrapping_add(STEP);
                panel = panel.wrapping_add(PANEL);
            }
            for (at, sums) in sums.into_iter().enumerate() {
                let to = block
                    .sums
                    .as_mut_ptr()
                    .add((row + at) * block.stride + column);
                for (half, sum) in sums.into_iter().enumerate() {
                    let to = to.add(half * 8);
                    let sum = if block.adds {
                        _mm256_add_ps(sum, _mm256_loadu_ps(to))
                    } else {
                        sum
                    };
                    _mm256_storeu_ps(to, sum);
                }
            }
        }
    }
}

/// As [`avx512`], in plain arithmetic on four columns at a time.
///
/// # Safety
///
/// None needed; unsafe to have the same type as the other kernels.
unsafe fn portable<
    const HEIGHT: usize,
    const ROW: usize,
    const STEP: usize,
    const HALVES: usize,
>(
    block: &mut Block<'_>,
    row: usize,
) {
    const WIDTH: usize = 8;
    let (panel, _) = block.panel.as_chunks::<PANEL>();
    for column in (0..HALVES * PANEL / 2).step_by(WIDTH) {
        let mut sums = [[0.0f32; WIDTH]; HEIGHT];
        for (depth, right) in panel.iter().enumerate() {
            let right: &[f32; WIDTH] = right[column..].first_chunk().expect("a part of the panel");
            for (at, sums) in sums.iter_mut().enumerate() {
                let value = block.left[(row + at) * ROW + depth * STEP];
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum += value * right;
                }
            }
        }
        for (at, sums) in sums.iter().enumerate() {
            let to = &mut block.sums[(row + at) * block.stride + column..][..WIDTH];
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = if block.adds { *to + sum } else { *sum };
            }
        }
    }
}
