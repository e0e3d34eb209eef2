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
