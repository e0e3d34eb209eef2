//! One level of noise.
//!
//! # Source
//!
//! Karras et al. 2022 (arXiv:2206.00364), section 2, for the meaning of sigma.

/// One noise level: the standard deviation of the noise and, where known, the number the
/// network is told for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseLevel {
    /// Noise per unit of signal, ≥ 0; the noisy variable is `x0 + sigma·noise`.
    pub sigma: f64,
    /// What the network reads for this level: an index into a table (possibly between two
    /// entries), or `0.25·ln(sigma)` for continuous models. `None` if it has to be computed by
    /// [`NoiseSchedule::timestep_at`](super::NoiseSchedule::timestep_at).
    pub timestep: Option<f64>,
}

impl NoiseLevel {
    /// No noise: where sampling ends.
    pub const CLEAN: Self = Self {
        sigma: 0.0,
        timestep: None,
    };

    /// A level known by its standard deviation only.
    #[must_use]
    pub fn from_sigma(sigma: f64) -> Self {
        Self {
            sigma,
            timestep: None,
        }
    }

    /// `1/√(1 + sigma²)`: the factor from the variance-exploding to the variance-preserving
    /// variable, and the `α` of the latter.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        1.0 / self.sigma.hypot(1.0)
    }
}
