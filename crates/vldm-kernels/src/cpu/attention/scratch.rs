//! Memory of a thread that its tasks use one after the other.

use std::cell::RefCell;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with slices of these lengths, each on a cache line of its own, holding anything.
#[inline(always)]
pub(super) fn with_scratch<const N: usize>(lengths: [usize; N], f: impl FnOnce([&mut [f32]; N])) {
    SCRATCH.with_borrow_mut(|lines| {
        let needed = lengths.iter().map(|n| n.div_ceil(16)).sum();
        if lines.len() < needed {
            lines.resize(needed, Line([0.0; 16]));
        }
        let mut rest = lines.as_mut_slice();
        f(lengths.map(|length| {
            let (taken, after) = std::mem::take(&mut rest).split_at_mut(length.div_ceil(16));
            rest = after;
            let first = taken.as_mut_ptr().cast::<f32>();
            // SAFETY: a line is sixteen f32, and these lines are borrowed for nothing else.
            unsafe { std::slice::from_raw_parts_mut(first, length) }
        }));
    });
}
