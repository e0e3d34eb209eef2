//! Which frames of a clip make a window of another rate.

use std::ops::Range;

use super::sample::{ClipInfo, Window};
use crate::error::{Error, Result};

/// Rates that differ by no more than this share are the same: 23.976 and 24, 29.97 and 30.
const SAME_RATE: f64 = 0.01;

/// The frames of one clip that make a window: frame `k` is the clip's frame nearest to
/// `first + k · step`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Take {
    /// The first frame, counted from 0.
    pub first: usize,
    /// How many of the clip's frames pass per frame of the window, at least 1.
    pub step: f64,
    /// Number of frames.
    pub frames: usize,
    /// Frames per second of the window.
    pub fps: f64,
    clip_fps: f64,
}

impl Take {
    /// The window's frames when it lies at `time` (in [0, 1)) among all places where it fits.
    ///
    /// A rate up to 1 % above the clip's own takes each of its frames.
    pub(super) fn new(clip: &ClipInfo, window: &Window, time: f64) -> Result<Self> {
        let (step, fps) = match window.fps {
            Some(fps) if window.frames > 1 => {
                let step = clip.fps / fps;
                if step * (1.0 + SAME_RATE) < 1.0 {
                    return Err(Error::Input(format!(
                        "{}: it plays at {} frames per second, a window at {fps} would show \
                         frames twice: ask for a lower rate, or leave the clip out",
                        clip.id, clip.fps
                    )));
                }
                match step > 1.0 {
                    true => (step, fps),
                    false => (1.0, clip.fps),
                }
            }
            _ => (1.0, clip.fps),
        };
        let mut take = Self {
            first: 0,
            step,
            frames: window.frames,
            fps,
            clip_fps: clip.fps,
        };
        let span = take.span().len();
        if span > clip.frames {
            return Err(Error::Input(format!(
                "{}: it has {} frames at {} fps, a window of {window} takes {span} of them: ask \
                 for fewer frames or a higher rate, or leave the clip out",
                clip.id, clip.frames, clip.fps
            )));
        }
        let places = clip.frames - span + 1;
        take.first = ((time * places as f64) as usize).min(places - 1);
        Ok(take)
    }

    /// The clip's frames, in order; each is later than the one before.
    pub fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.frames).map(|k| self.index(k))
    }

    /// The clip's frames from the first to the last of the window, those between them included.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.first..self.index(self.frames - 1) + 1
    }

    /// Where in the clip the first frame lies, in seconds.
    #[must_use]
    pub fn start_seconds(&self) -> f64 {
        self.first as f64 / self.clip_fps
    }

    /// Whether all frames of another window of the same clip are among these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let mut mine = self.indices();
        other
            .indices()
            .all(|wanted| mine.any(|index| index == wanted))
    }

    fn index(&self, k: usize) -> usize {
        self.first + (k as f64 * self.step + 0.5).floor() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sample::Fit;

    fn clip(frames: usize, fps: f64) -> ClipInfo {
        ClipInfo {
            id: "clip.mp4".into(),
            width: 64,
            height: 48,
            frames,
            fps,
        }
    }

    fn window(frames: usize, fps: Option<f64>) -> Window {
        Window {
            frames,
            fps,
            height: 48,
            width: 64,
            fit: Fit::Crop,
        }
    }

    #[test]
    fn rates_are_lowered_by_taking_the_nearest_frames() {
        let check = |clip_fps, fps, expected: &[usize]| {
            let take = clip(200, clip_fps)
                .take(&window(expected.len(), fps), 0.0)
                .unwrap();
            assert_eq!(take.indices().collect::<Vec<_>>(), expected, "{fps:?}");
            assert_eq!(take.span().end, expected[expected.len() - 1] + 1);
        };
        check(30.0, None, &[0, 1, 2, 3]);
        check(30.0, Some(30.0), &[0, 1, 2, 3]);
        check(30.0, Some(7.5), &[0, 4, 8, 12]);
        check(30.0, Some(2.0), &[0, 15, 30, 45]);
        check(30.0, Some(24.0), &[0, 1, 3, 4, 5, 6, 8]);
        check(60.0, Some(24.0), &[0, 3, 5, 8, 10]);
        check(30_000.0 / 1001.0, Some(30.0), &[0, 1, 2, 3]);
    }

    #[test]
    fn no_frame_is_shown_twice() {
        for (clip_fps, fps) in [(29.75, 30.0), (29.97, 30.0), (24.0, 23.976), (25.0, 24.0)] {
            let take = clip(10_000, clip_fps)
                .take(&window(5000, Some(fps)), 0.3)
                .unwrap();
            let indices: Vec<usize> = take.indices().collect();
            assert!(indices.windows(2).all(|pair| pair[0] < pair[1]), "{fps}");
        }
        let error = clip(100, 24.0).take(&window(4, Some(30.0)), 0.0);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("it plays at 24 frames per second, a window at 30 would show frames"),
            "{error}"
        );
    }

    #[test]
    fn places_are_spread_over_the_clip() {
        let clip = clip(20, 10.0);
        let first = |time| clip.take(&window(5, Some(5.0)), time).unwrap().first;
        // Nine frames pass, so there are twelve places.
        assert_eq!(first(0.0), 0);
        assert_eq!(first(0.5), 6);
        assert_eq!(first(0.999_999), 11);
        let take = clip.take(&window(5, Some(5.0)), 0.5).unwrap();
        assert_eq!(take.start_seconds(), 0.6);
        assert_eq!(take.fps, 5.0);
        assert!(clip.holds(&window(10, Some(5.0))));
        let error = clip.take(&window(11, Some(5.0)), 0.0).unwrap_err();
        assert!(error.to_string().contains("takes 21 of them"), "{error}");
    }

    #[test]
    fn a_picture_is_a_clip_of_one_frame() {
        let picture = clip(1, 24.0);
        assert!(picture.holds(&window(1, Some(1000.0))));
        assert!(!picture.holds(&window(2, None)));
    }
}
