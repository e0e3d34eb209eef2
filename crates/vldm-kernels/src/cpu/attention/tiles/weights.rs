//! From logits to weights, row by row of a block of tiles.
//!
//! A row's weights are `2^(logit - base)`, where the base is a whole number not far from the
//! largest logit so far: at most [`SLACK`] below it. It is raised only when a logit is further above,
//! which after the first keys hardly happens, and then what has been summed is multiplied by a power of two:
//! rounding does not depend on when.
//!
//! # Source
//! Dao et al. 2022 (arXiv:2205.14135), algorithm 1, with its maximum replaced as said.

#[cfg(target_arch = "x86_64")]
pub(super) mod x86;

use super::unit::SUMS;
use super::{KEYS, QUERIES};
use crate::cpu::attention::softmax::NO_LOGIT;

/// How far, in powers of two, a weight may be above 1.
pub(super) const SLACK: f32 = 8.0;

/// Elements from the upper rows of a block of logits to the lower ones.
pub(super) const LOWER: usize = KEYS * 16;

/// What is held of a block of queries while keys come by.
#[derive(Debug)]
pub(super) struct Running<'a> {
    /// Weighted sums of values: `[2, columns, 16, 16]`, whose second axis are tiles.
    pub(super) out: &'a mut [f32],
    /// Tiles of columns of `out`.
    pub(super) columns: usize,
    /// Sums of weights, in sixteen parts: `[QUERIES, 16]`.
    pub(super) sums: &'a mut [f32],
    /// What is subtracted from logits: `[QUERIES]`.
    pub(super) base: &'a mut [f32],
    /// The largest product of query and key that the base is good for: `[QUERIES]`.
    pub(super) limit: &'a mut [f32],
}

/// One block of queries and one tile of keys.
#[derive(Debug)]
pub(in super::super) struct Weigh<'a> {
    /// Products of queries and keys, f32 `[2, KEYS / 16, 16, 16]`. Becomes weights: bf16
    /// `[16, 32]` in every second tile.
    pub(super) logits: &'a mut [f32],
    /// Queries.
    pub(super) rows: usize,
    /// Pairs of tiles that hold keys.
    pub(super) pairs: usize,
    /// What products are multiplied by to be powers of two.
    pub(super) scale: f32,
    /// Which keys each query sees, one per bit, unless all see all.
    pub(super) seen: Option<&'a [u128; QUERIES]>,
    /// What goes on.
    pub(super) running: Running<'a>,
}

impl Running<'_> {
    /// Nothing seen yet.
    pub(super) fn clear(&mut self) {
        self.out.fill(0.0);
        self.sums.fill(0.0);
        self.base.fill(NO_LOGIT);
        self.limit.fill(f32::NEG_INFINITY);
    }

    /// The same for a while.
    pub(super) fn reborrow(&mut self) -> Running<'_> {
        Running {
            out: &mut *self.out,
            columns: self.columns,
            sums: &mut *self.sums,
            base: &mut *self.base,
            limit: &mut *self.limit,
        }
    }

    /// Raises a row's base for a product of `largest`.
    #[inline(always)]
    pub(super) fn raise(&mut self, row: usize, largest: f32, scale: f32) {
        let base = (largest * scale).ceil();
        let factor = power_of_two(self.base[row] - base);
        self.base[row] = base;
        self.limit[row] = (base + SLACK) / scale;
        for sum in &mut self.sums[row * 16..][..16] {
            *sum *= factor;
        }
        let start = row / 16 * self.columns * SUMS + row % 16 * 16;
        for column in 0..self.columns {
            for sum in &mut self.out[start + column * SUMS..][..16] {
                *sum *= factor;
            }
        }
    }

    /// A row's base and sum; 0 where no key was seen.
    #[inline(always)]
    pub(super) fn total(&self, row: usize) -> (f32, f32) {
        let parts = self.sums[row * 16..].first_chunk::<16>();
        let parts = parts.expect("a row of sums has sixteen parts");
        let eight: [f32; 8] = std::array::from_fn(|i| parts[i] + parts[i + 8]);
        let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
        (self.base[row], (four[0] + four[2]) + (four[1] + four[3]))
    }
}

/// `2^n` for a whole `n` up to 0; 0 where it would have less than all its bits.
#[inline(always)]
fn power_of_two(n: f32) -> f32 {
    if n < -126.0 {
        return 0.0;
    }
    f32::from_bits(((n as i32 + 127) as u32) << 23)
}
