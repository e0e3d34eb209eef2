//! Memory for results, taken back when they are dropped and handed out again.
//!
//! A step of a network allocates the same sizes as the step before it. Memory that goes back to
//! the system in between must be mapped and cleared again, page by page, which costs more than
//! many operations themselves.

use std::sync::Mutex;

use bytemuck::Pod;
use bytes::Bytes;
use memmap2::MmapMut;

/// Below this many bytes the global allocator is as good.
const LEAST: usize = 1 << 16;

/// From this many bytes on, large pages are asked for.
const LARGE_PAGE: usize = 1 << 21;

/// Most bytes kept while nobody uses them.
const MOST_IDLE: usize = 512 << 20;

/// What is free, the longest unused first.
static IDLE: Mutex<Idle> = Mutex::new(Idle {
    blocks: Vec::new(),
    bytes: 0,
});

struct Idle {
    blocks: Vec<Block>,
    bytes: usize,
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
            Block::Lines(vec![Line([0; 64]); bytes.div_ceil(64)])
        } else {
            reuse(bytes).unwrap_or_else(|| map(bytes))
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
        if let Some(block @ Block::Pages(_)) = self.block.take() {
            give_back(block);
        }
    }
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
    /// The block that fits `bytes` best, if one is not much too large.
    fn take(&mut self, bytes: usize) -> Option<Block> {
        let fits = |block: &Block| (bytes..=bytes + bytes / 4).contains(&block.len());
        let best = (0..self.blocks.len())
            .filter(|&at| fits(&self.blocks[at]))
            .min_by_key(|&at| self.blocks[at].len())?;
        let block = self.blocks.remove(best);
        self.bytes -= block.len();
        Some(block)
    }

    /// Keeps a block; returns those that are then too many.
    fn keep(&mut self, block: Block) -> Vec<Block> {
        self.bytes += block.len();
        self.blocks.push(block);
        let mut surplus = Vec::new();
        while self.bytes > MOST_IDLE {
            let oldest = self.blocks.remove(0);
            self.bytes -= oldest.len();
            surplus.push(oldest);
        }
        surplus
    }
}

fn reuse(bytes: usize) -> Option<Block> {
    IDLE.lock()
        .expect("no holder of the lock panics")
        .take(bytes)
}

fn give_back(block: Block) {
    let surplus = IDLE
        .lock()
        .expect("no holder of the lock panics")
        .keep(block);
    // Unmapped after the lock is released.
    drop(surplus);
}

fn map(bytes: usize) -> Block {
    let unit = if bytes >= LARGE_PAGE {
        LARGE_PAGE
    } else {
        LEAST
    };
    let map = MmapMut::map_anon(bytes.next_multiple_of(unit))
        .expect("the system has memory for the result of an operation");
    #[cfg(target_os = "linux")]
    if bytes >= LARGE_PAGE {
        // Advice only: without large pages the buffer is as good, but slower to walk through.
        drop(map.advise(memmap2::Advice::HugePage));
    }
    Block::Pages(map)
}

/// Returns all idle memory to the system, e.g. between the stages of a pipeline.
pub fn release_idle() {
    let blocks = {
        let mut idle = IDLE.lock().expect("no holder of the lock panics");
        idle.bytes = 0;
        std::mem::take(&mut idle.blocks)
    };
    drop(blocks);
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
    fn what_fits_is_reused_and_the_oldest_goes_first() {
        let mut idle = Idle {
            blocks: Vec::new(),
            bytes: 0,
        };
        let (small, large) = (map(LEAST), map(4 * LARGE_PAGE));
        let address = |block: &Block| match block {
            Block::Lines(lines) => lines.as_ptr().addr(),
            Block::Pages(map) => map.as_ptr().addr(),
        };
        let (first, second) = (address(&small), address(&large));
        assert!(idle.keep(small).is_empty() && idle.keep(large).is_empty());
        assert!(idle.take(LARGE_PAGE).is_none());
        assert_eq!(
            idle.take(4 * LARGE_PAGE - 5).map(|block| address(&block)),
            Some(second)
        );
        assert_eq!(idle.bytes, LEAST);
        // Mapped, never touched: no memory is used.
        let surplus = idle.keep(map(MOST_IDLE));
        assert_eq!(surplus.iter().map(address).collect::<Vec<_>>(), [first]);
    }
}
