//! LPIPS: how different two pictures look, as the distance of their features in a frozen network.
//!
//! Features of VGG-16 after the last ReLU of each of its five resolutions, each position scaled to
//! unit length over the channels; their squared difference, weighed by channel and averaged over
//! the positions, summed over the resolutions.
//!
//! # Source
//! Zhang et al. 2018 (arXiv:1801.03924), eq. 1; Simonyan and Zisserman 2015 (arXiv:1409.1556), table
//! 1, configuration D. The scaling of the input and the constant under the square root are those of
//! the authors' package `lpips` 0.1.4. Where all channels of a position are zero the package's
//! gradient is not a number, here it is zero.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, Tensor};

use crate::checkpoint::key_map::{KeyMap, Source, Transform};
use crate::checkpoint::{LoadOptions, Weights, load};
use crate::error::{Error, Result};
use crate::nn::{Conv2d, Fill, Init};

/// Resolutions at which features are compared.
const SLICES: usize = 5;
/// Means and deviations of the pictures that VGG was trained on, for pixels in \[−1, 1\].
const SHIFT: [f64; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f64; 3] = [0.458, 0.448, 0.450];
/// Added to the length of a position's features.
const TINY: f64 = 1e-10;

/// The sizes of a [`Perceptual`] network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerceptualConfig {
    /// For each resolution, the output channels of its 3×3 convolutions.
    pub slices: [Vec<usize>; SLICES],
}

impl PerceptualConfig {
    /// VGG-16.
    #[must_use]
    pub fn vgg16() -> Self {
        Self::narrow([64, 128, 256, 512, 512])
    }

    /// VGG-16 with these channels at its resolutions.
    #[must_use]
    pub fn narrow(channels: [usize; SLICES]) -> Self {
        let [a, b, c, d, e] = channels;
        Self {
            slices: [vec![a; 2], vec![b; 2], vec![c; 3], vec![d; 3], vec![e; 3]],
        }
    }

    /// The sizes of the weights in a file in torchvision's layout; the convolutions of a resolution
    /// are those of VGG-16.
    ///
    /// # Errors
    /// [`Error::Input`] when a convolution is missing.
    pub fn of(weights: &Weights) -> Result<Self> {
        let mut config = Self::vgg16();
        let names = feature_numbers(&config);
        for (slice, numbers) in config.slices.iter_mut().zip(names) {
            for (channels, number) in slice.iter_mut().zip(numbers) {
                let name = format!("features.{number}.weight");
                let shape = weights.shape(&name);
                *channels = *shape.and_then(<[usize]>::first).ok_or_else(|| {
                    Error::Input(format!(
                        "{}: expected `features.0.weight` to `features.28.weight` of torchvision's \
                         VGG-16 and `lin0.model.1.weight` to `lin4.model.1.weight` of the package \
                         lpips, found no `{name}`; docs/recipes/train-a-stage.md tells how to \
                         write the file",
                        weights.path().display()
                    ))
                })?;
            }
        }
        Ok(config)
    }
}

/// What torchvision numbers the convolutions: ReLUs and poolings count.
fn feature_numbers(config: &PerceptualConfig) -> Vec<Vec<usize>> {
    let mut first = 0;
    let slices = config.slices.iter().map(|slice| {
        let numbers = (0..slice.len()).map(|conv| first + 2 * conv).collect();
        first += 2 * slice.len() + 1;
        numbers
    });
    slices.collect()
}

/// The network whose features are compared.
#[derive(Module, Debug)]
pub struct Perceptual {
    /// From full resolution on, each at half the resolution of the one before.
    pub slices: Vec<PerceptualSlice>,
}

/// The convolutions of one resolution, and what their features weigh.
#[derive(Module, Debug)]
pub struct PerceptualSlice {
    /// 3×3 convolutions, each followed by a ReLU.
    pub convs: Vec<Conv2d>,
    /// Weight of each channel, `[1, channels]`.
    pub lin: Param<Tensor<2>>,
}

impl Perceptual {
    /// Fresh values: random features, all channels alike.
    pub fn new(config: &PerceptualConfig, init: &Init) -> Self {
        let mut width = 3;
        let slices = config.slices.iter().map(|slice| {
            let convs = slice.iter().map(|&channels| {
                let conv = Conv2d::new(width, channels, 3, init);
                width = channels;
                conv
            });
            PerceptualSlice {
                convs: convs.collect(),
                lin: init.parameter([1, width], Fill::Constant(1.0)),
            }
        });
        Self {
            slices: slices.collect(),
        }
    }

