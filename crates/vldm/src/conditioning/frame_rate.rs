//! What an interpolation model is told about frame rates, as tokens for temporal cross-attention.
//!
//! One set of weights does both interpolations: to 7.5 frames per second, then to 30.
//!
//! # Source
//! Blattmann et al. 2023, section 3.3, appendix H and table 6: a binary label in one token of
//! width 512 in the driving models, two tokens of width 768 in the text-to-video model. What the
//! second token holds is not said; here it is the rate itself.

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{Embedding, Init, Linear, sinusoidal};

/// Channels of the code of a frame rate.
const CODE: usize = 256;

/// The sizes of a [`FrameRateEncoder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameRateConfig {
    /// Width of the tokens: the temporal layers' `context_width`.
    pub width: usize,
    /// Number of regimes: 2, to 7.5 and to 30 frames per second.
    pub regimes: usize,
    /// Whether a second token tells the rate that is interpolated to.
    #[serde(default)]
    pub target_rate: bool,
}

impl FrameRateConfig {
    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        1 + usize::from(self.target_rate)
    }

    /// Checks that the sizes describe an encoder.
    ///
    /// # Errors
    /// [`Error::Config`] names what is wrong.
    pub fn validate(&self) -> Result<()> {
        if self.width == 0 || self.regimes == 0 {
            return Err(Error::Config(format!(
                "frame-rate encoder: expected a width and a number of regimes of at least 1, got \
                 {} and {}",
                self.width, self.regimes
            )));
        }
        Ok(())
    }
}

/// Frame rates to tokens.
#[derive(Module, Debug)]
pub struct FrameRateEncoder {
    /// One vector per regime.
    pub regime: Embedding,
    /// Reads the code of the rate.
    pub rate: Option<Linear>,
}

impl FrameRateEncoder {
    /// An encoder with fresh parameters; `config` has been validated.
    pub fn new(config: &FrameRateConfig, init: &Init) -> Self {
        Self {
            regime: Embedding::new(config.regimes, config.width, 0.5, init),
            rate: config
                .target_rate
                .then(|| Linear::new(CODE, config.width, true, init)),
        }
    }

    /// # Shapes
    /// - `regime`: `[batch]`, counted from 0, the coarsest first
    /// - `fps`: `[batch]`, frames per second that are interpolated to, in f32
    /// - returns: `[batch, tokens, width]`
    pub fn forward(&self, regime: Tensor<1, Int>, fps: Tensor<1>) -> Tensor<3> {
        let [batch] = regime.dims();
        let regime = self.regime.forward(regime.reshape([batch, 1])); // [batch, 1, width]
        let Some(rate) = &self.rate else {
            return regime;
        };
        let code = sinusoidal(fps, CODE).cast(regime.dtype());
        let rate = rate.forward(code); // [batch, width]
        Tensor::cat(vec![regime, rate.unsqueeze_dim(1)], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn one_token_or_two() {
        let device = Device::flex();
        for target_rate in [false, true] {
            let config = FrameRateConfig {
                width: 6,
                regimes: 2,
                target_rate,
            };
            let encoder = FrameRateEncoder::new(&config, &Init::new(&device, 2));
            let regime = Tensor::from_ints([0, 1, 1], &device);
            let fps = Tensor::from_floats([7.5, 30.0, 24.0], &device);
            let tokens = encoder.forward(regime, fps);
            assert_eq!(tokens.dims(), [3, config.tokens(), 6]);
        }
    }
}
