//! What to read, and how much of it at most.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fps::Fps;

/// Which frames to read, and how.
///
/// ```
/// # use vldm_media::ReadOptions;
/// let middle = ReadOptions { start: 100, count: Some(16), ..ReadOptions::default() };
/// ```
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The first frame to keep, counted from 0.
    pub start: usize,
    /// How many frames to keep at most; `None` keeps all, 0 counts as 1.
    pub count: Option<usize>,
    /// The rate given to pictures and folders of pictures, which carry none; 24 unless set.
    pub image_fps: Fps,
    /// The colour behind transparent pixels; white unless set.
    pub background: [u8; 3],
    /// How much may be read.
    pub limits: Limits,
    /// The program that reads what is not read here; `ffprobe` is looked for beside it.
    pub ffmpeg: PathBuf,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            start: 0,
            count: None,
            image_fps: Fps::FILM,
            background: [255; 3],
            limits: Limits::default(),
            ffmpeg: PathBuf::from("ffmpeg"),
        }
    }
}

impl ReadOptions {
    /// The frames to keep of `num_frames`.
    pub(crate) fn window(&self, path: &Path, num_frames: usize) -> Result<Range<usize>> {
        if self.start >= num_frames {
            return Err(Error::Input(format!(
                "{}: has {num_frames} frames, asked to start at frame {}",
                path.display(),
                self.start
            )));
        }
        let rest = num_frames - self.start;
        Ok(self.start..self.start + self.count.unwrap_or(rest).min(rest).max(1))
    }
}

/// How much a file may make us allocate. Files come from anywhere; these bounds hold for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest side of a frame, in pixels.
    pub max_side: u32,
    /// The largest frame, in pixels.
    pub max_pixels: u64,
    /// The largest clip, in bytes of RGB.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// Sides of 16,384 pixels, frames of 2^27 pixels, clips of 8 GiB.
    fn default() -> Self {
        Self {
            max_side: 16_384,
            max_pixels: 1 << 27,
            max_bytes: 8 << 30,
        }
    }
}

impl Limits {
    /// No bounds: for what we wrote ourselves.
    pub(crate) fn none() -> Self {
        Self {
            max_side: u32::MAX,
            max_pixels: u64::MAX,
            max_bytes: u64::MAX,
        }
    }

    pub(crate) fn check_frame(&self, path: &Path, width: u32, height: u32) -> Result<()> {
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) > self.max_side || pixels > self.max_pixels {
            return Err(Error::too_large(
                path,
                format!(
                    "frames of {width}x{height} pixels; at most {} pixels a side and {} in all \
                     are read",
                    self.max_side, self.max_pixels
                ),
            ));
        }
        Ok(())
    }

    pub(crate) fn check_clip(
        &self,
        path: &Path,
        (width, height): (u32, u32),
        num_frames: usize,
    ) -> Result<()> {
        self.check_frame(path, width, height)?;
        // Even a tiny frame costs an allocation.
        let frame = (u64::from(width) * u64::from(height) * 3).max(256);
        if frame.saturating_mul(num_frames as u64) > self.max_bytes {
            return Err(Error::too_large(
                path,
                format!(
                    "{num_frames} frames of {width}x{height} pixels; at most {} bytes are read \
                     at once: ask for fewer frames",
                    self.max_bytes
                ),
            ));
        }
        Ok(())
    }

    /// The bounds in the image library's terms.
    pub(crate) fn for_images(&self) -> image::Limits {
        let mut limits = image::Limits::no_limits();
        limits.max_image_width = Some(self.max_side);
        limits.max_image_height = Some(self.max_side);
        // Up to eight bytes a pixel (16 bits, RGBA), and the decoder's own buffers.
        limits.max_alloc = Some(self.max_pixels.saturating_mul(16).min(self.max_bytes));
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stay_within_the_clip() {
        let check = |start, count, expected: Option<Range<usize>>| {
            let options = ReadOptions {
                start,
                count,
                ..ReadOptions::default()
            };
            assert_eq!(options.window(Path::new("x"), 10).ok(), expected);
        };
        check(0, None, Some(0..10));
        check(3, Some(4), Some(3..7));
        check(8, Some(4), Some(8..10));
        check(0, Some(0), Some(0..1));
        check(10, None, None);
    }

    #[test]
    fn limits_count_frames_and_bytes() {
        let limits = Limits {
            max_side: 100,
            max_pixels: 5000,
            max_bytes: 10_000,
        };
        let path = Path::new("clip.mp4");
        assert!(limits.check_clip(path, (10, 10), 30).is_ok());
        assert!(limits.check_clip(path, (101, 1), 1).is_err());
        assert!(limits.check_clip(path, (80, 80), 1).is_err());
        assert!(limits.check_clip(path, (10, 10), 40).is_err());
        assert!(limits.check_clip(path, (1, 1), 40).is_err());
    }
}
