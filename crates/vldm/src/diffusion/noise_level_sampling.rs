//! Which noise levels a model is trained on, and how often.
//!
//! # Source
//!
//! Blattmann et al. 2023 (arXiv:2304.08818), section 2 (uniform over the table); Karras et al.
//! 2022 (arXiv:2206.00364), table 1, and Blattmann et al. 2023 (arXiv:2311.15127), appendix D
//! (log-normal).

use serde::{Deserialize, Serialize};

use super::{NoiseLevel, NoiseSchedule};
use crate::rng::NoiseKey;
use crate::{Error, Result};

/// The law that training noise levels are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum NoiseLevelSampling {
    /// Every entry of the table is as likely as any other; entries from `first` (0) up to and
    /// without `end` (the length of the table). Noise augmentation uses 0..251.
    Uniform {
        /// The first timestep that may be drawn.
        #[serde(default)]
        first: usize,
        /// One more than the last timestep that may be drawn.
        #[serde(default)]
        end: Option<usize>,
    },
    /// `ln(sigma)` is normal.
    LogNormal {
        /// Mean of `ln(sigma)`: −1.2 in EDM, 1.0 for 576×1024 image-to-video SVD.
        mean: f64,
        /// Standard deviation of `ln(sigma)`: 1.2 in EDM, 1.6 in that SVD.
        std: f64,
    },
}

impl NoiseLevelSampling {
    /// Draws the noise level of the example `index` from the random numbers under `key`.
    ///
    /// # Errors
    /// [`Error::Config`] if a uniform range is empty or lies outside the table.
    pub fn level(&self, schedule: &NoiseSchedule, key: NoiseKey, index: u64) -> Result<NoiseLevel> {
        match *self {
            Self::Uniform { first, end } => uniform(schedule, (first, end), key.uniform(index)),
            Self::LogNormal { mean, std } => {
                let sigma = libm::exp(mean + std * key.normal_scalar(index));
                Ok(NoiseLevel {
                    sigma,
                    timestep: Some(schedule.timestep_at(sigma)),
                })
            }
        }
    }

    /// The level below which `share` of all draws fall, from 0 up to 1.
    ///
    /// # Errors
    /// As [`NoiseLevelSampling::level`].
    pub(crate) fn quantile(&self, schedule: &NoiseSchedule, share: f64) -> Result<NoiseLevel> {
        match *self {
            Self::Uniform { first, end } => uniform(schedule, (first, end), share),
            Self::LogNormal { mean, std } => {
                let sigma = libm::exp(mean + std * normal_quantile(share));
                Ok(NoiseLevel {
                    sigma,
                    timestep: Some(schedule.timestep_at(sigma)),
                })
            }
        }
    }
}

/// The level at a share of a range of the table.
fn uniform(
    schedule: &NoiseSchedule,
    (first, end): (usize, Option<usize>),
    share: f64,
) -> Result<NoiseLevel> {
    let entries = schedule.sigmas().len();
    let end = end.unwrap_or(entries);
    if first >= end || end > entries {
        return Err(Error::Config(format!(
            "uniform noise levels need a range of timesteps within the {entries} entries of the \
             schedule's table, got {first}..{end}; continuous schedules have no table, use \
             log_normal"
        )));
    }
    let offset = (share * (end - first) as f64).floor() as usize;
    // The product may round up to the length of the range.
    let timestep = first + offset.min(end - first - 1);
    Ok(schedule.level(timestep as f64))
}

/// The number below which a standard normal deviate falls with probability `share`, within six
/// deviations of the mean.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-6.0, 6.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        let below = 0.5 * libm::erfc(-middle * std::f64::consts::FRAC_1_SQRT_2);
        match below < share {
            true => low = middle,
            false => high = middle,
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::{BetaRange, NoiseScheduleConfig};
    use crate::rng::{Draw, Stage};

    const KEY: NoiseKey = NoiseKey {
        seed: 1,
        stage: Stage::Training,
        draw: Draw::Choice(0),
    };

    fn table() -> NoiseSchedule {
        let range = BetaRange {
            beta_start: 1e-4,
            beta_end: 0.02,
            steps: 1000,
            zero_terminal_snr: false,
        };
        NoiseSchedule::new(NoiseScheduleConfig::Linear(range)).expect("valid")
    }

    #[test]
    fn uniform_covers_its_range() {
        let sampling = NoiseLevelSampling::Uniform {
            first: 10,
            end: Some(15),
        };
        let mut counts = [0; 5];
        for index in 0..1000 {
            let level = sampling.level(&table(), KEY, index).expect("valid");
            counts[level.timestep.expect("known") as usize - 10] += 1;
        }
        assert!(
            counts.iter().all(|count| (150..250).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn log_normal_has_its_moments() {
        let config = NoiseScheduleConfig::Edm {
            sigma_min: 0.002,
            sigma_max: 700.0,
            rho: 7.0,
        };
        let schedule = NoiseSchedule::new(config).expect("valid");
        let sampling = NoiseLevelSampling::LogNormal {
            mean: 1.0,
            std: 1.6,
        };
        let logs: Vec<f64> = (0..4000)
            .map(|index| {
                sampling
                    .level(&schedule, KEY, index)
                    .expect("valid")
                    .sigma
                    .ln()
            })
            .collect();
        let mean = logs.iter().sum::<f64>() / 4000.0;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 4000.0;
        assert!((mean - 1.0).abs() < 0.1, "{mean}");
        assert!((variance.sqrt() - 1.6).abs() < 0.07, "{variance}");
    }

    #[test]
    fn quantiles_are_the_law() {
        let table = table();
        let uniform = NoiseLevelSampling::Uniform {
            first: 10,
            end: Some(15),
        };
        let timestep = |share| uniform.quantile(&table, share).expect("valid").timestep;
        assert_eq!(
            [0.0, 0.5, 0.999].map(timestep),
            [10.0, 12.0, 14.0].map(Some)
        );
        let normal = NoiseLevelSampling::LogNormal {
            mean: 1.0,
            std: 1.6,
        };
        let log = |share| normal.quantile(&table, share).expect("valid").sigma.ln();
        // The 97.5th percentile lies 1.959964 deviations above the mean.
        assert!((log(0.5) - 1.0).abs() < 1e-9);
        assert!((log(0.975) - (1.0 + 1.6 * 1.959_964)).abs() < 1e-5);
    }

    #[test]
    fn ranges_outside_the_table_are_refused() {
        for (first, end) in [(5, Some(5)), (0, Some(1001)), (1000, None)] {
            let sampling = NoiseLevelSampling::Uniform { first, end };
            assert!(sampling.level(&table(), KEY, 0).is_err());
        }
    }
}
