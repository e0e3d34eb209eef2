//! Boxes that were found against boxes that are true.
//!
//! # Source
//! Everingham et al. 2010 ("The Pascal Visual Object Classes Challenge"), section 4.2: a detection
//! is right when its class is and it overlaps a box, which nobody took before, by at least half;
//! average precision is the area under the precision made to fall with the recall, over all points
//! (as from 2010 on).

use vldm_world::{Paint, VehicleKind};

use crate::conditioning::boxes::ObjectBox;

/// The overlap from which on a detection is right.
pub const MATCH: f32 = 0.5;
/// Of two detections that overlap by more than this the less certain one is dropped.
const SAME: f32 = 0.5;

/// Peaks of a picture that are looked at, the most certain ones.
const MOST: usize = 500;

/// A box that a detector found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Where, and of which class.
    pub bounds: ObjectBox,
    /// How certain, 0 to 1.
    pub score: f32,
    /// Kind and paint of a vehicle.
    pub look: Option<(VehicleKind, Paint)>,
}

/// How well boxes were found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxScores {
    /// True boxes.
    pub truths: usize,
    /// Detections at or above the score asked for.
    pub detections: usize,
    /// Those of them that are right.
    pub right: usize,
    /// Area under precision over recall, of all detections; the mean over classes that have a
    /// true box. 0 where there is none.
    pub average_precision: f64,
}

impl BoxScores {
    /// The share of true boxes that were found; `None` where there are none.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.truths > 0).then(|| self.right as f64 / self.truths as f64)
    }

    /// The share of detections that are right; `None` where there are none.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        (self.detections > 0).then(|| self.right as f64 / self.detections as f64)
    }
}

/// Intersection over union, 0 to 1.
#[must_use]
pub fn overlap(a: &ObjectBox, b: &ObjectBox) -> f32 {
    let width = (a.x1.min(b.x1) - a.x0.max(b.x0)).max(0.0);
    let height = (a.y1.min(b.y1) - a.y0.max(b.y0)).max(0.0);
    let area = |b: &ObjectBox| (b.x1 - b.x0) * (b.y1 - b.y0);
    let both = width * height;
    match area(a) + area(b) - both {
        union if union > 0.0 => both / union,
        _ => 0.0,
    }
}

/// Sorts by certainty and drops what shows the same object again.
pub(crate) fn suppress(mut found: Vec<Detection>) -> Vec<Detection> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MOST);
    let mut kept: Vec<Detection> = Vec::new();
    for one in found {
        if kept
            .iter()
            .all(|other| overlap(&one.bounds, &other.bounds) <= SAME)
        {
            kept.push(one);
        }
    }
    kept
}

/// Compares detections with the truth, frame by frame; counts are of detections of at least
/// `score`.
///
/// # Panics
/// When there are not as many frames of the one as of the other.
#[must_use]
pub fn compare(found: &[Vec<Detection>], truth: &[Vec<ObjectBox>], score: f32) -> BoxScores {
    assert_eq!(
        found.len(),
        truth.len(),
        "frames of detections and of boxes"
    );
    let mut marked: Vec<(Detection, bool)> = Vec::new();
    for (found, truth) in found.iter().zip(truth) {
        marked.extend(judge(found, truth));
    }
    marked.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
    let classes: std::collections::BTreeSet<usize> =
        truth.iter().flatten().map(|b| b.class).collect();
    let precision = |&class: &usize| {
        let truths = truth.iter().flatten().filter(|b| b.class == class).count();
        let of_class = marked.iter().filter(|(d, _)| d.bounds.class == class);
        average_precision(of_class.map(|(_, right)| *right), truths)
    };
    let sum: f64 = classes.iter().map(precision).sum();
    let counted = || marked.iter().filter(|(d, _)| d.score >= score);
    BoxScores {
        truths: truth.iter().map(Vec::len).sum(),
        detections: counted().count(),
        right: counted().filter(|(_, right)| *right).count(),
        average_precision: sum / classes.len().max(1) as f64,
    }
}

/// Whether each detection of a frame is right; the most certain ones choose first.
pub(crate) fn judge(found: &[Detection], truth: &[ObjectBox]) -> Vec<(Detection, bool)> {
    matches(found, truth)
        .into_iter()
        .map(|(detection, truth)| (detection, truth.is_some()))
        .collect()
}

