//! Lines of tiles in vectors of AVX-512.

use std::arch::x86_64::*;

use half::bf16;

use super::unit::{DEPTH, SIDE, TILE};

/// Up to [`DEPTH`] elements, then zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(from: &[bf16]) -> __m512i {
    let mask = (1_u64 << from.len().min(DEPTH)) - 1;
    // SAFETY: only elements of the slice are read.
    unsafe { _mm512_maskz_loadu_epi16(mask as u32, from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut [bf16; DEPTH], x: __m512i) {
    // SAFETY: as many elements as a vector has.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), x) }
}

/// [`Unit::scale`](super::unit::Unit::scale).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn scale(from: &[f32; SIDE], factor: f32, to: &mut [bf16]) {
    // SAFETY: as many elements as a vector has.
    let x = unsafe { _mm512_loadu_ps(from.as_ptr()) };
    let x = _mm512_cvtneps_pbh(_mm512_mul_ps(x, _mm512_set1_ps(factor)));
    let mask = (1_u32 << to.len().min(SIDE)) - 1;
    // SAFETY: both are 256 bits, and only elements of the slice are written.
    unsafe {
        let x = std::mem::transmute::<__m256bh, __m256i>(x);
        _mm256_mask_storeu_epi16(to.as_mut_ptr().cast(), mask as u16, x);
    }
}

/// [`Unit::copy`](super::unit::Unit::copy).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn copy(from: &[bf16], to: &mut [bf16; DEPTH]) {
    store(to, load(from));
}

/// [`Unit::interleave`](super::unit::Unit::interleave).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn interleave(
    from: [&[bf16]; 2],
    left: &mut [bf16; DEPTH],
    right: Option<&mut [bf16; DEPTH]>,
) {
    /// Elements of the first operand, and those of the second behind them, in turns.
    const fn turns(start: i16) -> [i16; DEPTH] {
        let mut turns = [0; DEPTH];
        let mut i = 0;
        while i < DEPTH {
            turns[i] = start + (i / 2) as i16 + (i % 2 * DEPTH) as i16;
            i += 1;
        }
        turns
    }
    const TURNS: [[i16; DEPTH]; 2] = [turns(0), turns(SIDE as i16)];
    let [a, b] = [load(from[0]), load(from[1])];
    // SAFETY: as many elements as a vector has.
    let turns = TURNS
        .each_ref()
        .map(|turns| unsafe { _mm512_loadu_si512(turns.as_ptr().cast()) });
    store(left, _mm512_permutex2var_epi16(a, turns[0], b));
    if let Some(right) = right {
        store(right, _mm512_permutex2var_epi16(a, turns[1], b));
    }
}

/// [`Unit::transpose`](super::unit::Unit::transpose).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn transpose(from: &[&[bf16]; SIDE], to: &mut [bf16; TILE]) {
    let mut x = [_mm512_setzero_si512(); SIDE];
    for (x, from) in x.iter_mut().zip(from) {
        *x = load(from);
    }
    let mut y = x;
    for i in 0..8 {
        y[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        y[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
    // Columns 4 * quarter + i, of four rows from 4 * group on, at x[4 * group + i].
    for group in 0..4 {
        let y = &y[4 * group..][..4];
        x[4 * group] = _mm512_unpacklo_epi64(y[0], y[2]);
        x[4 * group + 1] = _mm512_unpackhi_epi64(y[0], y[2]);
        x[4 * group + 2] = _mm512_unpacklo_epi64(y[1], y[3]);
        x[4 * group + 3] = _mm512_unpackhi_epi64(y[1], y[3]);
    }
    for i in 0..4 {
        // Quarters 0 and 2, then 1 and 3, of two groups of rows each.
        let even = [0, 8].map(|at| _mm512_shuffle_i32x4::<0x88>(x[at + i], x[at + 4 + i]));
        let odd = [0, 8].map(|at| _mm512_shuffle_i32x4::<0xdd>(x[at + i], x[at + 4 + i]));
        y[i] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        y[8 + i] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        y[4 + i] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        y[12 + i] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    for (to, y) in to.as_chunks_mut::<DEPTH>().0.iter_mut().zip(y) {
        store(to, y);
    }
}
