//! Vectors of AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{Simd, Task};

/// # Safety
/// The processor must have these features.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) unsafe fn avx512(task: impl Task) {
    task.run::<Avx512>();
}

/// # Safety
/// The processor must have these features.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn avx2(task: impl Task) {
    task.run::<Avx2>();
}

/// Eight lanes.
struct Avx2;

/// Sixteen lanes.
struct Avx512;

/// A method whose body is one intrinsic.
macro_rules! intrinsic {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name($($arg: $ty),*) -> $ret {
            // SAFETY: the type is only chosen where its instructions exist.
            unsafe { $body }
        }
    )+};
}

impl Simd for Avx2 {
    type Vector = __m256;
    const LANES: usize = 8;
    const ROWS: usize = 4;

    intrinsic! {
        fn splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn madd(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn scale(x: __m256, shifted: __m256) -> __m256 = {
            let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), n))
        };
    }
    #[inline(always)]
    unsafe fn read(at: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn write(at: *mut f32, x: __m256) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(at, x) }
    }
    #[inline(always)]
    fn outlined(task: impl Task) {
        // SAFETY: the type is only chosen where its instructions exist.
        unsafe { avx2(task) }
    }
    #[inline(always)]
    fn prefetch<T>(at: *const T) {
        // SAFETY: a hint, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn transpose(x: &mut [[f32; 8]; 8]) {
        // SAFETY: the type is only chosen where its instructions exist.
        unsafe { transpose(x) }
    }
}

impl Simd for Avx512 {
    type Vector = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 8;

    intrinsic! {
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn madd(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn scale(x: __m512, shifted: __m512) -> __m512 = {
            let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), n))
        };
    }
    #[inline(always)]
    unsafe fn read(at: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn write(at: *mut f32, x: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(at, x) }
    }
    #[inline(always)]
    fn outlined(task: impl Task) {
        // SAFETY: the type is only chosen where its instructions exist.
        unsafe { avx512(task) }
    }
    #[inline(always)]
    fn prefetch<T>(at: *const T) {
        // SAFETY: a hint, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    fn transpose(x: &mut [[f32; 8]; 8]) {
        // SAFETY: the type is only chosen where its instructions exist, and AVX2 with it.
        unsafe { transpose(x) }
    }
}

/// Rows to columns: pairs, then quarters, then halves of the vectors change places.
///
/// # Safety
/// Needs AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose(x: &mut [[f32; 8]; 8]) {
    // SAFETY: each row is eight f32.
    let r = x.map(|row| unsafe { _mm256_loadu_ps(row.as_ptr()) });
    let mut pairs = r;
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    let mut quarters = pairs;
    for i in [0, 4] {
        for j in 0..2 {
            let (a, b) = (pairs[i + j], pairs[i + j + 2]);
            quarters[i + 2 * j] = _mm256_shuffle_ps::<0x44>(a, b);
            quarters[i + 2 * j + 1] = _mm256_shuffle_ps::<0xee>(a, b);
        }
    }
    for i in 0..4 {
        let (a, b) = (quarters[i], quarters[i + 4]);
        // SAFETY: each row is eight f32.
        unsafe {
            _mm256_storeu_ps(x[i].as_mut_ptr(), _mm256_permute2f128_ps::<0x20>(a, b));
            _mm256_storeu_ps(x[i + 4].as_mut_ptr(), _mm256_permute2f128_ps::<0x31>(a, b));
        }
    }
}
