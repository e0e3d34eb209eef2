//! Vectors of f32, one type per level, so that each kernel is written once.
//!
//! The compiler does not turn loops over arrays into the register blocks that products need;
//! here every operation is one instruction of the level by construction.

#[cfg(target_arch = "x86_64")]
mod x86;

use crate::cpu::level::Level;

/// The operations the attention kernels consist of.
///
/// Only [`dispatch`] chooses an implementation, inside a function compiled for its instructions.
pub(super) trait Simd: 'static {
    /// One vector.
    type Vector: Copy;
    /// Elements per vector.
    const LANES: usize;
    /// Rows of accumulators that fit in the registers beside each other, three vectors each.
    const ROWS: usize;

    fn splat(x: f32) -> Self::Vector;
    /// # Safety
    /// `LANES` elements from `at` must be readable.
    unsafe fn read(at: *const f32) -> Self::Vector;
    /// # Safety
    /// `LANES` elements from `at` must be writable.
    unsafe fn write(at: *mut f32, x: Self::Vector);
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`.
    fn madd(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The larger one; `b` if either is NaN.
    fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `x * 2^n`, where `n` stands in the low bits of `shifted` and the result is in range.
    fn scale(x: Self::Vector, shifted: Self::Vector) -> Self::Vector;
    fn transpose(x: &mut [[f32; 8]; 8]);
    /// Has what is there brought closer; any address will do.
    fn prefetch<T>(at: *const T);

    /// Runs the task in a function of its own, compiled for the vectors' instructions; all calls
    /// with the same task share it.
    fn outlined(task: impl Task);

    /// The first `LANES` elements of `x`.
    #[inline(always)]
    fn load(x: &[f32]) -> Self::Vector {
        assert!(x.len() >= Self::LANES);
        // SAFETY: just asserted.
        unsafe { Self::read(x.as_ptr()) }
    }

    /// Over the first `LANES` elements of `to`.
    #[inline(always)]
    fn store(to: &mut [f32], x: Self::Vector) {
        assert!(to.len() >= Self::LANES);
        // SAFETY: just asserted.
        unsafe { Self::write(to.as_mut_ptr(), x) }
    }
}

/// Work that can be compiled for any vector type.
pub(super) trait Task {
    /// `#[inline(always)]`, like everything it calls.
    fn run<S: Simd>(self);
}

/// Runs the task with the vectors of the level; with `narrow`, of eight lanes at most.
#[inline]
pub(super) fn dispatch(level: Level, narrow: bool, task: impl Task) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is only in use on a processor that has its instructions.
        Level::Avx512 | Level::Amx if !narrow => unsafe { x86::avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 | Level::Avx512 | Level::Amx => unsafe { x86::avx2(task) },
        _ => task.run::<Portable>(),
    }
}

/// `2^x` for `x` up to 127, to about 1 unit in the last place; 0 from -127 down, NaN for NaN.
#[inline(always)]
pub(super) fn exp2<S: Simd>(x: S::Vector) -> S::Vector {
    // Adding 1.5 * 2^23 rounds to the nearest integer, and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // Minimax for the relative error on [-1/2, 1/2], with 2^0 exact.
    const P: [f32; 6] = [
        1.559_467_7e-4,
        1.340_664_4e-3,
        9.617_693e-3,
        5.550_310_5e-2,
        0.240_226_53,
        std::f32::consts::LN_2,
    ];
    let x = S::max(S::splat(-127.0), x);
    let shifted = S::add(x, S::splat(ROUND));
    let r = S::sub(x, S::sub(shifted, S::splat(ROUND)));
    let mut p = S::splat(P[0]);
    for c in &P[1..] {
        p = S::madd(p, r, S::splat(*c));
    }
    S::scale(S::madd(p, r, S::splat(1.0)), shifted)
}

/// Four lanes of plain Rust.
pub(super) struct Portable;

/// The elements of two vectors combined one by one.
#[inline(always)]
fn zip(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Portable {
    type Vector = [f32; 4];
    const LANES: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn read(at: *const f32) -> [f32; 4] {
        // SAFETY: the caller's promise; the type needs no alignment beyond that of f32.
        unsafe { at.cast::<[f32; 4]>().read() }
    }
    #[inline(always)]
    unsafe fn write(at: *mut f32, x: [f32; 4]) {
        // SAFETY: as above.
        unsafe { at.cast::<[f32; 4]>().write(x) }
    }
    #[inline(always)]
    fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn madd(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        Self::add(Self::mul(a, b), c)
    }
    #[inline(always)]
    fn max(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn scale(x: [f32; 4], shifted: [f32; 4]) -> [f32; 4] {
        zip(x, shifted, |x, n| {
            f32::from_bits(x.to_bits().wrapping_add(n.to_bits() << 23))
        })
    }
    #[inline(always)]
    fn prefetch<T>(_at: *const T) {}
    #[inline(never)]
    fn outlined(task: impl Task) {
        task.run::<Self>();
    }
    #[inline(always)]
    fn transpose(x: &mut [[f32; 8]; 8]) {
        let rows = *x;
        for (i, column) in x.iter_mut().enumerate() {
            for (x, row) in column.iter_mut().zip(&rows) {
                *x = row[i];
            }
        }
    }
}
