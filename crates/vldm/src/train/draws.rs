//! The random numbers of training: every choice is a function of the seed, the sample's number and
//! what the choice is for, so that a resumed run makes the same ones.

use crate::diffusion::{NoiseLevel, NoiseLevelSampling, NoiseSchedule};
use crate::error::Result;
use crate::rng::{Draw, NoiseKey, Stage};

/// What a choice is for. The numbers are part of what a seed means: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Level = 0,
    AugmentationLevel = 1,
    DropText = 2,
    DropLabels = 3,
    DropBoxes = 4,
    DropPicture = 5,
    GivenFrames = 6,
    FirstFrame = 7,
}

/// The random numbers of one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    seed: u64,
    stage: Stage,
}

impl Draws {
    /// Of sample `number` of a run, counted over all its batches.
    pub(crate) fn training(seed: u64, number: u64) -> Self {
        Self::new(seed, number, Stage::Training)
    }

    /// Of a held-out sample: the same at every look.
    pub(crate) fn validation(seed: u64, number: u64) -> Self {
        Self::new(seed, number, Stage::Validation)
    }

    fn new(seed: u64, number: u64, stage: Stage) -> Self {
        Self {
            seed: mixed(mixed(seed) ^ number),
            stage,
        }
    }

    fn key(&self, draw: Draw) -> NoiseKey {
        NoiseKey {
            seed: self.seed,
            stage: self.stage,
            draw,
        }
    }

    /// Unit-variance noise on `frames` frames of a `[channels, height, width]` each.
    pub(crate) fn noise(&self, frames: usize, shape: [usize; 3]) -> Vec<f32> {
        self.key(Draw::Initial).normal(0..frames as u64, shape)
    }

    /// The same for noise augmentation.
    pub(crate) fn augmentation(&self, frames: usize, shape: [usize; 3]) -> Vec<f32> {
        self.key(Draw::Augmentation).normal(0..frames as u64, shape)
    }

    /// The same for the autoencoder's posterior.
    pub(crate) fn posterior(&self, frames: usize, shape: [usize; 3]) -> Vec<f32> {
        self.key(Draw::Step(0)).normal(0..frames as u64, shape)
    }

    /// A number in [0, 1).
    pub(crate) fn uniform(&self, choice: Choice) -> f64 {
        self.key(Draw::Choice(choice as u32)).uniform(0)
    }

    /// A noise level.
    pub(crate) fn level(
        &self,
        choice: Choice,
        sampling: &NoiseLevelSampling,
        schedule: &NoiseSchedule,
    ) -> Result<NoiseLevel> {
        sampling.level(schedule, self.key(Draw::Choice(choice as u32)), 0)
    }
}

/// SplitMix64's output function (Steele et al. 2014): neighbouring numbers become unlike ones.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
