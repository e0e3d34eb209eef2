//! What a training sample is, what it is asked to be, and what gives samples.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use serde::{Deserialize, Serialize};
use vldm_media::Frame;

use super::times::Take;
use crate::conditioning::boxes::ObjectBox;
use crate::error::{Error, Result};

/// One training sample: a window of frames of one clip, at one size, with what is known about it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The clip's name, as [`ClipInfo::id`].
    pub id: String,
    /// The frames, all of the window's width and height.
    pub frames: Vec<Frame>,
    /// Frames per second of these frames; of a single frame, of its clip.
    pub fps: f64,
    /// Where in the clip the first frame lies, in seconds.
    pub start_seconds: f64,
    /// What the clip shows, in words.
    pub caption: Option<String>,
    /// Numbered properties of the whole clip, counted from 0.
    pub labels: BTreeMap<String, usize>,
    /// Boxes, one list per frame, in shares of these frames; empty lists where the clip has none.
    pub boxes: Vec<Vec<ObjectBox>>,
    /// What an autoencoder made of the frames, where they come from a cache; `frames` is then empty.
    pub encoded: Option<Encoded>,
}

/// Frames as an autoencoder's posterior, unscaled: values in the order of their shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Frames, channels, height and width.
    pub shape: [usize; 4],
    /// Means.
    pub mean: Vec<f32>,
    /// Natural logarithms of the variances; none where the posterior is a point.
    pub logvar: Option<Vec<f32>>,
}

/// What a window is asked to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Frames, at least 1.
    pub frames: usize,
    /// Frames per second; `None` keeps the clip's own rate. Of a single frame it means nothing.
    #[serde(default)]
    pub fps: Option<f64>,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// Width in pixels, at least 1.
    pub width: u32,
    /// How pictures of another size become pictures of this one.
    #[serde(default)]
    pub fit: Fit,
}

/// How pictures of another size become pictures of a window's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fit {
    /// Resized to fill, and cut around the middle: nothing is distorted, sides may be lost.
    #[default]
    Crop,
    /// A part of the picture at its full size, at a random place.
    Patch {
        /// `[height, width]` of the picture that the patch is cut from; others are first brought
        /// to it as by [`Fit::Crop`]. `None` cuts from pictures of whatever size they have.
        #[serde(default)]
        of: Option<[u32; 2]>,
    },
}

/// Where in a clip a window lies, drawn by the caller: all in [0, 1).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Placement {
    /// In time: 0 is the earliest place at which the window fits.
    pub time: f64,
    /// From the left, for [`Fit::Patch`].
    pub x: f64,
    /// From the top, for [`Fit::Patch`].
    pub y: f64,
}

/// What is known of a clip before any of it is decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipInfo {
    /// The clip's stable name within its source: `a/b.mp4`, `shard-0001.tar/000123`, `world/17`.
    pub id: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Number of frames; a picture has 1.
    pub frames: usize,
    /// Frames per second.
    pub fps: f64,
}

/// A clip that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The clip's name.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A set of clips. What it gives for the same arguments is always the same.
pub trait ClipSource: Send + Sync + Debug {
    /// Number of clips.
    fn len(&self) -> usize;

    /// Whether there are no clips; sources that open have at least one.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of clip `index`.
    ///
    /// # Panics
    /// When `index` is not below [`ClipSource::len`].
    fn clip(&self, index: usize) -> &ClipInfo;

