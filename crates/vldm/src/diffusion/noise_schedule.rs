//! Tables of noise levels: which levels a model was trained on, and what it is told about them.
//!
//! Scalars are f64 throughout. The reference implementation computes its tables in f32; the
//! tables here differ from it by that rounding (up to 1.0e-6 of `alphas_cumprod`), measured in
//! `tests/schedules.rs`.
//!
//! # Source
//!
//! Blattmann et al. 2023 (arXiv:2304.08818), section 2 and table 6; Ho et al. 2020
//! (arXiv:2006.11239) for the linear table; Karras et al. 2022 (arXiv:2206.00364), table 1, for
//! the continuous levels; Lin et al. 2023 (arXiv:2305.08891), algorithm 1, for zero terminal
//! signal.

use serde::{Deserialize, Serialize};

use super::NoiseLevel;
use crate::{Error, Result};

/// `alphas_cumprod` of the last table entry under zero terminal signal: small, but not 0, so
/// that the ratio of noise to signal stays finite (4096).
const ZERO_TERMINAL_ALPHA: f64 = 1.0 / 16_777_216.0;

/// The ends of a table of β.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BetaRange {
    /// β of the first table entry, in (0, 1).
    pub beta_start: f64,
    /// β of the last table entry, in [`beta_start`, 1).
    pub beta_end: f64,
    /// Number of table entries.
    #[serde(default = "default_steps")]
    pub steps: usize,
    /// Rescale the table so that its last entry holds (almost) no signal.
    #[serde(default)]
    pub zero_terminal_snr: bool,
}

fn default_steps() -> usize {
    1000
}

/// Which noise levels a model knows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum NoiseScheduleConfig {
    /// β rises linearly (Ho et al.).
    Linear(BetaRange),
    /// √β rises linearly: the table of Stable Diffusion, called "linear" in its own code and,
    /// very likely, in the paper's table 6.
    ScaledLinear(BetaRange),
    /// Continuous levels; the network is told `0.25·ln(sigma)`, and a sampling run spaces its
    /// levels evenly in `sigma^(1/rho)` from `sigma_max` to `sigma_min` (Karras et al., eq. 5).
    /// Stable Video Diffusion uses 0.002, 700 and 7.
    Edm {
        /// The smallest level that is denoised, > 0.
        sigma_min: f64,
        /// The level that sampling starts from.
        sigma_max: f64,
        /// Exponent of the spacing: larger means more levels near `sigma_min`.
        #[serde(default = "default_rho")]
        rho: f64,
    },
}

pub(super) fn default_rho() -> f64 {
    7.0
}

/// A noise schedule, ready to look levels up in.
#[derive(Debug, Clone)]
pub struct NoiseSchedule {
    config: NoiseScheduleConfig,
    /// `∏(1 − β)` by timestep; empty for continuous schedules.
    alphas_cumprod: Vec<f64>,
    /// `√((1 − ᾱ)/ᾱ)` by timestep, rising; empty for continuous schedules.
    sigmas: Vec<f64>,
}

impl NoiseSchedule {
    /// Computes the tables.
    ///
    /// # Errors
    /// [`Error::Config`] if a number is outside its documented range.
    pub fn new(config: NoiseScheduleConfig) -> Result<Self> {
        let alphas_cumprod = match config {
            NoiseScheduleConfig::Linear(range) => alphas_cumprod(&range, |beta| beta, |b| b)?,
            NoiseScheduleConfig::ScaledLinear(range) => {
                alphas_cumprod(&range, f64::sqrt, |root| root * root)?
            }
            NoiseScheduleConfig::Edm {
                sigma_min,
                sigma_max,
                rho,
            } => {
                check_sigmas(sigma_min, sigma_max, rho)?;
                Vec::new()
            }
        };
        let sigmas = alphas_cumprod
            .iter()
            .map(|alpha| ((1.0 - alpha) / alpha).sqrt())
            .collect();
        Ok(Self {
            config,
            alphas_cumprod,
            sigmas,
        })
    }

    /// What the schedule was made from.
    #[must_use]
    pub fn config(&self) -> NoiseScheduleConfig {
        self.config
    }

