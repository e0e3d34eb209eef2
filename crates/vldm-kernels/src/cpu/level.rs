//! Which instructions a body may use.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a processor offers, from the least to the most.
///
/// Every body exists for [`Level::Portable`]; a higher level never changes what is computed, only
/// the rounding of intermediate sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// What every processor of the target has.
    Portable,
    /// AVX2 with FMA: eight f32 at a time.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL): sixteen f32 at a time.
    Avx512,
    /// AVX-512 with conversions to bf16, and matrix tiles for products of bf16.
    Amx,
}

impl Level {
    /// All levels, ascending.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Amx];

    /// The highest level of this machine.
    pub fn best() -> Self {
        static BEST: LazyLock<Level> = LazyLock::new(detect);
        *BEST
    }

    /// The levels this machine can run, ascending.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|&level| level <= Self::best())
    }

    /// The level in use: [`Level::best`], unless [`Level::limit`] set a lower one.
    pub fn current() -> Self {
        let limit = Self::ALL[usize::from(LIMIT.load(Ordering::Relaxed))];
        limit.min(Self::best())
    }

    /// Whether bf16 is faster than f32, not only smaller.
    pub fn prefers_half(self) -> bool {
        self == Self::Amx
    }

    /// Uses no level above `self` from now on, in the whole process.
    pub fn limit(self) {
        LIMIT.store(self as u8, Ordering::Relaxed);
    }
}

static LIMIT: AtomicU8 = AtomicU8::new(Level::Amx as u8);

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) if is_x86_feature_detected!("avx512bf16") && has_tiles() => Level::Amx,
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        (false, _) => Level::Portable,
    }
}

/// Whether there are tiles for bf16, and the system lets this process use their registers.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_tiles() -> bool {
    const TILES_OF_BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    const REQUEST_STATE: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    let features = core::arch::x86_64::__cpuid_count(7, 0).edx;
    if features & (TILES_OF_BF16 | TILES) != TILES_OF_BF16 | TILES {
        return false;
    }
    // SAFETY: a system call that takes two numbers and touches no memory of this process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_STATE, TILE_DATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn has_tiles() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Portable
}