    /// Reads a window of clip `index`, decoding no more than it must.
    ///
    /// # Errors
    /// [`Error::Input`] when the clip does not hold the window, [`Error::Media`] when it cannot be
    /// decoded.
    ///
    /// # Panics
    /// As [`ClipSource::clip`].
    fn read(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample>;

    /// What is known of a window of clip `index` without its pictures: [`Sample::frames`] is empty.
    ///
    /// # Errors
    /// As [`ClipSource::read`].
    ///
    /// # Panics
    /// As [`ClipSource::clip`].
    fn describe(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        Ok(Sample {
            frames: Vec::new(),
            ..self.read(index, window, placement)?
        })
    }

    /// What the pictures of clip `index` are made of, in one line: they are the same as long as it
    /// is. Captions, labels and boxes do not count.
    ///
    /// # Errors
    /// [`Error::Input`] when the clip's file cannot be found.
    ///
    /// # Panics
    /// As [`ClipSource::clip`].
    fn identity(&self, index: usize) -> Result<String> {
        Ok(self.clip(index).to_string())
    }

    /// Clips that were found but are not among those counted, because they cannot be read.
    fn skipped(&self) -> &[Skipped] {
        &[]
    }
}

impl Window {
    /// Checks that the window can be asked for at all.
    ///
    /// # Errors
    /// [`Error::Config`] names what is wrong.
    pub fn validate(&self) -> Result<()> {
        if self.frames == 0 || self.height == 0 || self.width == 0 {
            return Err(Error::Config(format!(
                "a window of {self}: frames, height and width must be at least 1"
            )));
        }
        if let Some(fps) = self.fps
            && !(fps.is_finite() && fps > 0.0)
        {
            return Err(Error::Config(format!(
                "a window at {fps} frames per second: expected a rate above 0"
            )));
        }
        if let Fit::Patch { of: Some([h, w]) } = self.fit
            && (h < self.height || w < self.width)
        {
            return Err(Error::Config(format!(
                "a patch of {}x{} pixels of a picture of {w}x{h}: the patch must fit into it",
                self.width, self.height
            )));
        }
        Ok(())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = if self.frames == 1 { "frame" } else { "frames" };
        write!(
            f,
            "{} {frames} of {}x{}",
            self.frames, self.width, self.height
        )?;
        match self.fps {
            Some(fps) if self.frames > 1 => write!(f, " at {fps} fps"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ClipInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} frames of {}x{} at {} fps",
            self.frames, self.width, self.height, self.fps
        )
    }
}

impl ClipInfo {
    /// Whether the window can be cut from this clip without showing a frame twice, and, for a
    /// patch, without enlarging it.
    #[must_use]
    pub fn holds(&self, window: &Window) -> bool {
        self.take(window, 0.0).is_ok()
    }

    /// Which frames a window takes that lies at `time` (in [0, 1)).
    ///
    /// # Errors
    /// [`Error::Input`] says why the clip does not hold the window.
    pub fn take(&self, window: &Window, time: f64) -> Result<Take> {
        window.validate()?;
        if let Fit::Patch { of: None } = window.fit
            && (self.width < window.width || self.height < window.height)
        {
            return Err(Error::Input(format!(
                "{}: its pictures of {}x{} pixels are smaller than the patch of {}x{}: ask for \
                 smaller patches, or leave the clip out",
                self.id, self.width, self.height, window.width, window.height
            )));
        }
        Take::new(self, window, time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(fit: Fit) -> Window {
        Window {
            frames: 4,
            fps: None,
            height: 48,
            width: 64,
            fit,
        }
    }

    #[test]
    fn windows_that_mean_nothing_are_refused() {
        let check = |window: Window, expected: &str| {
            let error = window.validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let good = window(Fit::Crop);
        assert!(good.validate().is_ok());
        check(
            Window {
                frames: 0,
                ..good.clone()
            },
            "0 frames of 64x48: frames, height and width must be at least 1",
        );
        check(
            Window {
                fps: Some(f64::NAN),
                ..good.clone()
            },
            "expected a rate above 0",
        );
        check(
            window(Fit::Patch { of: Some([40, 90]) }),
            "a patch of 64x48 pixels of a picture of 90x40",
        );
    }

    #[test]
    fn a_patch_needs_a_picture_as_large() {
        let clip = |width, height| ClipInfo {
            id: "a.mp4".into(),
            width,
            height,
            frames: 9,
            fps: 8.0,
        };
        assert!(clip(32, 24).holds(&window(Fit::Crop)));
        assert!(clip(64, 48).holds(&window(Fit::Patch { of: None })));
        let error = clip(64, 47).take(&window(Fit::Patch { of: None }), 0.0);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("a.mp4: its pictures of 64x47 pixels are smaller than the patch"),
            "{error}"
        );
        let of = Fit::Patch {
            of: Some([96, 128]),
        };
        assert!(clip(64, 47).holds(&window(of)));
    }

    #[test]
    fn a_window_is_read_from_a_recipe() {
        let text = r#"{"frames": 8, "fps": 7.5, "height": 320, "width": 512,
                       "fit": {"type": "patch", "of": [1024, 2048]}}"#;
        let window: Window = serde_json::from_str(text).unwrap();
        assert_eq!(
            window.fit,
            Fit::Patch {
                of: Some([1024, 2048])
            }
        );
        assert_eq!(window.to_string(), "8 frames of 512x320 at 7.5 fps");
        assert!(serde_json::from_str::<Window>(r#"{"frames": 8, "size": 3}"#).is_err());
    }
}