    /// Reads the weights: torchvision's names for VGG-16 (`features.N.weight`, `features.N.bias`) and
    /// those of the package lpips for the channels' weights (`linN.model.1.weight`). Their sizes
    /// are the file's.
    ///
    /// # Errors
    /// When the file cannot be read, or a tensor is missing or misshapen.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let weights = Weights::open(path)?;
        let config = PerceptualConfig::of(&weights)?;
        let network = Self::new(&config, &Init::new(device, 0));
        let keys = PerceptualKeys {
            numbers: feature_numbers(&config),
        };
        Ok(load(network, &weights, &keys, &LoadOptions::new("LPIPS"))?.0)
    }

    /// The distance of each picture from its partner; 0 for the same picture. It can be
    /// differentiated by both where they are tracked; the network itself never learns.
    ///
    /// # Shapes
    /// - `a`, `b`: `[n, height, width, 3]`, RGB in \[−1, 1\], sides at least [`Perceptual::MIN_SIDE`]
    /// - returns: `[n]`, f32
    pub fn forward(&self, a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
        let n = a.dims()[0];
        let mut total: Option<Tensor<1>> = None;
        for (slice, (a, b)) in self
            .slices
            .iter()
            .zip(self.features(a).zip(self.features(b)))
        {
            let difference = (unit(a) - unit(b)).powi_scalar(2);
            let weight = slice.lin.val().cast(DType::F32);
            let [_, h, w, _] = difference.dims();
            let weighed = vldm_kernels::linear(difference, weight, None, None);
            let mean = weighed.reshape([n, h * w]).mean_dim(1).reshape([n]);
            total = Some(match total {
                None => mean,
                Some(total) => total + mean,
            });
        }
        total.expect("there are five slices")
    }

    /// The smallest side of a picture: four times it is halved.
    pub const MIN_SIDE: usize = 16;

    /// Features at each resolution, computed as they are asked for.
    fn features(&self, x: Tensor<4>) -> impl Iterator<Item = Tensor<4>> {
        let dtype = self.slices[0].convs[0].weight.val().dtype();
        let mut x = scaled(x).cast(dtype);
        self.slices.iter().enumerate().map(move |(index, slice)| {
            if index > 0 {
                x = pooled(x.clone());
            }
            for conv in &slice.convs {
                x = relu(conv.forward(x.clone()));
            }
            x.clone()
        })
    }
}

/// Pixels in \[−1, 1\] as VGG reads them.
fn scaled(x: Tensor<4>) -> Tensor<4> {
    let channel = |c: usize| (x.clone().narrow(3, c, 1) - SHIFT[c]) / SCALE[c];
    Tensor::cat((0..3).map(channel).collect(), 3)
}

/// The largest of 2×2 neighbours; an odd row or column at the end is left out.
fn pooled(x: Tensor<4>) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    let (h, w) = (h / 2, w / 2);
    let rows = x
        .narrow(1, 0, 2 * h)
        .narrow(2, 0, 2 * w)
        .reshape([n * h, 2, 2 * w * c]);
    let columns = larger(rows).reshape([n * h * w, 2, c]);
    larger(columns).reshape([n, h, w, c])
}

/// The larger of two neighbours along the second axis.
fn larger(x: Tensor<3>) -> Tensor<3> {
    x.clone().narrow(1, 0, 1).max_pair(x.narrow(1, 1, 1))
}

/// Scales each position to unit length over the channels.
fn unit(x: Tensor<4>) -> Tensor<4> {
    let x = x.cast(DType::F32);
    // The bound keeps the root's derivative finite; it is far below what the sum below adds.
    let squares = x.clone().powi_scalar(2).sum_dim(3);
    let length = squares.clamp_min(TINY * TINY).sqrt() + TINY;
    x / length
}

/// Where a file holds our parameters.
#[derive(Debug)]
struct PerceptualKeys {
    numbers: Vec<Vec<usize>>,
}

impl KeyMap for PerceptualKeys {
    fn source(&self, ours: &str) -> Source {
        let number = |slice: &str, conv: &str| -> Option<usize> {
            let slice: usize = slice.parse().ok()?;
            let conv: usize = conv.parse().ok()?;
            self.numbers.get(slice)?.get(conv).copied()
        };
        let segments: Vec<&str> = ours.split('.').collect();
        match segments.as_slice() {
            ["slices", slice, "convs", conv, leaf] => match number(slice, conv) {
                Some(number) => Source::plain(format!("features.{number}.{leaf}")),
                None => Source::plain(ours),
            },
            ["slices", slice, "lin"] => Source {
                name: format!("lin{slice}.model.1.weight"),
                transform: Transform::Reshape { rank: 4 },
            },
            _ => Source::plain(ours),
        }
    }

    fn is_ignored(&self, theirs: &str) -> bool {
        theirs.starts_with("classifier.")
    }
}

#[cfg(test)]
mod tests;
