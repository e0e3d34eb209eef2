//! The world through its public interface.

#![allow(clippy::unwrap_used)]

mod boxes;
mod captions;
mod input;
mod motion;
mod pictures;

use vldm_media::Fps;
use vldm_world::{ClipSpec, SceneOptions, World};

/// A clip of `num_frames` at 30 frames per second.
fn spec(seed: u64, (width, height): (u32, u32), num_frames: usize) -> ClipSpec {
    ClipSpec {
        width,
        height,
        num_frames,
        fps: Fps::new(30, 1).unwrap(),
        seed,
    }
}

fn world(seed: u64, num_frames: usize) -> World {
    World::new(spec(seed, (128, 64), num_frames)).unwrap()
}

fn pinned(seed: u64, num_frames: usize, options: SceneOptions) -> World {
    World::with_options(spec(seed, (128, 64), num_frames), &options).unwrap()
}
