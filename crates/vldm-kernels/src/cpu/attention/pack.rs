//! Between tensors and the f32 blocks the products work on.

use std::ops::Range;

use super::product::Rows;
use super::simd::{Simd, Task};
use crate::cpu::element::Element;

/// Some tokens of one head in memory: token `t` starts at `t * stride`.
#[derive(Clone, Copy)]
pub(super) struct HeadTokens<'a, T> {
    pub(super) data: &'a [T],
    pub(super) stride: usize,
    pub(super) dim: usize,
}

impl<'a, T> HeadTokens<'a, T> {
    /// Without the first `n`.
    #[inline(always)]
    pub(super) fn skip(self, n: usize) -> Self {
        Self {
            data: &self.data[n * self.stride..],
            ..self
        }
    }

    #[inline(always)]
    pub(super) fn token(self, t: usize) -> &'a [T] {
        &self.data[t * self.stride..][..self.dim]
    }
}

/// Elements from one packed row to the next: whole cache lines, and an odd number of them, so
/// that equal columns of many rows do not compete for the same few places in the cache.
pub(super) fn row_stride(dim: usize) -> usize {
    (dim.div_ceil(16) | 1) * 16
}

impl<T: Element> HeadTokens<'_, T> {
    /// Has some tokens brought closer.
    #[inline(always)]
    pub(super) fn prefetch<S: Simd>(self, tokens: Range<usize>) {
        let start = self.data.as_ptr();
        for t in tokens {
            prefetch_token::<S, T>(start.wrapping_add(t * self.stride), self.dim);
        }
    }

    /// Copies some tokens into rows of [`row_stride`].
    #[inline(always)]
    pub(super) fn pack_rows<'a, S: Simd>(
        self,
        tokens: &Range<usize>,
        to: &'a mut [f32],
    ) -> Rows<'a> {
        let stride = row_stride(self.dim);
        S::outlined(PackRows {
            from: self,
            tokens,
            to: &mut *to,
        });
        Rows { data: to, stride }
    }

    /// The first `tokens` tokens to lanes: `to[d, lane] = factor * self[lane, d]`, 0 in lanes
    /// without a token; `to` is `[dim, width]`.
    #[inline(always)]
    pub(super) fn pack_lanes<S: Simd>(self, tokens: usize, factor: f32, to: &mut [f32]) {
        S::outlined(PackLanes {
            from: self,
            tokens,
            factor,
            to,
        });
    }
}

/// All cache lines of `dim` elements.
#[inline(always)]
fn prefetch_token<S: Simd, T>(start: *const T, dim: usize) {
    for d in (0..dim).step_by(64 / size_of::<T>()) {
        S::prefetch(start.wrapping_add(d));
    }
    S::prefetch(start.wrapping_add(dim - 1));
}

struct PackRows<'a, T> {
    from: HeadTokens<'a, T>,
    tokens: &'a Range<usize>,
    to: &'a mut [f32],
}

impl<T: Element> Task for PackRows<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { from, tokens, to } = self;
        for (t, row) in tokens
            .clone()
            .zip(to.chunks_exact_mut(row_stride(from.dim)))
        {
            for (y, x) in row.iter_mut().zip(from.token(t)) {
                *y = x.widen();
            }
        }
    }
}

struct PackLanes<'a, T> {
    from: HeadTokens<'a, T>,
    tokens: usize,
    factor: f32,
    to: &'a mut [f32],
}

impl<T: Element> Task for PackLanes<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self {
            from,
            tokens,
            factor,
            to,
        } = self;
        let width = to.len() / from.dim;
        if tokens < width {
            to.fill(0.0);
        }
        for t in (0..tokens).step_by(8) {
            let lanes = (width - t).min(8);
            for d in (0..from.dim).step_by(8) {
                let mut x = [[0.0; 8]; 8];
                for (token, x) in (t..tokens).zip(&mut x) {
                    widen_eight(&from.token(token)[d..], factor, x);
                }
                S::transpose(&mut x);
                for (row, x) in to[d * width..].chunks_exact_mut(width).zip(&x) {
                    copy_eight(&x[..lanes], &mut row[t..]);
                }
            }
        }
    }
}

/// Up to eight elements. (A constant number of them is a single instruction.)
#[inline(always)]
fn copy_eight(from: &[f32], to: &mut [f32]) {
    match (from.first_chunk::<8>(), to.first_chunk_mut::<8>()) {
        (Some(from), Some(to)) => *to = *from,
        _ => to[..from.len()].copy_from_slice(from),
    }
}

/// Up to eight elements.
#[inline(always)]
fn widen_eight<T: Element>(from: &[T], factor: f32, to: &mut [f32; 8]) {
    if let Some(from) = from.first_chunk::<8>() {
        for (y, x) in to.iter_mut().zip(from) {
            *y = x.widen() * factor;
        }
    } else {
        for (y, x) in to.iter_mut().zip(from) {
            *y = x.widen() * factor;
        }
    }
}

