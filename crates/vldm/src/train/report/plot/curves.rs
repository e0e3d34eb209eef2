//! Points of curves: taken from records, smoothed, and made few enough to draw.

use super::super::record::Record;

/// A step and a value. Values that are not finite are gaps.
pub(super) type Point = [f64; 2];

/// Larger values are drawn as if they were this: sums of some millions of them stay finite.
const LARGEST: f64 = 1e300;

/// Fewer values are not smoothed.
const FEWEST_SMOOTHED: usize = 20;

/// What a plot shows of a run, sorted by step.
#[derive(Debug, Default)]
pub(super) struct Curves {
    /// Loss of each step.
    pub(super) losses: Vec<Point>,
    /// Learning rate of each step.
    pub(super) rates: Vec<Point>,
    /// Steps that were skipped, or whose loss is not finite.
    pub(super) lost: Vec<f64>,
    /// Noise levels, ascending, and the held-out losses at each.
    pub(super) levels: Vec<(f64, Vec<Point>)>,
    /// Means of held-out losses over the noise levels.
    pub(super) means: Vec<Point>,
    /// Seconds of training.
    pub(super) seconds: f64,
}

impl Curves {
    pub(super) fn of(records: &[Record]) -> Self {
        let mut curves = Self::default();
        for record in records {
            let step = record.step() as f64;
            match record {
                Record::Step(record) => {
                    curves.losses.push([step, bounded(record.loss)]);
                    curves.rates.push([step, bounded(record.learning_rate)]);
                    if record.skipped || !record.loss.is_finite() {
                        curves.lost.push(step);
                    }
                    // The larger one, also when the other is NaN.
                    curves.seconds = curves.seconds.max(record.seconds);
                }
                Record::Evaluation(record) => {
                    curves.means.push([step, bounded(record.mean)]);
                    for &(sigma, loss) in &record.losses {
                        curves.level(sigma).push([step, bounded(loss)]);
                    }
                }
            }
        }
        curves.sort();
        curves
    }

    fn level(&mut self, sigma: f64) -> &mut Vec<Point> {
        let at = self
            .levels
            .binary_search_by(|(known, _)| known.total_cmp(&sigma))
            .unwrap_or_else(|at| {
                self.levels.insert(at, (sigma, Vec::new()));
                at
            });
        &mut self.levels[at].1
    }

    fn sort(&mut self) {
        let levels = self.levels.iter_mut().map(|(_, points)| points);
        let lists = [&mut self.losses, &mut self.rates, &mut self.means];
        for points in levels.chain(lists) {
            points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        }
    }

    /// The first and the last step.
    pub(super) fn steps(&self) -> Option<Point> {
        let lists = self.levels.iter().map(|(_, points)| points);
        let lists = lists.chain([&self.losses, &self.means]);
        super::axis::span(lists.flatten().map(|point| point[0]))
    }
}

fn bounded(value: f64) -> f64 {
    if value.is_finite() {
        value.clamp(-LARGEST, LARGEST)
    } else {
        f64::NAN
    }
}

/// Running means of a curve.
#[derive(Debug, PartialEq)]
pub(super) struct Smoothed {
    /// The means.
    pub(super) points: Vec<Point>,
    /// Over how many values each is taken; fewer near the ends.
    pub(super) window: usize,
}

/// Means over a thirtieth of the values, at `count` places or a few more; `None` when there are
/// too few values.
///
/// The first windows are short on both sides, so that a steep beginning stays in place. The last
/// ones are shorter on one side, so that the end is as smooth as the rest.
pub(super) fn smoothed(points: &[Point], count: usize) -> Option<Smoothed> {
    if points.len() < FEWEST_SMOOTHED {
        return None;
    }
    let half = (points.len() / 60).max(1);
    let every = points.len().div_ceil(count.max(1));
    let last = points.len() - 1;
    let places = (0..last).step_by(every).chain([last]);
    let mean = |at: usize| {
        let before = half.min(at);
        let after = half.min(at.max(half / 16)).min(last - at);
        let window = &points[at - before..=at + after];
        let finite = window
            .iter()
            .map(|point| point[1])
            .filter(|y| y.is_finite());
        let (sum, number) = finite.fold((0.0, 0.0), |(sum, n), y| (sum + y, n + 1.0));
        // 0 / 0 is NaN: a gap.
        [points[at][0], sum / number]
    };
    Some(Smoothed {
        points: places.map(mean).collect(),
        window: 2 * half + 1,
    })
}

