//! LPIPS as a loss on decoded frames.

use std::path::PathBuf;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::adversarial::by_pixels;
use super::networks::Networks;
use crate::error::{Error, Result};
use crate::perceptual::Perceptual;

/// Frames that are compared together: the features of one are many times its size.
const COMPARED_AT_ONCE: usize = 4;

/// How different decoded frames look from the true ones: [`Perceptual`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerceptualLoss {
    /// The network's weights, a safetensors file: [`Perceptual::load`].
    pub weights: PathBuf,
    /// Weight of the mean over all frames.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

impl PerceptualLoss {
    /// Checks the weight, and that pictures of these sizes, `[height, width]`, and of so many
    /// channels can be compared.
    pub(super) fn check(&self, sizes: &[[u32; 2]], channels: usize) -> Result<()> {
        let fail = |message: String| Err(Error::Config(message));
        if !(self.weight.is_finite() && self.weight > 0.0) {
            return fail(format!(
                "adversarial.perceptual.weight is {}, expected a number above 0",
                self.weight
            ));
        }
        if channels != 3 {
            return fail(format!(
                "adversarial.perceptual compares pictures of 3 channels, the model's have {channels}"
            ));
        }
        let least = Perceptual::MIN_SIDE as u32;
        match sizes.iter().flatten().find(|&&side| side < least) {
            None => Ok(()),
            Some(side) => fail(format!(
                "adversarial.perceptual compares pictures of at least {least}x{least} pixels, \
                 batch.sizes has {side}"
            )),
        }
    }

    /// The mean distance of frames, made and true, and its derivative by the made ones.
    ///
    /// # Shapes
    /// - both: `[frames, height, width, 3]`
    pub(super) fn loss(
        &self,
        networks: &Networks,
        [made, truth]: [&Tensor<4>; 2],
    ) -> Result<(f64, Tensor<4>)> {
        let network = networks.perceptual.as_ref().ok_or_else(|| {
            Error::Config("adversarial.perceptual needs its network, which was not loaded".into())
        })?;
        let frames = made.dims()[0] as f64;
        let made = made.clone().split(COMPARED_AT_ONCE, 0);
        let truth = truth.clone().split(COMPARED_AT_ONCE, 0);
        let mut distance = 0.0;
        let mut derivatives = Vec::with_capacity(made.len());
        for (made, truth) in made.into_iter().zip(truth) {
            let distances = |made| network.forward(made, truth.autodiff());
            let (sum, derivative) = by_pixels(made, |made| distances(made).sum());
            distance += sum / frames;
            derivatives.push(derivative / frames);
        }
        Ok((distance, Tensor::cat(derivatives, 0)))
    }
}
