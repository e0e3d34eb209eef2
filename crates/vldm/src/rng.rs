//! Noise that belongs to the sample.
//!
//! Every random number is a function of *what it is for*: the seed of the sample, the stage of
//! the stack, which draw within the stage, the absolute index of the frame, and the position
//! within the frame. Nothing depends on the size of the batch, on how a video is cut into
//! chunks, on how many frames are drawn together, on threads or on the device: the numbers are
//! made on the host.
//!
//! The generator is ChaCha with 8 rounds. Its key holds seed, stage and draw, its nonce the
//! frame, and its block counter runs over the positions. Pairs of 32-bit words become pairs of
//! normal deviates by the Box-Muller transform, computed in f64 with the pure-Rust `libm`, so
//! that the bits are the same on every platform. This layout is a promise: a seed printed into
//! a file today must give the same noise tomorrow. `tests/golden/export.py` holds an
//! independent implementation, and `tests/sampler_golden.rs` compares the two.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Marks the key as ours and carries the version of the layout.
const DOMAIN: [u8; 8] = *b"vldm/01\0";

/// The part of the stack that draws the noise; parts never share random numbers.
///
/// The numbers are part of the promise above: never reuse or renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Stage {
    /// Single images, such as the first frame of a rollout.
    Image = 1,
    /// Sparse key frames.
    KeyFrames = 2,
    /// Frames predicted from given frames.
    Prediction = 3,
    /// The first interpolation pass.
    FirstInterpolation = 4,
    /// The second interpolation pass.
    SecondInterpolation = 5,
    /// The diffusion upsampler.
    Upsampling = 6,
    /// Training.
    Training = 7,
    /// Validation while training, so that looking does not change what is learnt.
    Validation = 8,
}

/// Which draw within a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Draw {
    /// The latents that sampling starts from, or the noise of a training example.
    Initial,
    /// What a stochastic sampler adds at the step of this index, counted from 0.
    Step(u32),
    /// Noise augmentation of what the model is conditioned on.
    Augmentation,
    /// Choices that are not noise: levels, masks, offsets. The index tells them apart.
    Choice(u32),
}

impl Draw {
    /// Kind and index, as they stand in the generator's key.
    fn words(self) -> (u32, u32) {
        match self {
            Self::Initial => (0, 0),
            Self::Step(index) => (1, index),
            Self::Augmentation => (2, 0),
            Self::Choice(index) => (3, index),
        }
    }
}

/// What a set of random numbers is for, except for frame and position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoiseKey {
    /// The seed of the sample.
    pub seed: u64,
    /// The part of the stack that draws.
    pub stage: Stage,
    /// Which draw within the stage.
    pub draw: Draw,
}

impl NoiseKey {
    /// Unit-variance normal noise for the frames with the absolute indices `frames`, each of
    /// `shape` (`[channels, height, width]`), frame after frame in row-major order.
    ///
    /// A frame's noise does not depend on which other frames are drawn with it.
    #[must_use]
    pub fn normal(&self, frames: Range<u64>, shape: [usize; 3]) -> Vec<f32> {
        let count: usize = shape.iter().product();
        let total = usize::try_from(frames.end.saturating_sub(frames.start)).unwrap_or(0) * count;
        let mut values = Vec::with_capacity(total);
        for frame in frames {
            fill_normal(&mut self.generator(frame), count, &mut values);
        }
        values
    }

    /// One uniform deviate in [0, 1), with 53 random bits; `index` takes the frame's place.
    #[must_use]
    pub fn uniform(&self, index: u64) -> f64 {
        let mut generator = self.generator(index);
        let high = u64::from(generator.next_u32());
        let low = u64::from(generator.next_u32());
        let bits = ((high << 32) | low) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }

    /// One normal deviate in f64; `index` takes the frame's place.
    #[must_use]
    pub fn normal_scalar(&self, index: u64) -> f64 {
        box_muller(&mut self.generator(index)).0
    }

