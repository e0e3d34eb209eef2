//! What the feature network learns from: windows of worlds, some of them spoilt, and the truth.

use burn::tensor::{Device, Tensor, TensorData};
use vldm_media::Frame;

use super::blocks::pixels;
use super::features::{CLASSES, VALUES};
use super::pool::RATES;
use super::spoil::{Spoiling, shuffled};
use super::truth::Facts;
use crate::data::Sample;
use crate::data::order::uniform;
use crate::error::Result;

/// Vehicles in view that the network knows as 1.
pub(crate) const CROWDEDNESS: f64 = 8.0;
/// The largest blur, a deviation in pixels.
const BLUR: f64 = 2.5;
/// The strongest noise, as a share of the range.
const NOISE: f64 = 0.15;

/// What is drawn for an example. The numbers are part of what a seed means.
#[derive(Debug, Clone, Copy)]
enum Choice {
    Length = 0,
    Window = 1,
    First = 2,
    Order = 3,
    BlurAtAll = 4,
    Blur = 5,
    NoiseAtAll = 6,
    Noise = 7,
    Other = 8,
}

/// Orders of frames, as the network tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameOrder {
    Forward = 0,
    Reversed = 1,
    Frozen = 2,
    Shuffled = 3,
    Unrelated = 4,
}

/// A batch of clips with what is true of them.
#[derive(Debug)]
pub(crate) struct FeatureBatch {
    /// `[batch·frames, height, width, 3]`
    pub(crate) pixels: Tensor<4>,
    /// Frames of each clip.
    pub(crate) frames: usize,
    /// One-hot, divided by the number of clips that have the head's truth, `[batch, classes]`.
    pub(crate) classes: Tensor<2>,
    /// `[batch, numbers]`
    pub(crate) values: Tensor<2>,
    /// 1 where a number is known, `[batch, numbers]`.
    pub(crate) known: Tensor<2>,
    /// The true class of each head, where it has one.
    pub(crate) truth: Vec<[Option<usize>; CLASSES.len()]>,
    /// The numbers, where they are known.
    pub(crate) numbers: Vec<[Option<f64>; VALUES]>,
}

/// One clip with what is true of it.
struct Drawn {
    frames: Vec<Frame>,
    classes: [Option<usize>; CLASSES.len()],
    values: [Option<f64>; VALUES],
}

/// Draws batches from a pool of windows of equal length.
#[derive(Debug)]
pub(crate) struct FeatureExamples<'a> {
    pub(crate) pool: &'a [Sample],
    pub(crate) seed: u64,
    pub(crate) batch: usize,
}

impl FeatureExamples<'_> {
    /// Batch number `step`, always the same.
    pub(crate) fn batch(&self, step: u64, device: &Device) -> Result<FeatureBatch> {
        let longest = self.pool[0].frames.len();
        let frames = match self.draw(Choice::Length, step) {
            u if u < 0.08 => 1,
            u if u < 0.18 => 4,
            u if u < 0.85 => 8,
            _ => longest,
        };
        let frames = frames.min(longest);
        let first = step * self.batch as u64;
        let drawn = (first..first + self.batch as u64).map(|number| self.example(number, frames));
        collate(drawn.collect::<Result<Vec<_>>>()?, frames, device)
    }

    fn draw(&self, choice: Choice, number: u64) -> f64 {
        // Purposes with other highest bytes than this are others'.
        uniform(self.seed, (0x6d << 56) + choice as u64, number)
    }

    fn one_of(&self, choice: Choice, number: u64, count: usize) -> usize {
        ((self.draw(choice, number) * count as f64) as usize).min(count - 1)
    }

    fn example(&self, number: u64, count: usize) -> Result<Drawn> {
        let sample = &self.pool[self.one_of(Choice::Window, number, self.pool.len())];
        let first = self.one_of(Choice::First, number, sample.frames.len() - count + 1);
        let mut frames = sample.frames[first..first + count].to_vec();
        let order = match self.draw(Choice::Order, number) {
            _ if count == 1 => None,
            u if u < 0.50 => Some(FrameOrder::Forward),
            u if u < 0.67 => Some(FrameOrder::Reversed),
            u if u < 0.78 => Some(FrameOrder::Frozen),
            u if u < 0.89 => Some(FrameOrder::Shuffled),
            _ => Some(FrameOrder::Unrelated),
        };
        match order {
            None | Some(FrameOrder::Forward) => {}
            Some(FrameOrder::Reversed) => frames.reverse(),
            Some(FrameOrder::Frozen) => frames = Spoiling::Frozen.apply(&frames, number)?,
            Some(FrameOrder::Shuffled) => {
                let order = shuffled(count, number);
                frames = order.iter().map(|&at| frames[at].clone()).collect();
            }
            Some(FrameOrder::Unrelated) => {
                for (at, frame) in frames.iter_mut().enumerate() {
                    let other = number * 64 + at as u64;
                    let sample = &self.pool[self.one_of(Choice::Other, other, self.pool.len())];
                    *frame = sample.frames[first + at].clone();
                }
            }
        }
        let blur = match self.draw(Choice::BlurAtAll, number) < 0.3 {
            true => 0.4 + (BLUR - 0.4) * self.draw(Choice::Blur, number),
            false => 0.0,
        };
        let noise = match self.draw(Choice::NoiseAtAll, number) < 0.3 {
            true => 0.01 + (NOISE - 0.01) * self.draw(Choice::Noise, number),
            false => 0.0,
        };
        if blur > 0.0 {
            frames = Spoiling::Blurred(blur).apply(&frames, number)?;
        }
        if noise > 0.0 {
            frames = Spoiling::Noisy(noise).apply(&frames, number)?;
        }
        truth(sample, frames, (order, [blur / BLUR, noise / NOISE]))
    }
}

