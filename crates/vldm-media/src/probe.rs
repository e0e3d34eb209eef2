//! What a clip is, without its pixels.

use crate::fps::Fps;
use crate::frame::Clip;

/// Size, length and rate of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Number of frames.
    pub num_frames: usize,
    /// Frames per second.
    pub fps: Fps,
}

impl From<&Clip> for Info {
    fn from(clip: &Clip) -> Self {
        Self {
            width: clip.width(),
            height: clip.height(),
            num_frames: clip.num_frames(),
            fps: clip.fps(),
        }
    }
}

impl std::fmt::Display for Info {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            width,
            height,
            num_frames,
            fps,
        } = self;
        let frames = if *num_frames == 1 { "frame" } else { "frames" };
        write!(f, "{num_frames} {frames} of {width}x{height} at {fps} fps")
    }
}
