//! Sources and the loader on real files.

mod damage;
mod folder;
mod loader;
mod scan;
mod shards;

use std::fs;
use std::path::Path;

use vldm_media::{Clip, Fps, Frame, WriteOptions};

use super::{Fit, Window};

/// A clip whose frames' brightness tells their number: frame `n` has 10 + 6n.
pub(super) fn clip(frames: usize, fps: u32) -> Clip {
    let frames = (0..frames).map(|n| Frame::filled(64, 48, [10 + 6 * n as u8; 3]).unwrap());
    Clip::new(frames.collect(), Fps::new(fps, 1).unwrap()).unwrap()
}

/// Writes a clip with folders on the way to it.
pub(super) fn write(path: &Path, clip: &Clip) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    vldm_media::write(path, clip, &WriteOptions::default()).unwrap();
}

/// Which frame of [`clip`] this is.
pub(super) fn number(frame: &Frame) -> usize {
    let brightness = usize::from(frame.pixel(5, 5)[1]);
    (brightness + 3 - 10) / 6
}

pub(super) fn numbers(frames: &[Frame]) -> Vec<usize> {
    frames.iter().map(number).collect()
}

pub(super) fn window(frames: usize, fps: Option<f64>) -> Window {
    Window {
        frames,
        fps,
        height: 24,
        width: 32,
        fit: Fit::Crop,
    }
}

/// Overwrites the later pictures of an MP4 file; its index stays whole.
pub(super) fn damage_pictures(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(4).position(|four| four == b"mdat").unwrap();
    let moov = bytes.windows(4).position(|four| four == b"moov").unwrap();
    let end = if moov > at { moov - 4 } else { bytes.len() };
    bytes[at + (end - at) / 3..end].fill(0);
    fs::write(path, bytes).unwrap();
}

/// The message of an error, which must hold `expected`.
#[track_caller]
pub(super) fn says<T: std::fmt::Debug>(result: crate::error::Result<T>, expected: &str) {
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains(expected),
        "expected {expected:?} in: {error}"
    );
}
