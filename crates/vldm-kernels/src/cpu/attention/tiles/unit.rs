//! What multiplies tiles and turns logits into weights: the processor, or plain arithmetic in tests.

use half::bf16;

use super::weights::Weigh;

/// Rows, and columns of four bytes, of a tile.
pub(super) const SIDE: usize = 16;

/// Depth that one instruction multiplies.
pub(super) const DEPTH: usize = 32;

/// Elements of bf16 in a tile: `[16, 32]` of a left operand, `[16, 16, 2]` of a right one, whose
/// depths lie in pairs.
pub(super) const TILE: usize = SIDE * DEPTH;

/// Elements of f32 in a tile.
pub(super) const SUMS: usize = SIDE * SIDE;

/// Two tiles of rows times one or two tiles of columns. Each tile lies in one piece, on lines of the
/// cache: loads of tiles that straddle lines take three times as long.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Product {
    /// First tile of the left operand.
    pub(super) left: *const bf16,
    /// Elements from one step of depth to the next.
    pub(super) left_step: usize,
    /// Elements from the upper rows to the lower ones.
    pub(super) left_rows: usize,
    /// First tile of the right operand; those of its other steps of depth follow.
    pub(super) right: *const bf16,
    /// Elements from the first tile of columns to the second.
    pub(super) right_columns: usize,
    /// First tile of sums; that of the second columns follows.
    pub(super) sums: *mut f32,
    /// Elements from the upper rows to the lower ones.
    pub(super) sums_rows: usize,
    /// Tiles of depth, at least one.
    pub(super) steps: usize,
    /// Whether there are two tiles of columns.
    pub(super) is_wide: bool,
    /// Whether the products are added to what is there.
    pub(super) adds: bool,
}

/// What computes tiles.
pub(in super::super) trait Unit: 'static {
    /// Gets this thread ready.
    fn begin();

    /// Multiplies.
    ///
    /// # Safety
    /// All tiles of the product are valid, start at multiples of 64 bytes, and the sums are nobody
    /// else's; the unit is there.
    unsafe fn multiply(product: &Product);

    /// Turns logits into weights.
    ///
    /// # Safety
    /// The unit is there.
    unsafe fn weigh(weigh: Weigh<'_>);

    /// Copies up to [`DEPTH`] elements, with zeros behind them.
    ///
    /// # Safety
    /// The unit is there.
    unsafe fn copy(from: &[bf16], to: &mut [bf16; DEPTH]);

    /// Copies two times up to [`DEPTH`] elements, with zeros behind them, to pairs of one of either:
    /// [`SIDE`] pairs to the left, those that follow to the right.
    ///
    /// # Safety
    /// The unit is there.
    unsafe fn interleave(
        from: [&[bf16]; 2],
        left: &mut [bf16; DEPTH],
        right: Option<&mut [bf16; DEPTH]>,
    );

    /// Copies [`SIDE`] times up to [`DEPTH`] elements, with zeros behind them, so that rows become
    /// columns; pairs of elements stay together.
    ///
    /// # Safety
    /// The unit is there.
    unsafe fn transpose(from: &[&[bf16]; SIDE], to: &mut [bf16; TILE]);

    /// Sets up to [`SIDE`] elements to as many sums times `factor`.
    ///
    /// # Safety
    /// The unit is there.
    unsafe fn scale(from: &[f32; SIDE], factor: f32, to: &mut [bf16]);

    /// Leaves this thread as it was.
    fn end();
}

/// The processor's own unit.
#[derive(Debug)]
pub(in super::super) struct Hardware;

#[cfg(target_arch = "x86_64")]
impl Unit for Hardware {
    fn begin() {
        // SAFETY: the level promises the unit.
        unsafe { crate::cpu::tile_unit::begin() }
    }

    #[inline(always)]
    unsafe fn multiply(product: &Product) {
        debug_assert!(
            [
                product.left.addr(),
                product.right.addr(),
                product.sums.addr(),
                product.left_step * size_of::<bf16>(),
                product.left_rows * size_of::<bf16>(),
                product.right_columns * size_of::<bf16>(),
                product.sums_rows * size_of::<f32>(),
            ]
            .iter()
            .all(|at| at.is_multiple_of(64)),
            "tiles lie on cache lines"
        );
        // SAFETY: the caller's promise.
        unsafe {
            if product.is_wide {
                super::multiply::wide(product);
            } else {
                super::multiply::narrow(product);
            }
        }
    }

    unsafe fn weigh(weigh: Weigh<'_>) {
        // SAFETY: the level promises the instructions.
        unsafe { super::weights::x86::weigh(weigh) }
    }

    #[inline(always)]
    unsafe fn copy(from: &[bf16], to: &mut [bf16; DEPTH]) {
        // SAFETY: as above.
        unsafe { super::lines::copy(from, to) }
    }

    #[inline(always)]
    unsafe fn interleave(
        from: [&[bf16]; 2],
        left: &mut [bf16; DEPTH],
        right: Option<&mut [bf16; DEPTH]>,
    ) {
        // SAFETY: as above.
        unsafe { super::lines::interleave(from, left, right) }
    }

    #[inline(always)]
    unsafe fn transpose(from: &[&[bf16]; SIDE], to: &mut [bf16; TILE]) {
        // SAFETY: as above.
        unsafe { super::lines::transpose(from, to) }
    }

    unsafe fn scale(from: &[f32; SIDE], factor: f32, to: &mut [bf16]) {
        // SAFETY: as above.
        unsafe { super::lines::scale(from, factor, to) }
    }

    fn end() {
        // SAFETY: the unit is there; its registers hold nothing that is still needed.
        unsafe { crate::cpu::tile_unit::end() }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Unit for Hardware {
    fn begin() {
        unreachable!("no level of this processor has tiles");
    }

    unsafe fn multiply(_: &Product) {
        unreachable!("no level of this processor has tiles");
    }

    unsafe fn weigh(_: Weigh<'_>) {
        unreachable!("no level of this processor has tiles");
    }

    unsafe fn copy(_: &[bf16], _: &mut [bf16; DEPTH]) {
        unreachable!("no level of this processor has tiles");
    }

    unsafe fn interleave(_: [&[bf16]; 2], _: &mut [bf16; DEPTH], _: Option<&mut [bf16; DEPTH]>) {
        unreachable!("no level of this processor has tiles");
    }

    unsafe fn transpose(_: &[&[bf16]; SIDE], _: &mut [bf16; TILE]) {
        unreachable!("no level of this processor has tiles");
    }

    unsafe fn scale(_: &[f32; SIDE], _: f32, _: &mut [bf16]) {
        unreachable!("no level of this processor has tiles");
    }

    fn end() {}
}
