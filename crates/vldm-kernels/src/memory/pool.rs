//! Memory for results, taken back when they are dropped and handed out again.
//!
//! A step of a network allocates the same sizes as the step before it. Memory that goes back to
//! the system in between must be mapped and cleared again, page by page, which costs more than
//! many operations themselves. Small blocks stay with the thread that dropped them: the networks of
//! tests and self-tests make thousands of them in a step.

use std::cell::RefCell;
use std::sync::Mutex;

use bytemuck::Pod;
use bytes::Bytes;
use memmap2::MmapMut;

/// From this many bytes on, blocks are mapped and shared by all threads.
const LEAST: usize = 1 << 16;

/// Lengths of small blocks, in lines: the powers of two up to that of [`LEAST`].
const SMALL_SIZES: usize = (LEAST / 64).ilog2() as usize + 1;

/// Lines of each length that a thread keeps at most.
const MOST_SMALL: usize = 1 << 14;

/// From this many bytes on, large pages are asked for.
const LARGE_PAGE: usize = 1 << 21;

/// Bytes that may be kept while nobody uses them, however little was ever in use at once.
pub const MOST_IDLE: usize = 512 << 20;

static IDLE: Mutex<Idle> = Mutex::new(Idle::new());

/// What is free, and how much is not.
struct Idle {
    /// The longest unused first.
    blocks: Vec<Block>,
    /// Bytes of `blocks`.
    bytes: usize,
    /// Bytes that are handed out.
    used: usize,
    /// Most bytes that were handed out at once.
    most_used: usize,
}

/// Memory with the alignment of a cache line.
#[derive(Debug)]
enum Block {
    Lines(Vec<Line>),
    Pages(MmapMut),
}

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

// SAFETY: 64 bytes, as large as their alignment: any bits are valid and there is no padding.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above.
unsafe impl Pod for Line {}

/// A buffer of `T` whose contents are unspecified (but initialised) until written, aligned to 64
/// bytes; its memory returns to the pool when it, or the last [`Bytes`] made of it, is dropped.
#[derive(Debug)]
pub struct Buffer<T> {
    block: Option<Block>,
    len: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Pod> Buffer<T> {
    /// A buffer of `len` elements.
    pub fn new(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        let block = if bytes < LEAST {
            Block::Lines(take_small(bytes.div_ceil(64)))
        } else {
            idle(|idle| idle.take(bytes)).unwrap_or_else(|| map(bytes))
        };
        Self {
            block: Some(block),
            len,
            element: std::marker::PhantomData,
        }
    }

    /// The bytes of the elements, without a copy.
    pub fn into_bytes(self) -> Bytes
    where
        T: Send + 'static,
    {
        Bytes::from_owner(self)
    }
}

impl<T: Pod> std::ops::Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let bytes = match self.block.as_ref().expect("present until dropped") {
            Block::Lines(lines) => bytemuck::cast_slice(lines),
            Block::Pages(map) => &map[..],
        };
        bytemuck::cast_slice(&bytes[..self.len * size_of::<T>()])
    }
}

impl<T: Pod> std::ops::DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let bytes = match self.block.as_mut().expect("present until dropped") {
            Block::Lines(lines) => bytemuck::cast_slice_mut(lines),
            Block::Pages(map) => &mut map[..],
        };
        bytemuck::cast_slice_mut(&mut bytes[..self.len * size_of::<T>()])
    }
}

impl<T: Pod> AsRef<[u8]> for Buffer<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        match self.block.take() {
            Some(block @ Block::Pages(_)) => {
                // Unmapped after the lock is released.
                let surplus = idle(|idle| idle.keep(block));
                drop(surplus);
            }
            Some(Block::Lines(lines)) => keep_small(lines),
            None => {}
        }
    }
}

/// Small blocks that are free, by the logarithm of their length.
type Small = [Vec<Vec<Line>>; SMALL_SIZES];

thread_local! {
    static SMALL: RefCell<Small> = const { RefCell::new([const { Vec::new() }; SMALL_SIZES]) };
}

