//! The drift report: whether a long clip changes in colour and sharpness as it goes on.

use serde::Serialize;
use vldm_media::Frame;

use super::pictures::{Plane, plane};
use crate::error::{Error, Result};

/// What a part of a clip looks like, means over its frames. Values are those of bytes, 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Segment {
    /// The first frame, counted from 0.
    pub first: usize,
    /// Number of frames.
    pub frames: usize,
    /// Mean red, green and blue.
    pub mean: [f64; 3],
    /// Variance of red, green and blue over a frame's pixels.
    pub variance: [f64; 3],
    /// Variance of the Laplacian of the luma (Pech-Pacheco et al. 2000, "Diatom autofocusing in
    /// brightfield microscopy", LAPV): falls as pictures blur, rises with noise.
    pub sharpness: f64,
    /// Mean squared gradient of the luma (Tenengrad without its threshold, with simple
    /// differences).
    pub gradient: f64,
}

/// How far a segment is from the first one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// The largest difference of a channel's mean, in values of bytes.
    pub mean: f64,
    /// Sharpness over that of the first segment.
    pub sharpness: f64,
    /// The channels' summed variance over that of the first segment.
    pub variance: f64,
}

/// Cuts a clip into `count` segments of equal length, but for rounding, and looks at each.
///
/// # Errors
/// [`Error::Input`] when there are fewer frames than segments, or pictures of less than 3×3
/// pixels.
pub fn segments(frames: &[Frame], count: usize) -> Result<Vec<Segment>> {
    let small = frames.iter().any(|f| f.width() < 3 || f.height() < 3);
    if count == 0 || frames.len() < count || small {
        return Err(Error::Input(format!(
            "{count} segments of a clip of {} frames: expected at least one frame per segment, of \
             at least 3x3 pixels",
            frames.len()
        )));
    }
    let ends = (0..=count).map(|n| n * frames.len() / count);
    let ends: Vec<usize> = ends.collect();
    Ok(ends
        .windows(2)
        .map(|ends| {
            let mut sums = Segment::empty(ends[0]);
            frames[ends[0]..ends[1]].iter().for_each(|f| sums.add(f));
            sums.mean_of_sums()
        })
        .collect())
}

/// Looks at a clip frame by frame as it is made, and keeps none: segments of equal length, but for a
/// shorter last one.
#[derive(Debug)]
pub struct SegmentMeter {
    length: usize,
    done: Vec<Segment>,
    sums: Segment,
}

impl SegmentMeter {
    /// A meter for segments of `length` frames, at least one.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self {
            length: length.max(1),
            done: Vec::new(),
            sums: Segment::empty(0),
        }
    }

    /// Looks at the next frame, of at least 3×3 pixels: smaller ones have no sharpness and count as
    /// flat.
    pub fn push(&mut self, frame: &Frame) {
        self.sums.add(frame);
        if self.sums.frames == self.length {
            let next = Segment::empty(self.sums.first + self.length);
            self.done
                .push(std::mem::replace(&mut self.sums, next).mean_of_sums());
        }
    }

    /// The segments so far, a begun one too.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let begun = (self.sums.frames > 0).then(|| self.sums.mean_of_sums());
        self.done.iter().copied().chain(begun).collect()
    }
}

/// Each segment against the first one.
#[must_use]
pub fn drift(segments: &[Segment]) -> Vec<Drift> {
    let Some(first) = segments.first() else {
        return Vec::new();
    };
    let ratio = |now: f64, then: f64| if then > 0.0 { now / then } else { f64::NAN };
    let total = |of: &[f64; 3]| of.iter().sum::<f64>();
    segments
        .iter()
        .map(|now| {
            let channels = now.mean.iter().zip(first.mean);
            let differences = channels.map(|(now, then)| (now - then).abs());
            Drift {
                mean: differences.fold(0.0, f64::max),
                sharpness: ratio(now.sharpness, first.sharpness),
                variance: ratio(total(&now.variance), total(&first.variance)),
            }
        })
        .collect()
}

impl Segment {
    fn empty(first: usize) -> Self {
        Self {
            first,
            frames: 0,
            mean: [0.0; 3],
            variance: [0.0; 3],
            sharpness: 0.0,
            gradient: 0.0,
        }
    }

    fn add(&mut self, frame: &Frame) {
        self.frames += 1;
        for channel in 0..3 {
            let [mean, variance] = moments(&plane(frame, channel).values);
            self.mean[channel] += mean;
            self.variance[channel] += variance;
        }
        if frame.width() < 3 || frame.height() < 3 {
            return;
        }
        let luma = luma(frame);
        self.sharpness += moments(&laplacian(&luma))[1];
        self.gradient += gradient(&luma);
    }

