//! The video feature network: what Fréchet distances are measured in.
//!
//! Published distances read features of I3D or Inception. Those weights are not here; this is a
//! small network that has learnt what is to be seen in clips of the driving world, what moves in
//! them, and how they can be spoilt. Its distances compare clips of that world with each other.
//! **They are not comparable with published numbers.**
//!
//! # Source
//! That a Fréchet distance reads the penultimate features of a classifier: Heusel et al. 2017
//! (arXiv:1706.08500); of a video network: Unterthiner et al. 2018 (arXiv:1812.01717). Separate
//! convolutions over space and time: Tran et al. 2018 (arXiv:1711.11248).

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use vldm_kernels::{Activation, Epilogue, silu};
use vldm_media::Frame;

use super::blocks::{ConvNorm, pixels};
use crate::error::{Error, Result};
use crate::layout::{pixels_to_tokens, tokens_to_time};
use crate::nn::temporal::{TemporalConv, TimeKernel};
use crate::nn::{GroupNorm, Init, Linear};

/// Classes of each head of classes: time of day, weather, road, lane change, order of the frames,
/// rate of playback.
pub(crate) const CLASSES: [usize; 6] = [3, 4, 3, 3, 5, 5];
/// Numbers that are estimated: see [`Reading`].
pub(crate) const VALUES: usize = 9;
/// Clips that go through the network at once.
const BATCH: usize = 16;

/// The sizes of a [`FeatureNet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureConfig {
    /// Channels of each level, multiples of 8; every level halves height and width.
    pub channels: Vec<usize>,
    /// How many features there are.
    pub features: usize,
}

impl FeatureConfig {
    /// The sizes of the network that is shipped.
    #[must_use]
    pub fn shipped() -> Self {
        Self {
            channels: vec![24, 48, 96, 128],
            features: 32,
        }
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// [`Error::Config`] names what is wrong.
    pub fn validate(&self) -> Result<()> {
        let fit = |channels: &usize| *channels > 0 && channels.is_multiple_of(8);
        // Every level halves a height of 64 pixels.
        if !(1..=6).contains(&self.channels.len())
            || !self.channels.iter().all(fit)
            || self.features == 0
        {
            return Err(Error::Config(format!(
                "a feature network of {:?} channels and {} features: expected 1 to 6 levels, \
                 each a multiple of 8 channels, and at least one feature",
                self.channels, self.features
            )));
        }
        Ok(())
    }
}

/// One level: a convolution in space that halves it, and all but in the first one over time.
#[derive(Module, Debug)]
pub struct FeatureLevel {
    /// Over height and width.
    pub space: ConvNorm,
    /// Over frames.
    pub time: Option<TemporalConv>,
    /// After that.
    pub norm: Option<GroupNorm>,
}

/// Clips to features and to what is to be seen in them.
#[derive(Module, Debug)]
pub struct FeatureNet {
    /// From large pictures to small ones.
    pub levels: Vec<FeatureLevel>,
    /// From what is seen and what changes, at all sizes, to the features.
    pub features: Linear,
    /// From the features to the ones that distances are measured in: true clips have mean 0 and
    /// variance 1 there in every direction, so that no fact about them outweighs the others.
    pub whiten: Linear,
    /// From the features to classes and numbers.
    pub heads: Linear,
}

/// What the network says of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The features that distances are measured in.
    pub features: Vec<f64>,
    /// Probabilities of day, dusk and night.
    pub time_of_day: [f64; 3],
    /// Probabilities of clear sky, clouds, rain and fog.
    pub weather: [f64; 4],
    /// Probabilities of highway, country road and city street.
    pub road: [f64; 3],
    /// Probabilities of no lane change, one to the left, one to the right.
    pub lane_change: [f64; 3],
    /// Probabilities that the frames are in order, reversed, all the same, shuffled, of different
    /// clips.
    pub order: [f64; 5],
    /// Probabilities of each of [`RATES`](super::RATES).
    pub rate: [f64; 5],
    /// Vehicles in view.
    pub crowdedness: f64,
}