    /// The generator at position 0 of a frame.
    fn generator(&self, frame: u64) -> ChaCha8Rng {
        let (kind, index) = self.draw.words();
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..12].copy_from_slice(&(self.stage as u32).to_le_bytes());
        key[12..16].copy_from_slice(&kind.to_le_bytes());
        key[16..20].copy_from_slice(&index.to_le_bytes());
        key[24..].copy_from_slice(&DOMAIN);
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(frame);
        generator
    }
}

/// Appends `count` normal deviates: words 2i and 2i + 1 give the values 2i and 2i + 1.
fn fill_normal(generator: &mut ChaCha8Rng, count: usize, values: &mut Vec<f32>) {
    for _ in 0..count / 2 {
        let (first, second) = box_muller(generator);
        values.push(first as f32);
        values.push(second as f32);
    }
    if count % 2 == 1 {
        values.push(box_muller(generator).0 as f32);
    }
}

/// Two independent normal deviates from two 32-bit words.
///
/// The radius uses (word + 1) / 2³², which is never 0; the largest deviate is 6.66.
fn box_muller(generator: &mut ChaCha8Rng) -> (f64, f64) {
    const WORDS: f64 = 4_294_967_296.0;
    let radius = (f64::from(generator.next_u32()) + 1.0) / WORDS;
    let angle = f64::from(generator.next_u32()) / WORDS;
    let radius = libm::sqrt(-2.0 * libm::log(radius));
    let angle = std::f64::consts::TAU * angle;
    (radius * libm::cos(angle), radius * libm::sin(angle))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u64) -> NoiseKey {
        NoiseKey {
            seed,
            stage: Stage::KeyFrames,
            draw: Draw::Initial,
        }
    }

    #[test]
    fn a_frame_does_not_depend_on_its_company() {
        let shape = [4, 3, 5];
        let all = key(7).normal(0..6, shape);
        assert_eq!(all[2 * 60..4 * 60], key(7).normal(2..4, shape));
        assert_eq!(all[5 * 60..], key(7).normal(5..6, shape));
    }

    #[test]
    fn odd_counts_are_filled() {
        let odd = key(1).normal(0..2, [1, 1, 5]);
        assert_eq!(odd.len(), 10);
        assert_eq!(odd[..4], key(1).normal(0..1, [1, 1, 4]));
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let base = key(1);
        let others = [
            key(2),
            NoiseKey {
                stage: Stage::Upsampling,
                ..base
            },
            NoiseKey {
                draw: Draw::Step(0),
                ..base
            },
            NoiseKey {
                draw: Draw::Step(1),
                ..base
            },
            NoiseKey {
                draw: Draw::Augmentation,
                ..base
            },
        ];
        let values: Vec<Vec<f32>> = others
            .iter()
            .chain([&base])
            .map(|key| key.normal(0..1, [1, 2, 2]))
            .collect();
        for (index, first) in values.iter().enumerate() {
            assert!(values[index + 1..].iter().all(|second| first != second));
        }
    }

    #[test]
    fn moments_are_those_of_a_standard_normal() {
        let values = key(3).normal(0..10, [4, 100, 100]);
        let moment = |power: i32| {
            let sum: f64 = values
                .iter()
                .map(|value| f64::from(*value).powi(power))
                .sum();
            sum / values.len() as f64
        };
        // Standard errors over 400,000 values: 0.0016, 0.0022, 0.0061, 0.016.
        assert!(moment(1).abs() < 0.007, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.009, "{}", moment(2));
        assert!(moment(3).abs() < 0.025, "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.065, "{}", moment(4));
    }

    #[test]
    fn uniform_stays_in_range() {
        let mean = (0..4000)
            .map(|index| key(5).uniform(index))
            .inspect(|value| {
                assert!((0.0..1.0).contains(value));
            });
        let mean = mean.sum::<f64>() / 4000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