/// What is true of frames cut from `sample`.
fn truth(
    sample: &Sample,
    frames: Vec<Frame>,
    (order, spoilt): (Option<FrameOrder>, [f64; 2]),
) -> Result<Drawn> {
    let facts = Facts::of(sample)?;
    let [time, weather, road, change] = facts.classes;
    let alike = order != Some(FrameOrder::Unrelated);
    let moves = order == Some(FrameOrder::Forward);
    let rate = RATES
        .iter()
        .position(|&rate| (rate / sample.fps - 1.0).abs() < 0.01);
    let metres = facts.speed / sample.fps;
    let [red, green, blue] = mean_color(&frames);
    Ok(Drawn {
        classes: [
            alike.then_some(time),
            alike.then_some(weather),
            alike.then_some(road),
            moves.then_some(change),
            order.map(|order| order as usize),
            rate.filter(|_| moves),
        ],
        values: [
            alike.then_some(facts.crowdedness / CROWDEDNESS),
            moves.then_some(facts.speed / 20.0),
            moves.then_some((1.0 + metres).ln()),
            alike.then_some(facts.curvature * 200.0),
            Some(spoilt[0]),
            Some(spoilt[1]),
            Some(red),
            Some(green),
            Some(blue),
        ],
        frames,
    })
}

/// In [−1, 1], enlarged to about a deviation of 1.
fn mean_color(frames: &[Frame]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let mut count = 0.0;
    for pixel in frames.iter().flat_map(|frame| frame.rgb().chunks(3)) {
        for (sum, &byte) in sums.iter_mut().zip(pixel) {
            *sum += f64::from(byte);
        }
        count += 1.0;
    }
    sums.map(|sum| 3.0 * (sum / count / 127.5 - 1.0))
}

fn collate(drawn: Vec<Drawn>, frames: usize, device: &Device) -> Result<FeatureBatch> {
    let total: usize = CLASSES.iter().sum();
    let batch = drawn.len();
    let mut classes = vec![0.0_f32; batch * total];
    let mut offset = 0;
    for (head, &count) in CLASSES.iter().enumerate() {
        let known = drawn
            .iter()
            .filter(|one| one.classes[head].is_some())
            .count();
        for (row, one) in drawn.iter().enumerate() {
            if let Some(class) = one.classes[head] {
                classes[row * total + offset + class] = 1.0 / known as f32;
            }
        }
        offset += count;
    }
    let flat = drawn.iter().flat_map(|one| one.values);
    let values: Vec<f32> = flat.clone().map(|v| v.unwrap_or(0.0) as f32).collect();
    let known: Vec<f32> = flat.map(|v| f32::from(u8::from(v.is_some()))).collect();
    let tensor = |values: Vec<f32>, width: usize| {
        Tensor::<2>::from_data(TensorData::new(values, [batch, width]), device)
    };
    Ok(FeatureBatch {
        pixels: pixels(drawn.iter().flat_map(|one| &one.frames), device)?,
        frames,
        classes: tensor(classes, total),
        values: tensor(values, VALUES),
        known: tensor(known, VALUES),
        truth: drawn.iter().map(|one| one.classes).collect(),
        numbers: drawn.iter().map(|one| one.values).collect(),
    })
}
