//! The products of attention, with tokens of one side in the lanes.
//!
//! A block holds `VECTORS` vectors of tokens side by side: `[rows, VECTORS * LANES]`. The other
//! side are packed rows `[tokens, stride]`, whose elements are broadcast. So neither the head's
//! size nor the number of tokens on that side leaves lanes unused, and softmax, which runs along
//! the other side, never works across lanes.

use super::simd::{Simd, Task};

/// Rows are computed this many at a time: what lies behind the last one must be there to be read
/// (and, in results, to be written), but never matters.
pub(super) const ROWS: usize = 8;

/// Vectors in the widest block.
pub(super) const VECTORS: usize = 3;

/// Tokens as rows: `[tokens, stride]`, of which the first elements are the head's.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
}

/// `out[t, lane] = sum_d rows[t, d] * block[d, lane]`, for tokens up to a multiple of [`ROWS`].
pub(super) struct Scores<'a, const V: usize> {
    pub(super) rows: Rows<'a>,
    pub(super) tokens: usize,
    pub(super) block: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl<const V: usize> Task for Scores<'_, V> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self {
            rows,
            tokens,
            block,
            out,
        } = self;
        let width = V * S::LANES;
        let tokens = tokens.next_multiple_of(ROWS);
        let depth = block.len() / width;
        assert!(rows.stride >= depth && rows.data.len() >= tokens * rows.stride);
        for (group, out) in out[..tokens * width]
            .chunks_exact_mut(ROWS * width)
            .enumerate()
        {
            let a = Broadcast {
                start: rows.data[group * ROWS * rows.stride..].as_ptr(),
                row: rows.stride,
                step: 1,
            };
            // SAFETY: the group's rows were asserted to be there, and as long as `depth`.
            unsafe { product::<S, V>(a, block, Start::Zero, out) }
        }
    }
}

/// `out[d, lane] = start[d, lane] + sum_t rows[t, d] * weights[t, lane]`, for `d` below `dim`;
/// `out` has a multiple of [`ROWS`] rows.
pub(super) struct Accumulate<'a, const V: usize> {
    pub(super) rows: Rows<'a>,
    pub(super) dim: usize,
    pub(super) weights: &'a [f32],
    pub(super) start: Start<'a>,
    pub(super) out: &'a mut [f32],
}

impl<const V: usize> Task for Accumulate<'_, V> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self {
            rows,
            dim,
            weights,
            start,
            out,
        } = self;
        const HALF: usize = ROWS / 2;
        let width = V * S::LANES;
        let tokens = weights.len() / width;
        let padded = out.len() / width;
        assert!(padded == dim.next_multiple_of(ROWS) && rows.stride >= padded);
        assert!(rows.data.len() >= tokens * rows.stride);
        for (group, out) in out.chunks_exact_mut(ROWS * width).enumerate() {
            let a = Broadcast {
                start: rows.data[group * ROWS..].as_ptr(),
                row: 1,
                step: rows.stride,
            };
            // SAFETY: as many rows as `weights` has, of at least `padded`, were asserted.
            unsafe {
                if dim - group * ROWS <= HALF {
                    kernel::<S, V, HALF>(a, weights, start, out.as_mut_ptr());
                } else {
                    product::<S, V>(a, weights, start, out);
                }
            }
        }
    }
}

/// `out[t, :] += sum_lane weights[t, lane] * rows[lane, :]`, for tokens up to a multiple of
/// [`ROWS`]: the product that sums over the lanes. `out` has the rows' stride.
pub(super) struct Spread<'a> {
    /// `[tokens, width]`
    pub(super) weights: &'a [f32],
    /// Elements of a row of weights.
    pub(super) width: usize,
    /// A row for each lane that counts.
    pub(super) rows: Rows<'a>,
    /// How many those are.
    pub(super) lanes: usize,
    /// Elements of a row that count.
    pub(super) dim: usize,
    pub(super) out: &'a mut [f32],
}

impl Task for Spread<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let stride = self.rows.stride;
        assert!(self.dim.next_multiple_of(S::LANES) <= stride && self.lanes <= self.width);
        assert!(self.rows.data.len() >= self.lanes * stride);
        assert!(self.out.len().is_multiple_of(ROWS * stride));
        assert!(self.weights.len() * stride >= self.out.len() * self.width);
        for column in (0..self.dim).step_by(VECTORS * S::LANES) {
            match (self.dim - column).div_ceil(S::LANES) {
                1 => self.columns::<S, 1>(column),
                2 => self.columns::<S, 2>(column),
                _ => self.columns::<S, VECTORS>(column),
            }
        }
    }
}