/// At least so many lines.
fn take_small(lines: usize) -> Vec<Line> {
    if lines == 0 {
        return Vec::new();
    }
    let length = lines.next_power_of_two();
    let kept = SMALL.try_with(|small| small.borrow_mut()[length.ilog2() as usize].pop());
    match kept {
        Ok(Some(lines)) => lines,
        _ => vec![Line([0; 64]); length],
    }
}

/// Keeps a block for this thread's next use, unless there are many or the thread ends.
fn keep_small(lines: Vec<Line>) {
    let length = lines.len();
    if length == 0 {
        return;
    }
    // An error gives the block back to the system, with the closure that holds it.
    let _ended = SMALL.try_with(move |small| {
        let blocks = &mut small.borrow_mut()[length.ilog2() as usize];
        if (blocks.len() + 1) * length <= MOST_SMALL {
            blocks.push(lines);
        }
    });
}

impl Block {
    fn len(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.len() * 64,
            Self::Pages(map) => map.len(),
        }
    }
}

impl Idle {
    const fn new() -> Self {
        Self {
            blocks: Vec::new(),
            bytes: 0,
            used: 0,
            most_used: 0,
        }
    }

    /// The block that fits `bytes` best, if one is not more than twice too large, and of several the one used
    /// last, which may still be in a cache. If there is none, the caller maps one: `bytes` are in
    /// use either way.
    fn take(&mut self, bytes: usize) -> Option<Block> {
        let mapped = mapped_len(bytes);
        let fits = bytes..=mapped.max(2 * bytes);
        let best = (0..self.blocks.len())
            .rev()
            .filter(|&at| fits.contains(&self.blocks[at].len()))
            .min_by_key(|&at| self.blocks[at].len());
        let block = best.map(|at| self.blocks.remove(at));
        let taken = block.as_ref().map_or(0, Block::len);
        self.bytes -= taken;
        self.used += if block.is_some() { taken } else { mapped };
        self.most_used = self.most_used.max(self.used);
        block
    }

    /// Keeps a block that was in use; returns those that are then too many.
    ///
    /// Half as much again is kept as was in use at once before, together with what is in use now: a
    /// step of training uses its most in the middle, and needs all of it again in the next step, in
    /// blocks of other sizes than were there at that moment.
    fn keep(&mut self, block: Block) -> Vec<Block> {
        self.used -= block.len();
        self.bytes += block.len();
        self.blocks.push(block);
        let most = MOST_IDLE.max(self.most_used + self.most_used / 2 - self.used);
        let mut surplus = Vec::new();
        while self.bytes > most {
            let oldest = self.blocks.remove(0);
            self.bytes -= oldest.len();
            surplus.push(oldest);
        }
        surplus
    }

    /// All blocks; what was in use before is forgotten.
    fn release(&mut self) -> Vec<Block> {
        self.bytes = 0;
        self.most_used = self.used;
        std::mem::take(&mut self.blocks)
    }
}

fn idle<R>(body: impl FnOnce(&mut Idle) -> R) -> R {
    body(&mut IDLE.lock().expect("no holder of the lock panics"))
}

/// Bytes of a block that is mapped for `bytes`.
fn mapped_len(bytes: usize) -> usize {
    bytes.next_multiple_of(if bytes >= LARGE_PAGE {
        LARGE_PAGE
    } else {
        LEAST
    })
}

fn map(bytes: usize) -> Block {
    let map = MmapMut::map_anon(mapped_len(bytes))
        .expect("the system has memory for the result of an operation");
    #[cfg(target_os = "linux")]
    if bytes >= LARGE_PAGE {
        // Advice only: without large pages the buffer is as good, but slower to walk through.
        drop(map.advise(memmap2::Advice::HugePage));
    }
    Block::Pages(map)
}

