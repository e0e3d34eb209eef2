//! The Fréchet distance between two sets of features.
//!
//! # Source
//! Dowson and Landau 1982, "The Fréchet distance between multivariate normal distributions", eq. 4:
//! |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½); for features of networks Heusel et al. 2017
//! (arXiv:1706.08500) and Unterthiner et al. 2018 (arXiv:1812.01717). The trace of the root is that
//! of (Σ₁^½ Σ₂ Σ₁^½)^½, which is symmetric. What it would be without end to the sets: Chong and
//! Forsyth 2020 (arXiv:1911.07023), section 3. Intervals by leaving out groups: Shao and Tu 1995, "The
//! jackknife and bootstrap", section 2.3.

use linfa_linalg::eigh::{EigValsh, Eigh};
use ndarray::{Array1, Array2, Axis};
use serde::Serialize;

use super::interval::{Estimate, Z};
use crate::data::order::uniform;
use crate::error::{Error, Result};

/// Sizes of subsets from which the distance without end is told.
const SIZES: usize = 12;

/// Subsets of each size: one alone says little.
const SUBSETS: usize = 4;

/// Groups of neighbours of a set that are left out in turn.
const GROUPS: usize = 32;

/// Fewest members of a set of which something can be left out.
const FEWEST: usize = 3;

/// Mean and covariance of a set of features.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureMoments {
    mean: Array1<f64>,
    covariance: Array2<f64>,
}

/// A Fréchet distance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FrechetDistance {
    /// Of these sets. It is too high by an amount that falls with their size: compare only
    /// distances of sets of equal sizes. The interval, of 95 %, says how much it varies from one draw of
    /// sets of these sizes to the next; it errs to the wide side where the sets are small.
    pub distance: Estimate,
    /// An estimate of what it would be of endless sets; near 0 it may fall below 0. `None` where
    /// the sets are too small to tell.
    pub without_end: Option<f64>,
    /// Sizes of the sets.
    pub counts: [usize; 2],
}

impl FeatureMoments {
    /// The unbiased moments of a set of features of equal length.
    ///
    /// # Errors
    /// [`Error::Input`] below two members, where lengths differ, or values are not finite.
    pub fn of(features: &[&[f64]]) -> Result<Self> {
        let width = features.first().map_or(0, |first| first.len());
        if features.len() < 2 || width == 0 {
            return Err(too_few(features.len(), 2));
        }
        let whole = |row: &&[f64]| row.len() == width && row.iter().all(|v| v.is_finite());
        if !features.iter().all(whole) {
            return Err(Error::Input(format!(
                "features must be finite numbers, {width} of each clip"
            )));
        }
        let count = features.len();
        let mut rows = Array2::from_shape_fn((count, width), |(row, column)| features[row][column]);
        let mean = rows.sum_axis(Axis(0)) / count as f64;
        rows -= &mean;
        let covariance = rows.t().dot(&rows) / (count as f64 - 1.0);
        Ok(Self { mean, covariance })
    }

    /// The affine map after which these moments are 0 and the identity: rows of a matrix and an
    /// offset. Variances below `least` times their mean are taken for that.
    ///
    /// # Errors
    /// As [`FeatureMoments::distance`].
    pub(crate) fn whitening(&self, least: f64) -> Result<(Array2<f64>, Array1<f64>)> {
        let (values, vectors) = self.covariance.eigh().map_err(|error| no_root(&error))?;
        let floor = least * values.sum() / values.len() as f64;
        let scales = values.mapv(|value| 1.0 / value.max(floor).max(f64::MIN_POSITIVE).sqrt());
        let rows = (&vectors * &scales).reversed_axes();
        let offset = -rows.dot(&self.mean);
        Ok((rows, offset))
    }

    /// The mean.
    pub(crate) fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// The covariance.
    #[cfg(test)]
    pub(crate) fn covariance(&self) -> &Array2<f64> {
        &self.covariance
    }

    /// The inverse of the rows of [`FeatureMoments::whitening`] without a floor.
    pub(crate) fn coloring(&self, rows: &Array2<f64>) -> Array2<f64> {
        self.covariance.dot(&rows.t())
    }

