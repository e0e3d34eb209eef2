//! Weights in vectors of AVX-512.

use std::arch::x86_64::*;

use super::super::unit::SUMS;
use super::{LOWER, Weigh};

/// # Safety
/// The processor must have AVX-512 F, DQ and BF16.
pub(in super::super) unsafe fn weigh(weigh: Weigh<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match weigh.pairs {
            1 => weigh_of::<1>(weigh),
            2 => weigh_of::<2>(weigh),
            3 => weigh_of::<3>(weigh),
            _ => weigh_of::<4>(weigh),
        }
    }
}

/// # Safety
/// As [`weigh`].
#[inline(always)]
unsafe fn weigh_of<const PAIRS: usize>(weigh: Weigh<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        if weigh.seen.is_some() {
            rows::<PAIRS, true>(weigh);
        } else {
            rows::<PAIRS, false>(weigh);
        }
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,fma")]
fn rows<const PAIRS: usize, const HIDES: bool>(weigh: Weigh<'_>) {
    let Weigh {
        logits,
        rows,
        scale,
        seen,
        mut running,
        ..
    } = weigh;
    let factor = _mm512_set1_ps(scale);
    for row in 0..rows {
        let at = row / 16 * LOWER + row % 16 * 16;
        let line = &mut logits[at..][..(2 * PAIRS - 1) * SUMS + 16];
        let mut x = [[_mm512_setzero_ps(); 2]; PAIRS];
        for (tile, x) in x.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: the line reaches to the end of the row's part of its last tile.
            *x = unsafe { _mm512_load_ps(line.as_ptr().add(tile * SUMS)) };
            if HIDES {
                let seen = seen.map_or(!0, |seen| seen[row] >> (tile * 16)) as u16;
                *x = _mm512_mask_mov_ps(_mm512_set1_ps(f32::NEG_INFINITY), seen, *x);
            }
        }
        let mut tops = x.map(|[a, b]| _mm512_max_ps(a, b));
        let mut count = PAIRS;
        while count > 1 {
            for i in 0..count / 2 {
                tops[i] = _mm512_max_ps(tops[i], tops[count - 1 - i]);
            }
            count = count.div_ceil(2);
        }
        let limit = _mm512_set1_ps(running.limit[row]);
        if _mm512_cmp_ps_mask::<_CMP_GT_OQ>(tops[0], limit) != 0 {
            running.raise(row, _mm512_reduce_max_ps(tops[0]), scale);
        }
        let base = _mm512_set1_ps(running.base[row]);
        let sums = &mut running.sums[row * 16..][..16];
        // SAFETY: sixteen elements on a cache line.
        let mut sum = unsafe { _mm512_load_ps(sums.as_ptr()) };
        for (pair, [a, b]) in x.into_iter().enumerate() {
            let a = exp2(_mm512_fmsub_ps(a, factor, base));
            let b = exp2(_mm512_fmsub_ps(b, factor, base));
            sum = _mm512_add_ps(sum, _mm512_add_ps(a, b));
            let both = _mm512_cvtne2ps_pbh(b, a);
            // SAFETY: the row's part of the pair's first tile.
            unsafe {
                let to = line.as_mut_ptr().add(2 * pair * SUMS);
                to.cast::<__m512bh>().write(both);
            }
        }
        // SAFETY: as above.
        unsafe { _mm512_store_ps(sums.as_mut_ptr(), sum) }
    }
}

/// `2^x`, to 3e-6 of it; 0 from where a float loses bits on.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,fma")]
fn exp2(x: __m512) -> __m512 {
    // Minimax for the relative error on [0, 1].
    const P: [f32; 5] = [
        1.353_416_8e-2,
        5.201_146e-2,
        0.241_442_76,
        0.693_003_83,
        1.000_002_6,
    ];
    // x - floor(x), without raising exceptions.
    let r = _mm512_reduce_ps::<0x09>(x);
    let mut p = _mm512_set1_ps(P[0]);
    for c in &P[1..] {
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(*c));
    }
    // p * 2^floor(x).
    _mm512_scalef_ps(p, x)
}