/// Returns all idle memory to the system, e.g. between the stages of a pipeline; of small blocks those
/// of this thread.
pub fn release_idle() {
    let blocks = idle(Idle::release);
    drop(blocks);
    SMALL.with(|small| small.borrow_mut().iter_mut().for_each(Vec::clear));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_live_as_long_as_their_shares() {
        let mut first = Buffer::<f32>::new(1 << 20);
        first.fill(1.0);
        assert!((first.as_ptr() as usize).is_multiple_of(64));
        let bytes = first.into_bytes();
        let share = bytes.slice(16..64);
        drop(bytes);
        assert_eq!(share, bytemuck::cast_slice::<f32, u8>(&[1.0; 12]));
        assert!(Buffer::<u16>::new(3).as_ptr().cast::<u8>().align_offset(64) == 0);
        assert!(Buffer::<f32>::new(0).is_empty());
    }

    #[test]
    fn small_blocks_are_reused_by_their_thread() {
        let buffer = Buffer::<f32>::new(100);
        let address = buffer.as_ptr().addr();
        assert!(address.is_multiple_of(64));
        drop(buffer);
        // 100 and 128 floats take eight lines, 129 take sixteen.
        assert_ne!(Buffer::<f32>::new(129).as_ptr().addr(), address);
        assert_eq!(Buffer::<f32>::new(128).as_ptr().addr(), address);
        let most = MOST_SMALL / 8;
        let buffers: Vec<_> = (0..most + 5).map(|_| Buffer::<f32>::new(128)).collect();
        drop(buffers);
        SMALL.with(|small| assert_eq!(small.borrow()[3].len(), most));
        release_idle();
        SMALL.with(|small| assert!(small.borrow().iter().all(Vec::is_empty)));
    }

    /// Address of a block.
    fn address(block: &Block) -> usize {
        match block {
            Block::Lines(lines) => lines.as_ptr().addr(),
            Block::Pages(map) => map.as_ptr().addr(),
        }
    }

    /// A block for `bytes`, as a buffer gets it.
    fn taken(idle: &mut Idle, bytes: usize) -> Block {
        idle.take(bytes).unwrap_or_else(|| map(bytes))
    }

    #[test]
    fn what_fits_is_reused_and_the_oldest_goes_first() {
        let mut idle = Idle::new();
        let (small, large) = (taken(&mut idle, LEAST), taken(&mut idle, 4 * LARGE_PAGE));
        let (first, second) = (address(&small), address(&large));
        assert!(idle.keep(small).is_empty() && idle.keep(large).is_empty());
        assert!(idle.take(LARGE_PAGE).is_none());
        assert_eq!(
            idle.take(4 * LARGE_PAGE - 5).map(|block| address(&block)),
            Some(second)
        );
        assert_eq!(idle.bytes, LEAST);
        // Mapped, never touched: no memory is used.
        let whole = map(MOST_IDLE);
        idle.used = whole.len();
        idle.most_used = 0;
        let surplus = idle.keep(whole);
        assert_eq!(surplus.iter().map(address).collect::<Vec<_>>(), [first]);
    }

    #[test]
    fn a_block_fits_what_it_was_mapped_for() {
        for bytes in [LEAST, LEAST + 1, LARGE_PAGE - 1, LARGE_PAGE + 1, 5 << 20] {
            let mut idle = Idle::new();
            let block = taken(&mut idle, bytes);
            assert_eq!(idle.used, block.len());
            drop(idle.keep(block));
            assert!(idle.take(bytes).is_some(), "{bytes}");
            assert_eq!((idle.bytes, idle.blocks.len()), (0, 0));
        }
    }

    #[test]
    fn half_as_much_again_is_kept_as_was_in_use_at_once() {
        let mut idle = Idle::new();
        let blocks = [(); 3].map(|()| taken(&mut idle, MOST_IDLE));
        for block in blocks {
            assert!(idle.keep(block).is_empty());
        }
        assert_eq!((idle.used, idle.bytes), (0, 3 * MOST_IDLE));
        let other = taken(&mut idle, LEAST);
        assert!(idle.keep(other).is_empty());
        idle.most_used = 2 * MOST_IDLE;
        let other = taken(&mut idle, LEAST);
        assert_eq!(idle.keep(other).len(), 1);
        assert_eq!(idle.release().len(), 3);
        assert_eq!(idle.most_used, 0);
    }
}