impl Reading {
    /// Whether it is night.
    #[must_use]
    pub fn is_night(&self) -> bool {
        self.time_of_day[2] > self.time_of_day[0].max(self.time_of_day[1])
    }
}

impl FeatureNet {
    /// A network with fresh parameters; `config` has been validated.
    pub fn new(config: &FeatureConfig, init: &Init) -> Self {
        let mut width = 3;
        let mut levels = Vec::new();
        for (index, &channels) in config.channels.iter().enumerate() {
            let over_time = index > 0;
            levels.push(FeatureLevel {
                space: ConvNorm::new([width, channels], (3, 2), init),
                time: over_time
                    .then(|| TemporalConv::new(channels, channels, TimeKernel::Time, init)),
                norm: over_time.then(|| GroupNorm::new(channels / 8, channels, 1e-5, init)),
            });
            width = channels;
        }
        let outputs = CLASSES.iter().sum::<usize>() + VALUES;
        let seen: usize = config.channels.iter().sum();
        let moved = seen - config.channels[0];
        Self {
            levels,
            features: Linear::new(seen + moved, config.features, true, init),
            whiten: Linear::new(config.features, config.features, true, init),
            heads: Linear::new(config.features, outputs, true, init),
        }
    }

    /// Features and what the heads say: classes' logits, then numbers.
    ///
    /// # Shapes
    /// - `x`: pixels in \[−1, 1\], `[batch·frames, height, width, 3]`
    /// - returns: `[batch, features]`, `[batch, classes + numbers]`
    pub(crate) fn forward(&self, x: Tensor<4>, frames: usize) -> (Tensor<2>, Tensor<2>) {
        let mut x = x;
        let (mut seen, mut moved) = (Vec::new(), Vec::new());
        for level in &self.levels {
            x = level.space.forward(x);
            if let (Some(time), Some(norm)) = (&level.time, &level.norm) {
                let epilogue = Epilogue {
                    shift: None,
                    residual: Some(x.clone()),
                };
                let y = time.forward(x, frames, epilogue);
                x = norm.forward_image(y, Activation::Silu);
                moved.push(changes(x.clone(), frames));
            }
            seen.push(means(x.clone(), frames));
        }
        seen.extend(moved);
        let dtype = self.features.weight.val().dtype();
        let features = self.features.forward(Tensor::cat(seen, 1).cast(dtype));
        let heads = self.heads.forward(silu(features.clone()));
        (features.cast(DType::F32), heads.cast(DType::F32))
    }

    /// What the network says of clips, each of at least one picture of [`SIZE`](super::SIZE); the
    /// clips may differ in length.
    ///
    /// # Errors
    /// [`Error::Input`] when a clip is empty or of another size.
    pub fn read(&self, clips: &[&[Frame]], device: &Device) -> Result<Vec<Reading>> {
        let mut readings = Vec::with_capacity(clips.len());
        let mut rest = clips;
        while let Some(first) = rest.first() {
            let same = rest
                .iter()
                .take(BATCH)
                .take_while(|c| c.len() == first.len());
            let count = same.count();
            let (batch, after) = rest.split_at(count);
            rest = after;
            let frames = batch.iter().flat_map(|clip| clip.iter());
            let (features, heads) = self.forward(pixels(frames, device)?, first.len());
            let dtype = self.whiten.weight.val().dtype();
            let features = rows(self.whiten.forward(features.cast(dtype)))?;
            let heads = rows(heads)?;
            readings.extend(features.into_iter().zip(heads).map(reading));
        }
        Ok(readings)
    }
}

/// Over frames and positions.
///
/// # Shapes
/// - `x`: `[batch·frames, height, width, channels]`
/// - returns: `[batch, channels]`
fn means(x: Tensor<4>, frames: usize) -> Tensor<2> {
    let clip = tokens_to_time(pixels_to_tokens(x), frames).cast(DType::F32); // [b, f, p, c]
    let [b, _, _, c] = clip.dims();
    clip.mean_dims(&[1, 2]).reshape([b, c])
}