    /// `ᾱ = ∏(1 − β)` by timestep, falling; empty for continuous schedules.
    #[must_use]
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// Levels by timestep, rising; empty for continuous schedules.
    #[must_use]
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// The smallest and the largest level.
    #[must_use]
    pub fn sigma_range(&self) -> (f64, f64) {
        match self.config {
            NoiseScheduleConfig::Edm {
                sigma_min,
                sigma_max,
                ..
            } => (sigma_min, sigma_max),
            _ => (self.sigmas[0], self.sigmas[self.sigmas.len() - 1]),
        }
    }

    /// The level of a timestep. Between two table entries sigma is interpolated linearly,
    /// outside the table its end is taken.
    #[must_use]
    pub fn sigma_at(&self, timestep: f64) -> f64 {
        if self.sigmas.is_empty() {
            return (4.0 * timestep).exp();
        }
        let last = self.sigmas.len() - 1;
        let position = timestep.clamp(0.0, last as f64);
        let low = position.floor() as usize;
        let high = (low + 1).min(last);
        self.sigmas[low] + (self.sigmas[high] - self.sigmas[low]) * (position - low as f64)
    }

    /// What a network of this schedule is told for a level: the position in the table, found by
    /// linear interpolation in `ln(sigma)` and kept within the table, or `0.25·ln(sigma)`.
    #[must_use]
    pub fn timestep_at(&self, sigma: f64) -> f64 {
        let log_sigma = sigma.max(1e-10).ln();
        if self.sigmas.is_empty() {
            return 0.25 * log_sigma;
        }
        let last = self.sigmas.len() - 1;
        let above = self.sigmas.partition_point(|entry| *entry <= sigma);
        let low = above.saturating_sub(1).min(last.saturating_sub(1));
        let high = (low + 1).min(last);
        let (log_low, log_high) = (self.sigmas[low].ln(), self.sigmas[high].ln());
        let weight = (log_sigma - log_low) / (log_high - log_low);
        // A table of one entry has no interval to interpolate in: 0/0.
        let weight = if weight.is_nan() {
            0.0
        } else {
            weight.clamp(0.0, 1.0)
        };
        low as f64 + weight * (high - low) as f64
    }

    /// The level of a timestep, remembering the timestep.
    #[must_use]
    pub fn level(&self, timestep: f64) -> NoiseLevel {
        NoiseLevel {
            sigma: self.sigma_at(timestep),
            timestep: Some(timestep),
        }
    }
}

/// `∏(1 − β)` for a β that is `shape` of a linear ramp between the `root`s of its ends.
fn alphas_cumprod(
    range: &BetaRange,
    root: impl Fn(f64) -> f64,
    shape: impl Fn(f64) -> f64,
) -> Result<Vec<f64>> {
    check_betas(range)?;
    let (start, end) = (root(range.beta_start), root(range.beta_end));
    let intervals = range.steps.saturating_sub(1).max(1) as f64;
    let mut product = 1.0;
    let mut table: Vec<f64> = (0..range.steps)
        .map(|index| {
            product *= 1.0 - shape(start + (end - start) * index as f64 / intervals);
            product
        })
        .collect();
    if range.zero_terminal_snr {
        rescale_to_zero_terminal_snr(&mut table);
    }
    Ok(table)
}

/// Shifts and stretches `√ᾱ` so that its first entry stays and its last becomes (almost) 0.
fn rescale_to_zero_terminal_snr(table: &mut [f64]) {
    let first = table[0].sqrt();
    let last = table[table.len() - 1].sqrt();
    for entry in table.iter_mut() {
        let root = (entry.sqrt() - last) * first / (first - last);
        *entry = root * root;
    }
    table[table.len() - 1] = ZERO_TERMINAL_ALPHA;
}

fn check_betas(range: &BetaRange) -> Result<()> {
    let BetaRange {
        beta_start,
        beta_end,
        steps,
        zero_terminal_snr,
    } = *range;
    if !(beta_start > 0.0 && beta_start <= beta_end && beta_end < 1.0) {
        return Err(Error::Config(format!(
            "a noise schedule needs 0 < beta_start <= beta_end < 1, got {beta_start} and {beta_end}"
        )));
    }
    let least = if zero_terminal_snr { 2 } else { 1 };
    if steps < least {
        return Err(Error::Config(format!(
            "a noise schedule needs at least {least} table entries, got steps = {steps}"
        )));
    }
    Ok(())
}

