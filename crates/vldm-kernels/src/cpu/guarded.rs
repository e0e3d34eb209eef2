//! Test memory with a forbidden page directly before and directly behind it: what reads or writes
//! one element too far ends the process, whatever instruction does it.

use std::ops::{Deref, DerefMut};

/// A slice between two forbidden pages, at the end or at the start of the room between them.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    map: *mut libc::c_void,
    bytes: usize,
    start: *mut T,
    len: usize,
}

const PAGE: usize = 1 << 16;

impl<T: Copy> Guarded<T> {
    /// A copy of `values` that ends (`at_end`) or starts at a forbidden page.
    pub(crate) fn new(values: &[T], at_end: bool) -> Self {
        let room = size_of_val(values).next_multiple_of(PAGE).max(PAGE);
        let bytes = room + 2 * PAGE;
        // SAFETY: a new mapping of its own, of which only the middle may be touched.
        let (map, start) = unsafe {
            let access = libc::PROT_NONE;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let middle = map.byte_add(PAGE);
            assert_eq!(
                libc::mprotect(middle, room, libc::PROT_READ | libc::PROT_WRITE),
                0
            );
            let offset = if at_end {
                room - size_of_val(values)
            } else {
                0
            };
            (map, middle.byte_add(offset).cast::<T>())
        };
        // SAFETY: there is room for the values, and elements are copied, not moved.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), start, values.len()) };
        Self {
            map,
            bytes,
            start,
            len: values.len(),
        }
    }
}

impl<T> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: initialised by `new`, and borrowed like a field.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; nothing borrows from it any more.
        unsafe { libc::munmap(self.map, self.bytes) };
    }
}