impl Spread<'_> {
    /// `V` vectors of columns from `column` on.
    #[inline(always)]
    fn columns<S: Simd, const V: usize>(&mut self, column: usize) {
        const HALF: usize = ROWS / 2;
        let tokens = self.out.len() / self.rows.stride;
        for token in (0..tokens).step_by(ROWS) {
            // SAFETY: `run` asserted that rows, weights and output are there, as long as that.
            unsafe {
                if V == 1 || S::ROWS == ROWS {
                    self.block::<S, V, ROWS>(token, column);
                } else {
                    self.block::<S, V, HALF>(token, column);
                    self.block::<S, V, HALF>(token + HALF, column);
                }
            }
        }
    }

    /// # Safety
    /// `R` tokens from `token` on, and `V` vectors from `column` on, lie inside the operands.
    #[inline(always)]
    unsafe fn block<S: Simd, const V: usize, const R: usize>(
        &mut self,
        token: usize,
        column: usize,
    ) {
        let stride = self.rows.stride;
        let mut sums = [[S::splat(0.0); V]; R];
        // SAFETY: the caller's promise.
        unsafe {
            let out = self.out.as_mut_ptr().add(token * stride + column);
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = S::read(out.add(r * stride + v * S::LANES));
                }
            }
            let weights = self.weights.as_ptr().add(token * self.width);
            let rows = self.rows.data.as_ptr().add(column);
            for lane in 0..self.lanes {
                let mut row = [S::splat(0.0); V];
                for (v, x) in row.iter_mut().enumerate() {
                    *x = S::read(rows.add(lane * stride + v * S::LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = S::splat(*weights.add(r * self.width + lane));
                    for (sum, y) in sums.iter_mut().zip(&row) {
                        *sum = S::madd(x, *y, *sum);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    S::write(out.add(r * stride + v * S::LANES), *sum);
                }
            }
        }
    }
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    /// Nothing.
    Zero,
    /// What the result holds.
    Held,
    /// What the result holds, each lane times its factor.
    Scaled(&'a [f32]),
}

/// The scalars of a product: element `[r, k]` lies at `start + r * row + k * step`.
#[derive(Clone, Copy)]
struct Broadcast {
    start: *const f32,
    row: usize,
    step: usize,
}

/// Computes [`ROWS`] rows of `out`, as many at a time as the registers hold.
///
/// # Safety
/// `a[r, k]` must be readable for `r < ROWS` and each row `k` of `b`.
#[inline(always)]
unsafe fn product<S: Simd, const V: usize>(
    a: Broadcast,
    b: &[f32],
    start: Start<'_>,
    out: &mut [f32],
) {
    const HALF: usize = ROWS / 2;
    let width = V * S::LANES;
    assert!(out.len() >= ROWS * width);
    // SAFETY: the caller's promise for `a`; `out` was just asserted to hold all rows.
    unsafe {
        // A single vector leaves room for all rows, and needs them to hide latency.
        if V == 1 || S::ROWS == ROWS {
            kernel::<S, V, ROWS>(a, b, start, out.as_mut_ptr());
        } else {
            kernel::<S, V, HALF>(a, b, start, out.as_mut_ptr());
            let start_below = a.start.add(HALF * a.row);
            let below = Broadcast {
                start: start_below,
                ..a
            };
            kernel::<S, V, HALF>(below, b, start, out.as_mut_ptr().add(HALF * width));
        }
    }
}

/// # Safety
/// `a[r, k]` must be readable for `r < R` and each row `k` of `b`, `R` rows writable at `out`;
/// a row is `V` vectors.
#[inline(always)]
unsafe fn kernel<S: Simd, const V: usize, const R: usize>(
    a: Broadcast,
    b: &[f32],
    start: Start<'_>,
    out: *mut f32,
) {
    let width = V * S::LANES;
    let mut sums = [[S::splat(0.0); V]; R];
    if !matches!(start, Start::Zero) {
        // SAFETY: the caller's promise.
        sums = unsafe { starting_sums::<S, V, R>(start, out) };
    }
    // SAFETY: `k` is below `b`'s rows, the rest as the caller promised.
    unsafe {
        for k in 0..b.len() / width {
            let mut row = [S::splat(0.0); V];
            for (v, x) in row.iter_mut().enumerate() {
                *x = S::read(b.as_ptr().add(k * width + v * S::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = S::splat(*a.start.add(r * a.row + k * a.step));
                for (sum, y) in sums.iter_mut().zip(&row) {
                    *sum = S::madd(x, *y, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                S::write(out.add(r * width + v * S::LANES), *sum);
            }
        }
    }
}

/// # Safety
/// `R` rows of `V` vectors must be readable at `held`.
#[inline(always)]
unsafe fn starting_sums<S: Simd, const V: usize, const R: usize>(
    start: Start<'_>,
    held: *const f32,
) -> [[S::Vector; V]; R] {
    let mut sums = [[S::splat(0.0); V]; R];
    for v in 0..V {
        let factor = match start {
            Start::Scaled(factors) => S::load(&factors[v * S::LANES..]),
            _ => S::splat(1.0),
        };
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let x = unsafe { S::read(held.add((r * V + v) * S::LANES)) };
            sums[v] = S::mul(x, factor);
        }
    }
    sums
}
