//! Which clips make which batch: a pure function of the seed and the batch's number.
//!
//! Every batch is of one window. For each rate a clip goes to the bucket of the nearest shape, and
//! there to the longest length that it fills; of buckets of the same shape to the largest that its
//! pictures fill, or else the smallest. A clip takes part once at each rate at which it fits.
//!
//! The clips of a window are a stream without end: one fresh permutation after the other, cut into
//! batches. What is left at the end of a permutation is completed from the next, so that no clip
//! is left out and a set smaller than a batch repeats its clips. An epoch `r` has the batches
//! that are complete when each clip has been seen `r + 1` times, in a fresh order over all windows.
//! So windows take turns in proportion to their clips, and resuming needs nothing but a number.

mod group;
mod random;
mod rounds;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use random::uniform;
pub(super) use random::word;

use group::{Group, assign};
use random::{Purpose, permutation};
use rounds::Rounds;

use super::cache::Cache;
use super::sample::{ClipInfo, ClipSource, Fit, Placement, Window};
use crate::error::{Error, Result};

/// What batches are to be made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderSettings {
    /// What the order and all places are drawn from.
    #[serde(default)]
    pub seed: u64,
    /// Samples in a batch, at least 1.
    pub batch: usize,
    /// Sizes, each `[height, width]` in pixels.
    pub buckets: Vec<[u32; 2]>,
    /// Lengths in frames; 1 makes pictures.
    pub lengths: Vec<usize>,
    /// Frames per second; several are regimes of their own, none keeps each clip's rate.
    #[serde(default)]
    pub rates: Vec<f64>,
    /// How clips of other sizes are fitted.
    #[serde(default)]
    pub fit: Fit,
}

/// One batch: clips, and where in them the samples lie.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchPlan {
    /// The batch's number, from 0.
    pub number: u64,
    /// What every sample of it is asked to be.
    pub window: Window,
    /// The clips by their index in the source; one may stand there twice where clips are few.
    pub clips: Vec<usize>,
    /// One for each clip.
    pub placements: Vec<Placement>,
    group: usize,
}

/// What became of the clips.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderReport {
    /// Each window that has clips, and their number.
    pub windows: Vec<(Window, usize)>,
    /// Clips that fit no window.
    pub unfit: usize,
    /// Clips whose pictures are smaller than their window and are enlarged.
    pub enlarged: usize,
    /// Clips that their source leaves out: a scan found them broken, or they cannot be read.
    pub left_out: usize,
}

/// The order of a set of clips. See the [module](self).
#[derive(Debug)]
pub struct Order {
    seed: u64,
    batch: usize,
    groups: Vec<Group>,
    report: OrderReport,
    rounds: Rounds,
    permutations: Cache<(usize, u64), Vec<u32>>,
}

impl Order {
    /// Sorts the clips of a source into windows.
    ///
    /// # Errors
    /// [`Error::Config`] when the settings make no window, [`Error::Input`] when no clip fits any.
    pub fn new(source: &dyn ClipSource, settings: &OrderSettings) -> Result<Self> {
        let infos = (0..source.len()).map(|index| source.clip(index));
        let mut order = Self::of(&infos.collect::<Vec<_>>(), settings)?;
        order.report.left_out = source.skipped().len();
        Ok(order)
    }

    /// Sorts clips into windows.
    ///
    /// # Errors
    /// As [`Order::new`].
    pub fn of(infos: &[&ClipInfo], settings: &OrderSettings) -> Result<Self> {
        settings.validate()?;
        let (groups, report) = assign(infos, settings)?;
        if report.unfit > 0 {
            tracing::warn!("{} of {} clips fit no window", report.unfit, infos.len());
        }
        let sizes = groups.iter().map(|group| group.clips.len() as u64);
        Ok(Self {
            seed: settings.seed,
            batch: settings.batch,
            rounds: Rounds::new(sizes.collect(), settings.batch as u64, settings.seed),
            groups,
            report,
            permutations: Cache::new(8),
        })
    }