/// A curve of at most about two points for each of `count` stretches of its steps: the lowest and
/// the highest value of each, in their order, at the middle of the stretch.
pub(super) fn thinned(points: &[Point], count: usize) -> Vec<Point> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    if points.len() <= 2 * count {
        return points.to_vec();
    }
    let width = (last[0] - first[0]) / count as f64;
    let stretch = |point: &Point| ((point[0] - first[0]) / width) as usize;
    let mut thin = Vec::with_capacity(2 * count);
    for points in points.chunk_by(|a, b| stretch(a) == stretch(b)) {
        let middle = first[0] + (stretch(&points[0]) as f64 + 0.5) * width;
        let finite = || points.iter().filter(|point| point[1].is_finite());
        let lowest = finite().min_by(|a, b| a[1].total_cmp(&b[1]));
        let highest = finite().max_by(|a, b| a[1].total_cmp(&b[1]));
        match (lowest, highest) {
            (Some(low), Some(high)) if low[0] <= high[0] => {
                thin.extend([[middle, low[1]], [middle, high[1]]]);
            }
            (Some(low), Some(high)) => thin.extend([[middle, high[1]], [middle, low[1]]]),
            _ => thin.push([middle, f64::NAN]),
        }
    }
    thin
}

/// The span of a curve's values without the outermost thousandth at either side, if it has that
/// many: single spikes of a long run would flatten all the rest.
pub(super) fn usual_span(points: &[Point]) -> Option<Point> {
    let mut values: Vec<f64> = points.iter().map(|point| point[1]).collect();
    values.retain(|value| value.is_finite());
    let outliers = values.len() / 1_000;
    if outliers > 0 {
        values.sort_unstable_by(f64::total_cmp);
    }
    super::axis::span(values[outliers..values.len() - outliers].iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: impl IntoIterator<Item = f64>) -> Vec<Point> {
        let values = values.into_iter().enumerate();
        values.map(|(i, value)| [i as f64, value]).collect()
    }

    #[test]
    fn means_of_a_straight_line_lie_on_it_except_at_its_end() {
        let points = line((0..600).map(f64::from));
        let means = smoothed(&points, 1_000).unwrap();
        assert_eq!(means.window, 21);
        assert_eq!(means.points.len(), points.len());
        for (mean, point) in means.points.iter().zip(&points).take(589) {
            assert!((mean[1] - point[1]).abs() < 1e-9, "{mean:?}");
        }
        assert!((means.points[599][1] - 594.0).abs() < 1e-9);
        assert_eq!(smoothed(&points[..19], 1_000), None);
    }

    #[test]
    fn means_pass_over_what_is_not_finite() {
        let points = line((0..30).map(|i| if i == 10 { f64::NAN } else { 2.0 }));
        let means = smoothed(&points, 100).unwrap();
        assert!(
            means
                .points
                .iter()
                .all(|mean| (mean[1] - 2.0).abs() < 1e-12)
        );
        let gap = smoothed(&line([f64::NAN; 30]), 100).unwrap();
        assert!(gap.points.iter().all(|mean| mean[1].is_nan()));
        for value in [LARGEST, 1e-300] {
            let means = smoothed(&line([value; 30]), 100).unwrap();
            let is_same = |mean: &Point| (mean[1] / value - 1.0).abs() < 1e-12;
            assert!(means.points.iter().all(is_same));
        }
    }

    #[test]
    fn thin_curves_keep_their_peaks() {
        let mut points = line((0..100_000).map(|i| f64::from(i % 7)));
        points[54_321][1] = 99.0;
        points[77_777][1] = -99.0;
        points[11_111][1] = f64::NAN;
        let thin = thinned(&points, 500);
        assert!(thin.len() <= 1_002, "{}", thin.len());
        let has = |peak: Point| {
            let is_near = |point: &Point| (point[0] - peak[0]).abs() <= 100.0;
            thin.iter().any(|p| is_near(p) && p[1] == peak[1])
        };
        assert!(has([54_321.0, 99.0]) && has([77_777.0, -99.0]));
        assert!(thin.is_sorted_by(|a, b| a[0] <= b[0]));
        assert_eq!(thinned(&points[..1_000], 500).len(), 1_000);
        let all_at_once = vec![[3.0, 1.0]; 5_000];
        assert_eq!(thinned(&all_at_once, 500), [[3.0, 1.0]; 2]);
    }

    #[test]
    fn a_thousandth_at_either_side_does_not_count() {
        let mut points = line((0..2_000).map(|i| f64::from(i % 2)));
        points[5][1] = 1e9;
        assert_eq!(usual_span(&points), Some([0.0, 1.0]));
        assert_eq!(usual_span(&points[..100]), Some([0.0, 1e9]));
        assert_eq!(usual_span(&[]), None);
    }
}
