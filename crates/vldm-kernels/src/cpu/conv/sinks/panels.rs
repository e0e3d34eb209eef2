//! A whole panel of sums to bf16, with the processor's own rounding.

use core::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm256_loadu_si256, _mm512_add_ps, _mm512_castsi512_ps,
    _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_setzero_ps,
    _mm512_slli_epi32, _mm512_storeu_si512,
};

use half::bf16;

use super::super::super::product::{PANEL, Sums};
use super::Output;

/// A row of a panel.
type Row = [__m512; 2];

/// As the sink's own loop.
///
/// # Safety
///
/// The processor has AVX-512 with bf16; the sums are [`PANEL`] columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn write_output(output: &Output<'_, bf16>, sums: &Sums<'_>) {
    let columns = sums.columns.clone();
    assert_eq!(columns.len(), PANEL);
    let bias = match output.additions.bias {
        Some(bias) => floats(&bias[columns.clone()]),
        None => [_mm512_setzero_ps(); 2],
    };
    for (index, row) in sums.rows.clone().enumerate() {
        let place = row * output.columns + columns.start;
        let mut line = add(floats(sums.row(index)), bias);
        if let Some(shift) = output.additions.shift {
            let start = row / output.positions_per_shift * output.columns + columns.start;
            line = add(line, halves(&shift[start..start + PANEL]));
        }
        if let Some(residual) = output.additions.residual {
            line = add(line, halves(&residual[place..place + PANEL]));
        }
        // SAFETY: a product delivers each output once.
        let to = unsafe { output.to.slice(place..place + PANEL) };
        store(line, to);
    }
}

#[target_feature(enable = "avx512f")]
fn add(a: Row, b: Row) -> Row {
    [_mm512_add_ps(a[0], b[0]), _mm512_add_ps(a[1], b[1])]
}

#[target_feature(enable = "avx512f")]
fn floats(values: &[f32]) -> Row {
    assert_eq!(values.len(), PANEL);
    // SAFETY: as many values as two registers hold.
    unsafe { [0, 16].map(|at| _mm512_loadu_ps(values.as_ptr().add(at))) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn halves(values: &[bf16]) -> Row {
    assert_eq!(values.len(), PANEL);
    [0, 16].map(|at| {
        // SAFETY: as many values as the two halves of a register hold.
        let words = unsafe { _mm256_loadu_si256(values.as_ptr().add(at).cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(words)))
    })
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn store(line: Row, to: &mut [bf16]) {
    assert_eq!(to.len(), PANEL);
    let words: __m512bh = _mm512_cvtne2ps_pbh(line[1], line[0]);
    // SAFETY: the same bits as another type of the same size; as many values as a register holds.
    unsafe {
        let words: __m512i = core::mem::transmute(words);
        _mm512_storeu_si512(to.as_mut_ptr().cast(), words);
    }
}
