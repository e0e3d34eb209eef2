//! Aligned working memory of a thread, kept from one product to the next.

use std::cell::RefCell;

/// One cache line: what vector and tile loads want their blocks aligned to.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Working memory of this thread, at least `parts` f32 each, every part aligned to 64 bytes.
///
/// Contents are those of the last use.
pub(super) fn with<const N: usize, R>(
    parts: [usize; N],
    body: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    thread_local! {
        static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out while in use, so that a nested use gets memory of its own.
    let mut lines = LINES.with(|lines| std::mem::take(&mut *lines.borrow_mut()));
    let needed: usize = parts.iter().map(|part| part.div_ceil(16)).sum();
    if lines.len() < needed {
        lines.resize(needed, Line([0.0; 16]));
    }
    let mut rest = lines.as_mut_slice();
    let result = body(parts.map(|part| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(part.div_ceil(16));
        rest = tail;
        &mut floats(head)[..part]
    }));
    LINES.with(|slot| *slot.borrow_mut() = lines);
    result
}

fn floats(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: a line is sixteen f32 without padding, and its alignment is stricter.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 16) }
}
