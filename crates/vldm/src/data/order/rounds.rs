//! Which window's turn it is.

use super::random::{Purpose, permutation};
use crate::data::cache::Cache;

/// Epochs over several streams of clips.
///
/// After round `r` the stream of `n` clips has given `floor((r + 1) · n / batch)` batches, so
/// every round but for rounding shows each clip once.
#[derive(Debug)]
pub(super) struct Rounds {
    sizes: Vec<u64>,
    batch: u64,
    seed: u64,
    /// The batches of a round, in their order: the stream, and which of its batches.
    rounds: Cache<u64, Vec<(usize, u64)>>,
}

impl Rounds {
    /// Streams of so many clips, of which there is at least one.
    pub(super) fn new(sizes: Vec<u64>, batch: u64, seed: u64) -> Self {
        Self {
            sizes,
            batch,
            seed,
            rounds: Cache::new(4),
        }
    }

    /// The stream that gives batch `number`, and which of its batches it is.
    pub(super) fn place(&self, number: u64) -> (usize, u64) {
        let round = self.round_of(number);
        let batches = self.rounds.get(round, || self.batches(round));
        let nth = u128::from(number) - self.before(round);
        batches[nth as usize]
    }

    /// The round of batch `number`.
    pub(super) fn round_of(&self, number: u64) -> u64 {
        let total: u128 = self.sizes.iter().copied().map(u128::from).sum();
        let groups = self.sizes.len() as u128;
        // At this many rounds there are more than `number` batches, whatever was rounded.
        let enough = (u128::from(number) + groups + 1) * u128::from(self.batch) / total + 1;
        let (mut low, mut high) = (0, enough as u64);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            match self.before(middle) <= u128::from(number) {
                true => low = middle,
                false => high = middle,
            }
        }
        low
    }

    /// Batches of all rounds before this one.
    fn before(&self, round: u64) -> u128 {
        let sizes = self.sizes.iter();
        sizes.map(|&size| u128::from(self.given(size, round))).sum()
    }

    /// Batches that a stream has given before a round.
    fn given(&self, size: u64, round: u64) -> u64 {
        (u128::from(round) * u128::from(size) / u128::from(self.batch)) as u64
    }

    fn batches(&self, round: u64) -> Vec<(usize, u64)> {
        let all: Vec<(usize, u64)> = (0..)
            .zip(&self.sizes)
            .flat_map(|(group, &size)| {
                let nths = self.given(size, round)..self.given(size, round + 1);
                nths.map(move |nth| (group, nth))
            })
            .collect();
        let order = permutation(all.len(), self.seed, Purpose::Round, round);
        order.iter().map(|&index| all[index as usize]).collect()
    }
}