    fn mean_of_sums(&self) -> Self {
        let share = 1.0 / self.frames as f64;
        Self {
            mean: self.mean.map(|sum| sum * share),
            variance: self.variance.map(|sum| sum * share),
            sharpness: self.sharpness * share,
            gradient: self.gradient * share,
            ..*self
        }
    }
}

fn moments(values: &[f64]) -> [f64; 2] {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    [mean, squares / count]
}

/// ITU-R BT.601.
fn luma(frame: &Frame) -> Plane {
    let of = |p: &[u8]| {
        let [r, g, b] = [p[0], p[1], p[2]].map(f64::from);
        0.299 * r + 0.587 * g + 0.114 * b
    };
    Plane {
        width: frame.width() as usize,
        values: frame.rgb().chunks(3).map(of).collect(),
    }
}

/// The sum of the four neighbours less four times the pixel, of all pixels that have four.
fn laplacian(plane: &Plane) -> Vec<f64> {
    let (w, v) = (plane.width, &plane.values);
    let h = v.len() / w;
    let at = |x: usize, y: usize| {
        let i = y * w + x;
        v[i - 1] + v[i + 1] + v[i - w] + v[i + w] - 4.0 * v[i]
    };
    (1..h - 1)
        .flat_map(|y| (1..w - 1).map(move |x| (x, y)))
        .map(|(x, y)| at(x, y))
        .collect()
}

fn gradient(plane: &Plane) -> f64 {
    let (w, v) = (plane.width, &plane.values);
    let h = v.len() / w;
    let mut sum = 0.0;
    for y in 0..h - 1 {
        for x in 0..w - 1 {
            let i = y * w + x;
            sum += (v[i + 1] - v[i]).powi(2) + (v[i + w] - v[i]).powi(2);
        }
    }
    sum / ((h - 1) * (w - 1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Spoiling;

    #[test]
    fn closed_forms() {
        // A checkerboard of 0 and 200: mean 100, variance 10000; the Laplacian is ±800, the
        // squared gradient 2 · 200².
        let board = |x: u32, y: u32| [if (x + y).is_multiple_of(2) { 0 } else { 200 }; 3];
        let frame = Frame::from_fn(10, 10, board).unwrap();
        let flat = Frame::filled(10, 10, [30, 60, 90]).unwrap();
        let found = segments(&[frame.clone(), frame, flat.clone(), flat], 2).unwrap();
        let check = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found}");
        check(found[0].mean[1], 100.0);
        check(found[0].variance[2], 10_000.0);
        check(found[0].sharpness, 640_000.0);
        check(found[0].gradient, 80_000.0);
        assert_eq!((found[1].first, found[1].frames), (2, 2));
        check(found[1].mean[2], 90.0);
        check(found[1].sharpness, 0.0);
        let drift = drift(&found);
        check(drift[1].mean, 70.0);
        check(drift[1].sharpness, 0.0);
        check(drift[0].variance, 1.0);
    }

    #[test]
    fn blur_and_noise_move_the_sharpness() {
        let texture = |x: u32, y: u32| [(100 + (x * 7 + y * 3) % 16) as u8; 3];
        let frame = vec![Frame::from_fn(32, 32, texture).unwrap()];
        let of = |spoiling: Spoiling| {
            let mut clip = frame.clone();
            clip.extend(spoiling.apply(&frame, 1).unwrap());
            drift(&segments(&clip, 2).unwrap())[1].sharpness
        };
        assert!(of(Spoiling::Blurred(1.0)) < 0.5);
        assert!(of(Spoiling::Noisy(0.1)) > 1.5);
    }

    #[test]
    fn a_meter_sees_what_segments_see() {
        let frame = |value: u8| Frame::from_fn(6, 5, |x, y| [(x * y) as u8 * value; 3]).unwrap();
        let clip: Vec<Frame> = (1..=7).map(frame).collect();
        let mut meter = SegmentMeter::new(3);
        clip.iter().for_each(|frame| meter.push(frame));
        let found = meter.segments();
        assert_eq!(found[..2], segments(&clip[..6], 2).unwrap());
        assert_eq!((found[2].first, found[2].frames), (6, 1));
        assert_eq!(found[2].mean, segments(&clip[6..], 1).unwrap()[0].mean);
    }

    #[test]
    fn segments_need_frames() {
        let frame = Frame::filled(10, 10, [0; 3]).unwrap();
        assert!(segments(&[frame.clone(), frame.clone()], 3).is_err());
        assert!(segments(&[frame], 0).is_err());
    }
}
