//! The distribution an encoder gives.

use burn::tensor::Tensor;

/// A Gaussian with independent components; a point where there is no log-variance.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// `[n, channels, height, width]`
    pub mean: Tensor<4>,
    /// Natural logarithm of the variance, in \[−30, 20\]; shape of the mean.
    pub logvar: Option<Tensor<4>>,
}

impl Posterior {
    /// # Shapes
    /// - `moments`: `[n, 2·channels, height, width]`, means first
    pub(super) fn gaussian(moments: Tensor<4>) -> Self {
        let [_, c, ..] = moments.dims();
        let mean = moments.clone().narrow(1, 0, c / 2);
        let logvar = moments.narrow(1, c / 2, c / 2).clamp(-30.0, 20.0);
        Self {
            mean,
            logvar: Some(logvar),
        }
    }

    pub(super) fn point(mean: Tensor<4>) -> Self {
        Self { mean, logvar: None }
    }

    /// The most likely latents.
    pub fn mode(self) -> Tensor<4> {
        self.mean
    }

    /// mean + standard deviation · `noise`.
    ///
    /// # Shapes
    /// - `noise`, returns: the shape of the mean
    pub fn sample(self, noise: Tensor<4>) -> Tensor<4> {
        match self.logvar {
            Some(logvar) => self.mean + (logvar * 0.5).exp() * noise,
            None => self.mean,
        }
    }
}