    /// The Fréchet distance to other moments, at least 0.
    ///
    /// # Errors
    /// [`Error::Input`] when the features differ in number, or the moments have no roots, which
    /// does not happen to those of finite features.
    pub fn distance(&self, other: &Self) -> Result<f64> {
        if self.mean.len() != other.mean.len() {
            return Err(Error::Input(format!(
                "the sets have {} and {} features: they must come from the same network",
                self.mean.len(),
                other.mean.len()
            )));
        }
        let root = root(&self.covariance)?;
        let product = root.dot(&other.covariance).dot(&root);
        // Rounding leaves it a little lopsided.
        let product = (&product + &product.t()) * 0.5;
        let values = product.eigvalsh().map_err(|error| no_root(&error))?;
        let roots: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
        let means = (&self.mean - &other.mean).mapv(|value| value * value).sum();
        let traces = self.covariance.diag().sum() + other.covariance.diag().sum();
        Ok((means + traces - 2.0 * roots).max(0.0))
    }
}

/// The symmetric root of a symmetric matrix without negative eigenvalues but those of rounding.
fn root(matrix: &Array2<f64>) -> Result<Array2<f64>> {
    let (values, vectors) = matrix.eigh().map_err(|error| no_root(&error))?;
    let roots = values.mapv(|value| value.max(0.0).sqrt());
    Ok((&vectors * &roots).dot(&vectors.t()))
}

fn no_root(error: &linfa_linalg::LinalgError) -> Error {
    Error::Input(format!(
        "the covariance of the features has no root: {error}"
    ))
}

fn too_few(members: usize, fewest: usize) -> Error {
    Error::Input(format!(
        "a Fréchet distance needs two sets of at least {fewest} members, got one of {members}"
    ))
}

/// The Fréchet distance of two sets of features, with an interval.
///
/// The interval is that of a jackknife over groups of neighbours of both sets: parts of one recording
/// stand side by side and are left out together. (A bootstrap repeats members, which makes intervals of
/// this distance up to three times too wide.) `seed` chooses the subsets for the distance without end.
///
/// # Errors
/// As [`FeatureMoments::of`] and [`FeatureMoments::distance`], and below three members.
pub fn frechet(a: &[Vec<f64>], b: &[Vec<f64>], seed: u64) -> Result<FrechetDistance> {
    let counts = [a.len(), b.len()];
    if let Some(&members) = counts.iter().find(|&&members| members < FEWEST) {
        return Err(too_few(members, FEWEST));
    }
    let of = |places: [Vec<usize>; 2]| {
        let [a, b] = [(a, &places[0]), (b, &places[1])].map(|(set, places)| {
            let members: Vec<&[f64]> = places.iter().map(|&at| set[at].as_slice()).collect();
            FeatureMoments::of(&members)
        });
        a?.distance(&b?)
    };
    let value = of(counts.map(|count| (0..count).collect()))?;
    let deviation = deviation(counts, &of)?;
    Ok(FrechetDistance {
        distance: Estimate {
            value,
            low: (value - Z * deviation).max(0.0),
            high: value + Z * deviation,
        },
        without_end: without_end(counts, a[0].len(), (seed, &of))?,
        counts,
    })
}

/// The standard error of a distance, by leaving out each group of each set.
fn deviation(counts: [usize; 2], of: &DistanceOf) -> Result<f64> {
    let mut variance = 0.0;
    for set in 0..2 {
        let groups = GROUPS.min(counts[set]);
        let without = |group: usize| {
            let end = |group: usize| group * counts[set] / groups;
            let mut places = counts.map(|count| (0..count).collect::<Vec<_>>());
            places[set].drain(end(group)..end(group + 1));
            of(places)
        };
        let found = (0..groups).map(without).collect::<Result<Vec<f64>>>()?;
        let mean = found.iter().sum::<f64>() / groups as f64;
        let squares: f64 = found.iter().map(|one| (one - mean).powi(2)).sum();
        variance += squares * (groups as f64 - 1.0) / groups as f64;
    }
    Ok(variance.sqrt())
}

/// The distance of two subsets, by the indices of their members.
type DistanceOf<'a> = dyn Fn([Vec<usize>; 2]) -> Result<f64> + 'a;

