//! The types a tensor's elements may have.

use std::any::TypeId;

use half::bf16;

/// A float as it lies in memory. Arithmetic is always f32.
pub trait Element: Copy + Default + Send + Sync + PartialEq + std::fmt::Debug + 'static {
    /// Whether it has half of f32's bits.
    const IS_HALF: bool;

    /// The value in f32, exactly.
    fn widen(self) -> f32;
    /// The nearest value of this type (ties to even).
    fn narrow(value: f32) -> Self;
}

impl Element for f32 {
    const IS_HALF: bool = false;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    const IS_HALF: bool = true;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        // Plain integer arithmetic, so that loops over it become vector instructions.
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let quiet_nan = (bits >> 16) | 0x40;
        let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
        Self::from_bits(if is_nan { quiet_nan } else { rounded } as u16)
    }
}

/// Copies `from` to `to`, of the same length, rounding if need be; a part of other bodies.
#[inline(always)]
pub(crate) fn convert_into<T: Element, E: Element>(from: &[T], to: &mut [E]) {
    debug_assert_eq!(from.len(), to.len());
    if let Some(from) = same(from) {
        return to.copy_from_slice(from);
    }
    for (from, to) in from.iter().zip(to) {
        *to = E::narrow(from.widen());
    }
}

/// The values, if they are of the other type already: known when the code is compiled.
#[inline(always)]
pub(crate) fn same<T: Element, E: Element>(values: &[T]) -> Option<&[E]> {
    // SAFETY: the types are the same one.
    (TypeId::of::<T>() == TypeId::of::<E>())
        .then(|| unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) })
}

/// The memory of floats, for twice as many halves.
pub(crate) fn halves(floats: &mut [f32]) -> &mut [bf16] {
    // SAFETY: an f32 is as large as two bf16 and aligned more strictly, and any bits are valid.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), floats.len() * 2) }
}
