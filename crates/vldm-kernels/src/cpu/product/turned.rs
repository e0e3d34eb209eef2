//! Panels of a right operand in which depths, not columns, lie side by side in memory: the weight
//! of a layer, read for the gradient of its input.

use std::ops::Range;

use bytemuck::Pod;
use half::bf16;

use super::super::element::{Element, convert_into};
use super::super::level::Level;
use super::panels::Part;
use super::{PANEL, Right};

#[cfg(test)]
mod tests;

/// Words of 32 bits along both sides of a square.
const WORDS: usize = 16;

/// Sixteen columns by sixteen words of depths: of one f32, or of two bf16.
type Square = [[u32; WORDS]; WORDS];

/// Copies a part of the right operand, whose memory is `[blocks, columns, inner]`, to panels
/// `[depth, PANEL]` of f32, or `[depth / 2, PANEL, 2]` of bf16. Columns and depths that a panel and a
/// square have too many become zero.
pub(super) fn copy_panels<W: Element, E: Element + Pod>(
    level: Level,
    right: Right<'_, W>,
    inner: usize,
    part: &Part,
    to: &mut [E],
) {
    let depths = WORDS * size_of::<u32>() / size_of::<E>();
    let panels = part.columns.clone().step_by(PANEL);
    for (first, to) in panels.zip(to.chunks_mut(part.panel)) {
        let to: &mut [u32] = bytemuck::cast_slice_mut(to);
        let squares = part.depth.clone().step_by(depths);
        for (start, lines) in squares.zip(to.chunks_mut(WORDS * PANEL)) {
            let depth = start..(start + depths).min(part.depth.end);
            for half in [0, WORDS] {
                let start = (first + half).min(part.columns.end);
                let columns = start..(start + WORDS).min(part.columns.end);
                let mut square = [[0; WORDS]; WORDS];
                let rows: &mut [E] = bytemuck::cast_slice_mut(square.as_flattened_mut());
                gather(level, right, inner, columns, depth.clone(), rows);
                turn(level, &square, &mut lines[half..], PANEL);
            }
        }
    }
}

leveled! {
    /// Copies the depths of each of the columns to a row.
    fn gather<W: Element, E: Element>(
        level,
        right: Right<'_, W>,
        inner: usize,
        columns: Range<usize>,
        depth: Range<usize>,
        rows: &mut [E],
    ) {
        let length = rows.len() / WORDS;
        let mut start = depth.start;
        while start < depth.end {
            let (block, offset) = (start / inner, start % inner);
            let count = (inner - offset).min(depth.end - start);
            for (column, row) in columns.clone().zip(rows.chunks_exact_mut(length)) {
                let from = &right.values[(block * right.columns + column) * inner + offset..];
                convert_into(&from[..count], &mut row[start - depth.start..][..count]);
            }
            start += count;
        }
    }
}

/// Turns `[depth, row]` with `stride` elements from one depth to the next into `[row, depth]`, of
/// which `to` has whole lines; depths up to a whole square become zero.
pub(super) fn turn_block(
    level: Level,
    (from, stride): (&[bf16], usize),
    [depth, rows]: [usize; 2],
    (to, to_stride): (&mut [bf16], usize),
) {
    let to: &mut [u32] = bytemuck::cast_slice_mut(to);
    for (start, first) in (0..depth)
        .step_by(2 * WORDS)
        .flat_map(|start| (0..rows).step_by(WORDS).map(move |first| (start, first)))
    {
        let mut square = [[0; WORDS]; WORDS];
        let rows = WORDS.min(rows - first);
        for (pair, words) in square.iter_mut().enumerate() {
            let line = |at: usize| match start + at < depth {
                true => &from[(start + at) * stride + first..][..rows],
                false => &ZEROS[..rows],
            };
            pair_up(level, line(2 * pair), line(2 * pair + 1), words);
        }
        let at = first * to_stride / 2 + start / 2;
        turn(level, &square, &mut to[at..], to_stride / 2);
    }
}

const ZEROS: [bf16; WORDS] = [bf16::ZERO; WORDS];

leveled! {
    /// Two lines of bf16 as words of both.
    fn pair_up(level, even: &[bf16], odd: &[bf16], words: &mut [u32; 16]) {
        let pair = |even: &bf16, odd: &bf16| u32::from(even.to_bits()) | u32::from(odd.to_bits()) << 16;
        if let (Some(even), Some(odd)) = (even.first_chunk::<WORDS>(), odd.first_chunk::<WORDS>()) {
            for (word, (even, odd)) in words.iter_mut().zip(even.iter().zip(odd)) {
                *word = pair(even, odd);
            }
        } else {
            for (word, (even, odd)) in words.iter_mut().zip(even.iter().zip(odd)) {
                *word = pair(even, odd);
            }
        }
    }
}

/// Writes the square's columns as the beginnings of lines of `stride` words.
fn turn(level: Level, square: &Square, lines: &mut [u32], stride: usize) {
    assert!(stride >= WORDS && lines.len() >= (WORDS - 1) * stride + WORDS);
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the lines were just checked, and a level is only in use on a processor that has
        // its instructions.
        Level::Avx512 | Level::Amx => unsafe { turn_avx512(square, lines, stride) },
        _ => {
            for (at, line) in lines.chunks_mut(stride).enumerate().take(WORDS) {
                for (to, row) in line.iter_mut().zip(square) {
                    *to = row[at];
                }
            }
        }
    }
}

/// # Safety
///
/// `lines` has room for the square; the processor has AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn turn_avx512(square: &Square, lines: &mut [u32], stride: usize) {
    use core::arch::x86_64::{
        _mm512_loadu_si512, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512,
        _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };
    let mut a = [_mm512_setzero_si512(); WORDS];
    let mut b = a;
    for (a, row) in a.iter_mut().zip(square) {
        // SAFETY: a row is as long as the register.
        *a = unsafe { _mm512_loadu_si512(row.as_ptr().cast()) };
    }
    // Within each quarter of the registers: two rows, then four rows side by side.
    for i in (0..WORDS).step_by(2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for i in (0..WORDS).step_by(4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    // Even and odd quarters of eight rows, then of all sixteen.
    for i in 0..4 {
        for half in [0, 8] {
            b[half + i] = _mm512_shuffle_i32x4::<0x88>(a[half + i], a[half + 4 + i]);
            b[half + 4 + i] = _mm512_shuffle_i32x4::<0xdd>(a[half + i], a[half + 4 + i]);
        }
    }
    for i in 0..8 {
        a[i] = _mm512_shuffle_i32x4::<0x88>(b[i], b[8 + i]);
        a[8 + i] = _mm512_shuffle_i32x4::<0xdd>(b[i], b[8 + i]);
    }
    for (at, column) in a.into_iter().enumerate() {
        // SAFETY: the caller promises room for all lines.
        unsafe { _mm512_storeu_si512(lines.as_mut_ptr().add(at * stride).cast(), column) };
    }
}
