//! Intervals by resampling.
//!
//! # Source
//! Efron 1979, "Bootstrap methods: another look at the jackknife"; percentile intervals as Efron
//! and Tibshirani 1993, chapter 13. Shares: Wilson 1927, "Probable inference, the law of succession, and
//! statistical inference".

use serde::Serialize;

use crate::data::order::uniform;

/// Deviations of a normal law on each side of its middle 95 %.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// How intervals are computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampling {
    /// What the resamples are drawn from.
    pub seed: u64,
    /// How many there are.
    pub resamples: usize,
    /// The share of resamples within the interval, in (0, 1).
    pub confidence: f64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self {
            seed: 0,
            resamples: 1000,
            confidence: 0.95,
        }
    }
}

/// A number with an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The number itself.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// The share of `count` independent things that are `right`, with Wilson's interval of 95 %: of
    /// things that are all right, resamples would say nothing. `None` where there are none.
    #[must_use]
    pub fn share(right: usize, count: usize) -> Option<Self> {
        let (n, value) = (count as f64, right as f64 / count as f64);
        let middle = (value + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let variance = value * (1.0 - value) / n + Z * Z / (4.0 * n * n);
        let half = Z * variance.sqrt() / (1.0 + Z * Z / n);
        (count > 0).then(|| Self {
            value,
            low: (middle - half).max(0.0),
            high: (middle + half).min(1.0),
        })
    }
}

impl Resampling {
    /// The places of resample `number`: `count` draws from `count` places, with replacement.
    /// `set` tells apart sets that are resampled together.
    #[must_use]
    pub fn draw(&self, set: u64, number: usize, count: usize) -> Vec<usize> {
        let purpose = (0x6f << 56) + (set << 32) + number as u64;
        (0..count)
            .map(|at| {
                ((uniform(self.seed, purpose, at as u64) * count as f64) as usize).min(count - 1)
            })
            .collect()
    }

    /// A statistic of `count` things with its percentile interval. The statistic is given places,
    /// some of them more than once; where it has no value (no pair, no box), the resample is left
    /// out. `None` where it has none of the things themselves.
    pub fn estimate(
        &self,
        count: usize,
        statistic: impl Fn(&[usize]) -> Option<f64>,
    ) -> Option<Estimate> {
        let all: Vec<usize> = (0..count).collect();
        let value = statistic(&all)?;
        let values: Vec<f64> = (0..self.resamples)
            .filter_map(|number| statistic(&self.draw(0, number, count)))
            .collect();
        let [low, high] = self.between(values).unwrap_or([value; 2]);
        Some(Estimate { value, low, high })
    }

    /// The mean of values with its interval; `None` where there are none.
    #[must_use]
    pub fn mean(&self, values: &[f64]) -> Option<Estimate> {
        self.estimate(values.len(), |places| {
            let sum: f64 = places.iter().map(|&at| values[at]).sum();
            (!places.is_empty()).then(|| sum / places.len() as f64)
        })
    }

    /// The ends between which the middle share of values lies.
    pub(crate) fn between(&self, mut values: Vec<f64>) -> Option<[f64; 2]> {
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        Some([quantile(&values, tail)?, quantile(&values, 1.0 - tail)?])
    }
}

/// Linear between the order statistics, as numpy's default; `values` are sorted.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(last);
    Some(values[below] + part * (values[above] - values[below]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Draw, NoiseKey, Stage};

    #[test]
    fn quantiles_by_hand() {
        let values = [1.0, 2.0, 4.0, 8.0];
        let check = |share, expected| assert_eq!(quantile(&values, share), Some(expected));
        check(0.0, 1.0);
        check(0.5, 3.0);
        check(0.25, 1.75);
        check(1.0, 8.0);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_law() {
        let key = NoiseKey {
            seed: 4,
            stage: Stage::Validation,
            draw: Draw::Initial,
        };
        let values: Vec<f64> = key
            .normal(0..1, [1, 1, 400])
            .iter()
            .map(|&v| f64::from(v))
            .collect();
        let estimate = Resampling::default().mean(&values).unwrap();
        let mean = values.iter().sum::<f64>() / 400.0;
        assert!((estimate.value - mean).abs() < 1e-12);
        // 1.96 deviations of a mean of 400: 0.098; resampling errs by some hundredths of it.
        let half = (estimate.high - estimate.low) / 2.0;
        assert!((half - 0.098).abs() < 0.012, "{half}");
    }

    #[test]
    fn shares_by_wilson() {
        // Brown, Cai and DasGupta 2001, and by hand: n / (n + z²) where all are right.
        let all = Estimate::share(5, 5).unwrap();
        assert!((all.low - 5.0 / (5.0 + Z * Z)).abs() < 1e-12 && all.high == 1.0);
        let half = Estimate::share(50, 100).unwrap();
        assert!((half.low - 0.40383).abs() < 1e-5 && (half.high - 0.59617).abs() < 1e-5);
        assert_eq!(Estimate::share(0, 0), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values = [0.0, 1.0, 1.0, 0.0, 1.0];
        let of = |seed| {
            let resampling = Resampling {
                seed,
                ..Resampling::default()
            };
            resampling.mean(&values)
        };
        assert_eq!(of(1), of(1));
        assert_eq!(Resampling::default().mean(&[]), None);
    }
}
