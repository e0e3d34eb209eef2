//! The clips that are looked at: a folder, shards, or worlds made on the spot.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use vldm::Error;
use vldm::data::{ClipSource, Fit, Placement, Sample, Window};
use vldm::metrics::{Provenance, SIZE};
use vldm_media::{Fps, Frame, ReadOptions};

use crate::clips_name::ClipsName;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::complain;

/// How clips are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clips")]
pub(crate) struct ClipsArgs {
    /// Frames of each clip, from its middle; all clips must hold as many [default: 8, of fid 1].
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<NonZeroUsize>,

    /// The rate at which frames are taken; no higher than that of any clip.
    #[arg(long, value_name = "FPS", default_value_t = 7.5)]
    pub(crate) fps: f64,

    /// Clips of each set at most, from all over it; of worlds exactly as many are made.
    #[arg(long, value_name = "N", default_value = "256")]
    pub(crate) count: NonZeroUsize,
}

/// Frames of a clip where `--frames` does not say.
pub(crate) const FRAMES: usize = 8;

impl ClipsArgs {
    /// Frames of each clip; `usual` unless given.
    pub(crate) fn frames(&self, usual: usize) -> usize {
        self.frames.map_or(usual, NonZeroUsize::get)
    }

    /// As [`read`](Self::read), as many frames and clips as the arguments say.
    pub(crate) fn read_usual(
        &self,
        name: &ClipsName,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Vec<Sample>> {
        let amount = (self.frames(FRAMES), self.count.get());
        self.read(name, amount, interrupt)
    }

    /// How clips were read, for JSON.
    pub(crate) fn told(&self, samples: &[Sample]) -> Value {
        json!({
            "count": samples.len(),
            "frames": frames_each(samples),
            "fps": self.fps,
        })
    }

    fn window(&self, frames: usize) -> Window {
        let [height, width] = SIZE;
        Window {
            frames,
            fps: Some(self.fps),
            height,
            width,
            fit: Fit::Crop,
        }
    }

    /// Reads `frames` of each clip of a set, of `count` clips at most, at the size that the metric
    /// networks know, in its own order. What is left out is said.
    pub(crate) fn read(
        &self,
        name: &ClipsName,
        (frames, count): (usize, usize),
        interrupt: &Interrupt,
    ) -> anyhow::Result<Vec<Sample>> {
        let window = self.window(frames);
        window.validate()?;
        let source = self.open(name, (frames, count))?;
        let all = source.len();
        let count = count.min(all);
        if count < all {
            complain(
                "note",
                format!("{count} of the {all} clips of {name} are looked at: see --count"),
            );
        }
        let unread = source.skipped();
        if let Some(first) = unread.first() {
            complain(
                "warning",
                format!(
                    "{} clips of {name} are left out, the first one {}: {}",
                    unread.len(),
                    first.id,
                    first.reason
                ),
            );
        }
        let bar = Bar::steps(format!("reading {name}"), count);
        let middle = Placement {
            time: 0.5,
            ..Placement::default()
        };
        (0..count)
            .map(|index| {
                interrupt.check()?;
                let sample = source.read(index * all / count, &window, middle)?;
                bar.set(index + 1);
                Ok(sample)
            })
            .collect()
    }

    fn open(
        &self,
        name: &ClipsName,
        (frames, count): (usize, usize),
    ) -> vldm::Result<Arc<dyn ClipSource>> {
        let seconds = (frames as f64 / self.fps).ceil() + 1.0;
        let picture_fps = Fps::from_f64(self.fps).ok();
        name.open(count, (seconds, picture_fps))
    }
}

/// Says so where a network is to measure the worlds that it learnt from.
pub(crate) fn warn_of_known_worlds(names: &[&ClipsName], networks: &[&Provenance]) {
    let seeds = networks
        .iter()
        .filter_map(|of| of.training.get("training.seed"));
    let known: Vec<u64> = seeds.map(|&seed| seed as u64).collect();
    for name in names {
        if let ClipsName::World(seed) = name
            && known.contains(seed)
        {
            complain(
                "warning",
                format!("the network has learnt from {name}: take worlds of another seed"),
            );
        }
    }
}

/// What was found on all frames of samples, clip by clip: each has as many frames.
pub(crate) fn by_clip<'a, T>(
    samples: &[Sample],
    found: &'a [T],
) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
    found.chunks(frames_each(samples).max(1))
}

fn frames_each(samples: &[Sample]) -> usize {
    samples.first().map_or(0, |sample| sample.frames.len())
}

/// The frames of samples, as networks read them.
pub(crate) fn frames_of(samples: &[Sample]) -> Vec<&[Frame]> {
    samples
        .iter()
        .map(|sample| sample.frames.as_slice())
        .collect()
}

/// Reads a whole clip as it is.
pub(crate) fn whole(path: &Path) -> vldm::Result<Vec<Frame>> {
    let clip = vldm_media::read(path, &ReadOptions::default())?;
    Ok(clip.into_frames())
}

/// The error of a set that says nothing about what is to be measured.
pub(crate) fn lacks(name: &ClipsName, what: &str) -> Error {
    Error::Input(format!(
        "{name}: no clip has {what}; they stand in a metadata.jsonl beside the clips, as `vldm data \
         world` writes it"
    ))
}