/// The line through distances of random subsets over 1/size, at 0.
fn without_end(
    counts: [usize; 2],
    width: usize,
    (seed, of): (u64, &DistanceOf),
) -> Result<Option<f64>> {
    let most = counts[0].min(counts[1]);
    let least = (most / 2).max(width + 2);
    // Where the subsets hardly differ in size, a line through them means nothing.
    if least * 3 > most * 2 {
        return Ok(None);
    }
    let mut points = Vec::with_capacity(SIZES * SUBSETS);
    for number in 0..SIZES * SUBSETS {
        let size = least + (most - least) * (number / SUBSETS) / (SIZES - 1);
        let subsets = [0, 1].map(|set| {
            let purpose = (0x70 << 56) + ((set as u64) << 32) + number as u64;
            subset(counts[set], size, |at| uniform(seed, purpose, at))
        });
        points.push((1.0 / size as f64, of(subsets)?));
    }
    let count = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / count;
    let both: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    let squares: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    Ok(Some(mean_y - both / squares * mean_x))
}

/// `size` of `count` places, each once.
fn subset(count: usize, size: usize, draw: impl Fn(u64) -> f64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    for at in 0..size {
        let other = at + (draw(at as u64) * (count - at) as f64) as usize;
        places.swap(at, other.min(count - 1));
    }
    places.truncate(size);
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Draw, NoiseKey, Stage};

    /// Normal features with these means and deviations.
    fn normal(seed: u64, count: usize, of: &[(f64, f64)]) -> Vec<Vec<f64>> {
        let key = NoiseKey {
            seed,
            stage: Stage::Validation,
            draw: Draw::Initial,
        };
        let values = key.normal(0..count as u64, [1, 1, of.len()]);
        let row = |row: &[f32]| {
            let pairs = row.iter().zip(of);
            pairs
                .map(|(&v, (mean, deviation))| mean + deviation * f64::from(v))
                .collect()
        };
        values.chunks(of.len()).map(row).collect()
    }

    fn moments(mean: &[f64], covariance: &[f64]) -> FeatureMoments {
        let width = mean.len();
        FeatureMoments {
            mean: Array1::from_vec(mean.to_vec()),
            covariance: Array2::from_shape_vec((width, width), covariance.to_vec()).unwrap(),
        }
    }

    #[test]
    fn closed_forms() {
        let check = |a: FeatureMoments, b: FeatureMoments, expected: f64| {
            for distance in [a.distance(&b).unwrap(), b.distance(&a).unwrap()] {
                assert!((distance - expected).abs() < 1e-9, "{distance} {expected}");
            }
        };
        // One dimension: (μ₁ − μ₂)² + (σ₁ − σ₂)².
        check(
            moments(&[1.0], &[4.0]),
            moments(&[4.0], &[0.25]),
            9.0 + 2.25,
        );
        // Covariances that commute: the roots' squared difference.
        let diagonal = |a, b| moments(&[0.0, 0.0], &[a, 0.0, 0.0, b]);
        check(diagonal(1.0, 9.0), diagonal(16.0, 4.0), 9.0 + 1.0);
        // One of them has no extent in a direction.
        check(diagonal(1.0, 0.0), diagonal(1.0, 4.0), 4.0);
        let same = moments(&[1.0, 2.0], &[2.0, 0.6, 0.6, 1.0]);
        check(same.clone(), same, 0.0);
    }

    #[test]
    fn agrees_with_numpy_where_covariances_do_not_commute() {
        let a = moments(
            &[0.1, -0.4, 0.7],
            &[2.0, 0.6, -0.3, 0.6, 1.0, 0.2, -0.3, 0.2, 0.5],
        );
        let b = moments(
            &[0.5, 0.0, -0.2],
            &[1.0, -0.4, 0.1, -0.4, 3.0, 0.5, 0.1, 0.5, 0.8],
        );
        // numpy: the roots of `linalg.eigvals(A @ B)`.
        let distance = a.distance(&b).unwrap();
        assert!(
            (distance - 2.360_757_500_808_004_4).abs() < 1e-9,
            "{distance}"
        );
    }

    #[test]
    fn moments_are_numpys() {
        let rows = [[1.0, 2.0], [3.0, 1.0], [2.0, 6.0]];
        let rows: Vec<&[f64]> = rows.iter().map(<[f64; 2]>::as_slice).collect();
        let found = FeatureMoments::of(&rows).unwrap();
        let expected = moments(&[2.0, 3.0], &[1.0, -0.5, -0.5, 7.0]);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        found
            .mean
            .iter()
            .zip(&expected.mean)
            .for_each(|(a, b)| close(*a, *b));
        let pairs = found.covariance.iter().zip(&expected.covariance);
        pairs.for_each(|(a, b)| close(*a, *b));
    }

    #[test]
    fn whitened_features_have_no_covariance_but_one() {
        let set = normal(3, 500, &[(3.0, 2.0), (-1.0, 0.05), (0.0, 7.0)]);
        let set: Vec<Vec<f64>> = set
            .iter()
            .map(|row| vec![row[0] + row[2], row[1] - row[0], row[2]])
            .collect();
        let views = |set: &[Vec<f64>]| -> FeatureMoments {
            FeatureMoments::of(&set.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
        };
        let (rows, offset) = views(&set).whitening(0.0).unwrap();
        let white = set.iter().map(|row| {
            let row = Array1::from_vec(row.clone());
            (rows.dot(&row) + &offset).to_vec()
        });
        let found = views(&white.collect::<Vec<_>>());
        let identity = moments(&[0.0; 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let pairs = found.covariance.iter().zip(&identity.covariance);
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{found:?}"));
        assert!(found.mean.iter().all(|mean| mean.abs() < 1e-9));
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself() {
        let set = normal(1, 40, &[(0.0, 1.0), (2.0, 0.1), (0.0, 3.0)]);
        let found = frechet(&set, &set, 0).unwrap();
        assert!(found.distance.value < 1e-9, "{found:?}");
    }

    #[test]
    fn intervals_hold_what_other_draws_give_and_the_bias_is_told() {
        let of = [(0.0, 1.0); 8];
        let shifted = [(0.5, 1.0); 8];
        let runs: Vec<FrechetDistance> = (0..30)
            .map(|run| {
                let (a, b) = (
                    normal(2 * run, 128, &of),
                    normal(2 * run + 1, 128, &shifted),
                );
                frechet(&a, &b, run).unwrap()
            })
            .collect();
        let mean = |of: &dyn Fn(&FrechetDistance) -> f64| {
            runs.iter().map(of).sum::<f64>() / runs.len() as f64
        };
        let (truth, count) = (8.0 * 0.25, 128.0);
        let value = mean(&|run| run.distance.value);
        let endless = mean(&|run| run.without_end.unwrap());
        // To first order the means err by 2d/n, the covariances by d(d + 1)/2n.
        let bias = (2.0 * 8.0 + 8.0 * 9.0 / 2.0) / count;
        assert!((value - truth - bias).abs() < 0.25, "{value}");
        let told = (value - endless) / bias;
        assert!((0.6..1.4).contains(&told), "{told}");
        let inside =
            |run: &&FrechetDistance| (run.distance.low..run.distance.high).contains(&value);
        let covered = runs.iter().filter(inside).count();
        assert!(covered >= 25, "{covered} of 30");
        // Nor are they much wider than they must be.
        let half = mean(&|run| (run.distance.high - run.distance.low) / 2.0);
        let spread = mean(&|run| (run.distance.value - value).powi(2)).sqrt();
        let width = half / (1.96 * spread);
        assert!((0.7..1.8).contains(&width), "{width}");
    }

    #[test]
    fn sets_that_mean_nothing_are_refused() {
        let check = |a: &[Vec<f64>], b: &[Vec<f64>], expected: &str| {
            let error = frechet(a, b, 0).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        let one = normal(0, 1, &[(0.0, 1.0)]);
        let good = normal(0, 9, &[(0.0, 1.0)]);
        check(&one, &good, "at least 3 members");
        check(&good, &[], "at least 3 members");
        let other = normal(0, 9, &[(0.0, 1.0); 2]);
        check(&good, &other, "same network");
        check(&good, &[vec![0.0], vec![0.5], vec![f64::NAN]], "finite");
    }
}