pub(super) fn check_sigmas(sigma_min: f64, sigma_max: f64, rho: f64) -> Result<()> {
    let ordered = sigma_min > 0.0 && sigma_min < sigma_max && sigma_max.is_finite();
    if ordered && rho > 0.0 && rho.is_finite() {
        return Ok(());
    }
    Err(Error::Config(format!(
        "noise levels need 0 < sigma_min < sigma_max and rho > 0, \
         got sigma_min {sigma_min}, sigma_max {sigma_max}, rho {rho}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stable_diffusion() -> NoiseSchedule {
        let range = BetaRange {
            beta_start: 0.00085,
            beta_end: 0.012,
            steps: 1000,
            zero_terminal_snr: false,
        };
        NoiseSchedule::new(NoiseScheduleConfig::ScaledLinear(range)).expect("valid")
    }

    #[test]
    fn the_known_ends_of_stable_diffusion() {
        let schedule = stable_diffusion();
        let (low, high) = schedule.sigma_range();
        assert!((schedule.alphas_cumprod()[0] - 0.99915).abs() < 1e-12);
        assert!((low - 0.029167).abs() < 1e-5, "{low}");
        assert!((high - 14.6146).abs() < 1e-4, "{high}");
    }

    #[test]
    fn timesteps_and_sigmas_are_inverse_on_the_grid() {
        let schedule = stable_diffusion();
        for timestep in [0.0, 1.0, 17.0, 500.0, 998.0, 999.0] {
            let found = schedule.timestep_at(schedule.sigma_at(timestep));
            assert!((found - timestep).abs() < 1e-9, "{timestep} became {found}");
        }
    }

    #[test]
    fn outside_the_table_its_ends_are_taken() {
        let schedule = stable_diffusion();
        assert_eq!(schedule.timestep_at(0.0), 0.0);
        assert_eq!(schedule.timestep_at(1e6), 999.0);
        assert_eq!(schedule.sigma_at(1000.0), schedule.sigma_at(999.0));
    }

    #[test]
    fn continuous_levels_are_told_as_a_quarter_of_their_logarithm() {
        let config = NoiseScheduleConfig::Edm {
            sigma_min: 0.002,
            sigma_max: 700.0,
            rho: 7.0,
        };
        let schedule = NoiseSchedule::new(config).expect("valid");
        assert!((schedule.timestep_at(700.0) - 0.25 * 700_f64.ln()).abs() < 1e-12);
        assert!((schedule.sigma_at(schedule.timestep_at(3.0)) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn zero_terminal_signal_keeps_the_first_entry() {
        let range = BetaRange {
            beta_start: 0.00085,
            beta_end: 0.012,
            steps: 1000,
            zero_terminal_snr: true,
        };
        let schedule = NoiseSchedule::new(NoiseScheduleConfig::ScaledLinear(range)).expect("valid");
        assert!((schedule.alphas_cumprod()[0] - 0.99915).abs() < 1e-12);
        assert!((schedule.sigma_range().1 - 4096.0).abs() < 1e-3);
        assert!(schedule.sigmas().is_sorted());
    }

    #[test]
    fn configurations_are_strict() {
        let check = |text: &str| serde_json::from_str::<NoiseScheduleConfig>(text).is_ok();
        assert!(check(
            r#"{"type": "linear", "beta_start": 0.0001, "beta_end": 0.02}"#
        ));
        assert!(check(
            r#"{"type": "edm", "sigma_min": 0.002, "sigma_max": 700}"#
        ));
        assert!(!check(
            r#"{"type": "linear", "beta_start": 0.0001, "beta_end": 0.02, "x": 1}"#
        ));
        assert!(!check(
            r#"{"type": "edm", "sigma_min": 0.002, "sigma_max": 700, "beta": 1}"#
        ));
        assert!(!check(r#"{"type": "cosine"}"#));
    }

    #[test]
    fn wrong_numbers_are_refused() {
        for (beta_start, beta_end, steps) in [
            (0.0, 0.1, 10),
            (0.2, 0.1, 10),
            (0.1, 1.0, 10),
            (0.1, 0.2, 0),
            (f64::NAN, 0.1, 10),
        ] {
            let range = BetaRange {
                beta_start,
                beta_end,
                steps,
                zero_terminal_snr: false,
            };
            assert!(
                NoiseSchedule::new(NoiseScheduleConfig::Linear(range)).is_err(),
                "{range:?}"
            );
        }
        let config = NoiseScheduleConfig::Edm {
            sigma_min: 2.0,
            sigma_max: 1.0,
            rho: 7.0,
        };
        assert!(NoiseSchedule::new(config).is_err());
    }
}