/// The true box that each detection of a frame is right about, by its place.
pub(crate) fn matches(found: &[Detection], truth: &[ObjectBox]) -> Vec<(Detection, Option<usize>)> {
    let mut found = found.to_vec();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut taken = vec![false; truth.len()];
    let mut choose = |detection: &Detection| {
        let fits = |&at: &usize| truth[at].class == detection.bounds.class && !taken[at];
        let free = (0..truth.len()).filter(fits);
        let overlaps = free.map(|at| (at, overlap(&truth[at], &detection.bounds)));
        let (at, _) = overlaps
            .filter(|&(_, overlap)| overlap >= MATCH)
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        taken[at] = true;
        Some(at)
    };
    found.iter().map(|one| (*one, choose(one))).collect()
}

/// The area under precision over recall of detections in the order of their certainty.
fn average_precision(right: impl Iterator<Item = bool>, truths: usize) -> f64 {
    let (mut found, mut points) = (0.0, Vec::new());
    for (number, right) in (1..).zip(right) {
        found += f64::from(u8::from(right));
        points.push((found / truths.max(1) as f64, found / f64::from(number)));
    }
    let (mut area, mut best, mut above) = (0.0, 0.0_f64, None);
    for &(recall, precision) in points.iter().rev() {
        if let Some(above) = above {
            area += (above - recall) * best;
        }
        best = best.max(precision);
        above = Some(recall);
    }
    area + above.unwrap_or(0.0) * best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds([x0, y0, x1, y1]: [f32; 4], class: usize) -> ObjectBox {
        ObjectBox {
            x0,
            y0,
            x1,
            y1,
            class,
        }
    }

    fn found(corners: [f32; 4], class: usize, score: f32) -> Detection {
        Detection {
            bounds: bounds(corners, class),
            score,
            look: None,
        }
    }

    #[test]
    fn overlaps_by_hand() {
        let check = |a, b, expected: f32| {
            let overlap = overlap(&bounds(a, 0), &bounds(b, 0));
            assert!((overlap - expected).abs() < 1e-6, "{overlap} {expected}");
        };
        check([0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5], 1.0);
        check([0.0, 0.0, 0.5, 0.5], [0.25, 0.0, 0.75, 0.5], 1.0 / 3.0);
        check([0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.75, 0.5], 0.0);
    }

    #[test]
    fn precision_and_recall_by_hand() {
        let [a, b, c] = [
            [0.0, 0.0, 0.2, 0.2],
            [0.4, 0.4, 0.6, 0.6],
            [0.7, 0.7, 0.9, 0.9],
        ];
        let truth = vec![vec![bounds(a, 0), bounds(b, 0), bounds(c, 1)]];
        // Right, the same again, wrong class, right.
        let detections = vec![vec![
            found(a, 0, 0.9),
            found(a, 0, 0.8),
            found(c, 0, 0.7),
            found(b, 0, 0.6),
        ]];
        let scores = compare(&detections, &truth, 0.65);
        assert_eq!((scores.truths, scores.detections, scores.right), (3, 3, 1));
        // Class 0: precision 1 up to a recall of 1/2, then 2/4; class 1: nothing found.
        let expected = (0.5 * 1.0 + 0.5 * 0.5) / 2.0;
        assert!((scores.average_precision - expected).abs() < 1e-12);
        let all = compare(&detections, &truth, 0.0);
        assert_eq!(all.right, 2);
        assert_eq!(all.recall(), Some(2.0 / 3.0));
        assert_eq!(all.precision(), Some(0.5));
    }

    #[test]
    fn nothing_to_find_is_no_number() {
        let scores = compare(&[vec![]], &[vec![]], 0.0);
        assert_eq!((scores.recall(), scores.precision()), (None, None));
        assert_eq!(scores.average_precision, 0.0);
    }

    #[test]
    fn the_same_object_is_kept_once() {
        let kept = suppress(vec![
            found([0.0, 0.0, 0.2, 0.2], 0, 0.5),
            found([0.01, 0.0, 0.2, 0.2], 1, 0.9),
            found([0.5, 0.0, 0.7, 0.2], 0, 0.1),
        ]);
        let scores: Vec<f32> = kept.iter().map(|one| one.score).collect();
        assert_eq!(scores, [0.9, 0.1]);
    }
}