/// Where the tokens of one head are written: token `t` starts at `t * stride`.
pub(super) struct HeadTarget<T> {
    pub(super) start: *mut T,
    pub(super) stride: usize,
    pub(super) dim: usize,
}

impl<T: Element> HeadTarget<T> {
    /// Sets the first element of token `t`.
    ///
    /// # Safety
    /// It must be writable, by nobody else.
    #[inline(always)]
    pub(super) unsafe fn write(&self, t: usize, x: T) {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(t * self.stride).write(x) }
    }

    /// Has the first `tokens` tokens brought closer.
    #[inline(always)]
    pub(super) fn prefetch<S: Simd>(&self, tokens: usize) {
        for t in 0..tokens {
            prefetch_token::<S, T>(self.start.wrapping_add(t * self.stride), self.dim);
        }
    }

    /// Lanes to tokens: `self[lane, d] = from[d, lane] * factors[lane]`; `from` is `[>= dim, width]`.
    ///
    /// # Safety
    /// `tokens` tokens must be writable, by nobody else.
    #[inline(always)]
    pub(super) unsafe fn unpack<S: Simd>(self, tokens: usize, from: &[f32], factors: &[f32]) {
        S::outlined(Unpack {
            to: self,
            tokens,
            from,
            factors,
        });
    }
}

impl<T: Element> HeadTarget<T> {
    /// Rows to tokens: `self[t, d] = rows[t, d] * factor`.
    ///
    /// # Safety
    /// `tokens` tokens must be writable, by nobody else.
    #[inline(always)]
    pub(super) unsafe fn unpack_rows<S: Simd>(self, tokens: usize, rows: Rows<'_>, factor: f32) {
        S::outlined(UnpackRows {
            to: self,
            tokens,
            rows,
            factor,
        });
    }
}

/// Made by [`HeadTarget::unpack_rows`] only, under its conditions.
struct UnpackRows<'a, T> {
    to: HeadTarget<T>,
    tokens: usize,
    rows: Rows<'a>,
    factor: f32,
}

impl<T: Element> Task for UnpackRows<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self {
            to,
            tokens,
            rows,
            factor,
        } = self;
        for (t, row) in rows.data.chunks_exact(rows.stride).enumerate().take(tokens) {
            // SAFETY: `unpack_rows`'s condition.
            let to = unsafe { std::slice::from_raw_parts_mut(to.start.add(t * to.stride), to.dim) };
            for (y, x) in to.iter_mut().zip(row) {
                *y = T::narrow(x * factor);
            }
        }
    }
}

/// Made by [`HeadTarget::unpack`] only, under its conditions.
struct Unpack<'a, T> {
    to: HeadTarget<T>,
    tokens: usize,
    from: &'a [f32],
    factors: &'a [f32],
}

impl<T: Element> Task for Unpack<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self {
            to,
            tokens,
            from,
            factors,
        } = self;
        let width = factors.len();
        for t in (0..tokens).step_by(8) {
            let lanes = (width - t).min(8);
            for d in (0..to.dim).step_by(8) {
                let mut x = [[0.0; 8]; 8];
                for (row, x) in from[d * width..].chunks_exact(width).zip(&mut x) {
                    scale_eight(&row[t..t + lanes], &factors[t..t + lanes], x);
                }
                S::transpose(&mut x);
                let dims = (to.dim - d).min(8);
                for (token, x) in (t..tokens).zip(&x) {
                    // SAFETY: `unpack`'s condition; `d + dims` is at most `dim`.
                    let to = unsafe {
                        let at = to.start.add(token * to.stride + d);
                        std::slice::from_raw_parts_mut(at, dims)
                    };
                    narrow_eight(x, to);
                }
            }
        }
    }
}

/// Up to eight elements.
#[inline(always)]
fn scale_eight(row: &[f32], factors: &[f32], to: &mut [f32; 8]) {
    match (row.first_chunk::<8>(), factors.first_chunk::<8>()) {
        (Some(row), Some(factors)) => {
            for (y, (x, f)) in to.iter_mut().zip(row.iter().zip(factors)) {
                *y = x * f;
            }
        }
        _ => {
            for (y, (x, f)) in to.iter_mut().zip(row.iter().zip(factors)) {
                *y = x * f;
            }
        }
    }
}

/// Up to eight elements.
#[inline(always)]
fn narrow_eight<T: Element>(x: &[f32; 8], to: &mut [T]) {
    if let Some(to) = to.first_chunk_mut::<8>() {
        for (y, x) in to.iter_mut().zip(x) {
            *y = T::narrow(*x);
        }
    } else {
        for (y, x) in to.iter_mut().zip(x) {
            *y = T::narrow(*x);
        }
    }
}
