//! Random numbers as a function of what they are for.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Marks the key as ours and carries the version of the layout.
const DOMAIN: [u8; 8] = *b"vldm/d1\0";

/// What numbers are drawn for. The layout is part of what a seed means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// The order of a window's clips.
    Clips(usize),
    /// The order of a round's batches.
    Round,
    /// Where in its clip a sample lies, for one of three axes.
    Place { slot: u64, axis: u64 },
    /// Which clip takes the place of one that cannot be read.
    Replacement { slot: usize, attempt: usize },
}

impl Purpose {
    /// Kind in the highest byte; every two purposes differ.
    pub(super) fn number(self) -> u64 {
        let (kind, rest) = match self {
            Self::Clips(group) => (1, group as u64),
            Self::Round => (2, 0),
            Self::Place { slot, axis } => (3, slot * 4 + axis),
            Self::Replacement { slot, attempt } => (4, ((slot as u64) << 16) + attempt as u64),
        };
        (kind << 56) | (rest & ((1 << 56) - 1))
    }
}

fn generator(seed: u64, purpose: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&purpose.to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    key[24..].copy_from_slice(&DOMAIN);
    ChaCha8Rng::from_seed(key)
}

/// 64 random bits that belong to the seed, the purpose and the index.
pub(in crate::data) fn word(seed: u64, purpose: u64, index: u64) -> u64 {
    generator(seed, purpose, index).next_u64()
}

/// A number in [0, 1) with 53 random bits that belongs to the seed, the purpose and the index.
///
/// Numbers of different arguments have nothing to do with each other, and none depends on which
/// others were drawn. Purposes of [`Order`](super::Order) have a number from 1 to 4 in their
/// highest byte.
#[must_use]
pub fn uniform(seed: u64, purpose: u64, index: u64) -> f64 {
    (word(seed, purpose, index) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The numbers below `count` in random order (Fisher and Yates).
pub(super) fn permutation(count: usize, seed: u64, purpose: Purpose, index: u64) -> Vec<u32> {
    let mut generator = generator(seed, purpose.number(), index);
    let mut order: Vec<u32> = (0..count as u32).collect();
    for last in (1..count).rev() {
        let draw = u128::from(generator.next_u64()) * (last as u128 + 1);
        order.swap(last, (draw >> 64) as usize);
    }
    order
}