/// How much changes from frame to frame, in the mean over positions; nothing in one frame.
///
/// # Shapes
/// As [`means`].
fn changes(x: Tensor<4>, frames: usize) -> Tensor<2> {
    if frames == 1 {
        return means(x, 1) * 0.0;
    }
    let clip = tokens_to_time(pixels_to_tokens(x), frames).cast(DType::F32); // [b, f, p, c]
    let [b, _, _, c] = clip.dims();
    let later = clip.clone().narrow(1, 1, frames - 1);
    let change = (later - clip.narrow(1, 0, frames - 1)).abs();
    change.mean_dims(&[1, 2]).reshape([b, c])
}

fn rows(values: Tensor<2>) -> Result<Vec<Vec<f64>>> {
    let [_, width] = values.dims();
    let values: Vec<f32> = values.into_data().iter::<f32>().collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::Backend(
            "the feature network computed values that are not finite: are its weights whole?"
                .into(),
        ));
    }
    let row = |row: &[f32]| row.iter().map(|&value| f64::from(value)).collect();
    Ok(values.chunks(width).map(row).collect())
}

fn reading((features, heads): (Vec<f64>, Vec<f64>)) -> Reading {
    let mut at = 0;
    let mut next = |count: usize| {
        let logits = &heads[at..at + count];
        at += count;
        probabilities(logits)
    };
    Reading {
        time_of_day: fixed(&next(CLASSES[0])),
        weather: fixed(&next(CLASSES[1])),
        road: fixed(&next(CLASSES[2])),
        lane_change: fixed(&next(CLASSES[3])),
        order: fixed(&next(CLASSES[4])),
        rate: fixed(&next(CLASSES[5])),
        crowdedness: (heads[at] * super::feature_examples::CROWDEDNESS).max(0.0),
        features,
    }
}

fn fixed<const N: usize>(values: &[f64]) -> [f64; N] {
    std::array::from_fn(|index| values[index])
}

fn probabilities(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::MIN, f64::max);
    let powers: Vec<f64> = logits.iter().map(|l| libm::exp(l - highest)).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net() -> FeatureNet {
        let config = FeatureConfig {
            channels: vec![8, 16],
            features: 6,
        };
        FeatureNet::new(&config, &Init::new(&Device::flex(), 3))
    }

    fn clip(frames: usize, seed: u32) -> Vec<Frame> {
        let frame = |t: u32| {
            Frame::from_fn(128, 64, |x, y| {
                [0, 1, 2].map(|c| ((x * 3 + y * 5 + c * 40 + t * 9 + seed * 31) % 256) as u8)
            })
        };
        (0..frames as u32).map(|t| frame(t).unwrap()).collect()
    }

    #[test]
    fn a_clip_is_read_as_if_it_were_alone() {
        let (net, device) = (net(), Device::flex());
        let clips: Vec<Vec<Frame>> = [4, 4, 1, 7].map(|f| clip(f, f as u32)).into();
        let clips: Vec<&[Frame]> = clips.iter().map(Vec::as_slice).collect();
        let all = net.read(&clips, &device).unwrap();
        for (clip, together) in clips.iter().zip(&all) {
            let alone = &net.read(&[clip], &device).unwrap()[0];
            for (a, b) in alone.features.iter().zip(&together.features) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
            assert!((alone.weather.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn pictures_of_another_size_are_told() {
        let frame = Frame::filled(64, 64, [0; 3]).unwrap();
        let error = net().read(&[&[frame]], &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("got 64x64"), "{error}");
        let none: &[Frame] = &[];
        assert!(net().read(&[none], &Device::flex()).is_err());
    }

    #[test]
    fn the_shipped_sizes_stay_below_a_megabyte_in_half_precision() {
        let init = Init::new(&Device::flex(), 0);
        let net = FeatureNet::new(&FeatureConfig::shipped(), &init);
        let count = crate::checkpoint::count_parameters(&net);
        assert!((200_000..500_000).contains(&count), "{count}");
    }
}