    /// What became of the clips.
    #[must_use]
    pub fn report(&self) -> &OrderReport {
        &self.report
    }

    /// Each window that has clips, and these by their index in the source.
    pub fn groups(&self) -> impl Iterator<Item = (&Window, &[usize])> {
        let groups = self.groups.iter();
        groups.map(|group| (&group.window, group.clips.as_slice()))
    }

    /// Samples in each batch.
    #[must_use]
    pub fn batch_size(&self) -> usize {
        self.batch
    }

    /// The epoch that a batch belongs to, from 0.
    #[must_use]
    pub fn epoch(&self, number: u64) -> u64 {
        self.rounds.round_of(number)
    }

    /// The batch of this number.
    #[must_use]
    pub fn batch(&self, number: u64) -> BatchPlan {
        let (group, nth) = self.rounds.place(number);
        let clips = &self.groups[group].clips;
        let count = clips.len() as u64;
        let first = nth * self.batch as u64;
        let index = |position: u64| {
            let order = self.permutations.get((group, position / count), || {
                let purpose = Purpose::Clips(group);
                permutation(clips.len(), self.seed, purpose, position / count)
            });
            clips[order[(position % count) as usize] as usize]
        };
        let slots = 0..self.batch as u64;
        BatchPlan {
            number,
            window: self.groups[group].window.clone(),
            clips: slots.clone().map(|slot| index(first + slot)).collect(),
            placements: slots.map(|slot| self.placement(number, slot)).collect(),
            group,
        }
    }

    /// The clip that takes the place of one that cannot be read: any of the same window, drawn
    /// for the batch, the slot and the attempt, from 0.
    #[must_use]
    pub fn replacement(&self, plan: &BatchPlan, slot: usize, attempt: usize) -> usize {
        let clips = &self.groups[plan.group].clips;
        let purpose = Purpose::Replacement { slot, attempt };
        let draw = word(self.seed, purpose.number(), plan.number);
        let at = u128::from(draw) * clips.len() as u128;
        clips[(at >> 64) as usize]
    }

    fn placement(&self, number: u64, slot: u64) -> Placement {
        let draw = |axis| {
            let purpose = Purpose::Place { slot, axis };
            uniform(self.seed, purpose.number(), number)
        };
        Placement {
            time: draw(0),
            x: draw(1),
            y: draw(2),
        }
    }
}

impl OrderSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] names what is wrong.
    pub fn validate(&self) -> Result<()> {
        if self.batch == 0 || self.buckets.is_empty() || self.lengths.is_empty() {
            return Err(Error::Config(format!(
                "batches of {} samples, {} sizes and {} lengths: expected at least one of each",
                self.batch,
                self.buckets.len(),
                self.lengths.len()
            )));
        }
        self.windows().try_for_each(|window| window.validate())
    }

    /// Every window that the settings allow: by rate, size and length.
    pub fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        let rates = self.rates().into_iter();
        rates.flat_map(move |fps| {
            self.buckets.iter().flat_map(move |&[height, width]| {
                self.lengths.iter().map(move |&frames| Window {
                    frames,
                    fps,
                    height,
                    width,
                    fit: self.fit,
                })
            })
        })
    }

    fn rates(&self) -> Vec<Option<f64>> {
        match self.rates.is_empty() {
            true => vec![None],
            false => self.rates.iter().copied().map(Some).collect(),
        }
    }
}

impl fmt::Display for OrderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let windows = self.windows.iter();
        let list: Vec<String> = windows
            .map(|(w, clips)| format!("{clips} clips for {w}"))
            .collect();
        write!(f, "{}", list.join(", "))?;
        if self.enlarged > 0 {
            write!(f, "; {} of them are enlarged", self.enlarged)?;
        }
        if self.unfit > 0 {
            write!(f, "; {} clips fit no window", self.unfit)?;
        }
        if self.left_out > 0 {
            write!(
                f,
                "; {} clips are left out: `vldm data scan` says why",
                self.left_out
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
