//! One output written by several tasks.

use std::any::TypeId;
use std::marker::PhantomData;
use std::ops::Range;

/// A slice whose disjoint parts are handed to different threads.
///
/// Parts of a matrix's columns cannot be expressed as `chunks_mut`; this is what is left.
#[derive(Debug)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are only reached through `slice`, whose caller promises that they are disjoint.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// The same, if its elements are of the other type already.
    pub(crate) fn of_type<E: 'static>(&self) -> Option<Shared<'a, E>>
    where
        T: 'static,
    {
        (TypeId::of::<T>() == TypeId::of::<E>()).then_some(Shared {
            start: self.start.cast(),
            len: self.len,
            slice: PhantomData,
        })
    }

    /// Has the element at `index` brought closer, to be written.
    #[inline(always)]
    pub(crate) fn prefetch(&self, index: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            let at = self.start.wrapping_add(index);
            // SAFETY: a hint, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(at.cast_const().cast()) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = index;
    }

    /// The part at `range`; panics if it is outside.
    ///
    /// # Safety
    ///
    /// No two parts that exist at the same time overlap.
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller promises that parts are disjoint"
    )]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the slice that `new` borrowed, and disjoint from other parts.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
