//! The clips that are looked at: a folder, shards, one file, or worlds made on the spot.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use vldm::Error;
use vldm::data::{ClipInfo, ClipSource, Fit, Placement, Sample, Window};
use vldm::metrics::SIZE;
use vldm_media::{Filter, Fps, Frame, ReadOptions, resize_to_fill};

use crate::clips_name::ClipsName;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// How clips are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clips")]
pub(crate) struct ClipsArgs {
    /// Frames of each clip, from its middle; all clips must hold as many.
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) frames: NonZeroUsize,

    /// The rate at which frames are taken; no higher than that of any clip.
    #[arg(long, value_name = "FPS", default_value_t = 7.5)]
    pub(crate) fps: f64,

    /// Clips of each set at most; of worlds exactly as many are made.
    #[arg(long, value_name = "N", default_value = "256")]
    pub(crate) count: NonZeroUsize,
}

impl ClipsArgs {
    fn window(&self) -> Window {
        let [height, width] = SIZE;
        Window {
            frames: self.frames.get(),
            fps: Some(self.fps),
            height,
            width,
            fit: Fit::Crop,
        }
    }

    /// Reads a set of clips at the size that the metric networks know, in its own order.
    pub(crate) fn read(
        &self,
        name: &ClipsName,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Vec<Sample>> {
        let window = self.window();
        window.validate()?;
        if let ClipsName::Path(path) = name
            && is_one_clip(path)
        {
            return Ok(vec![one_clip(path, &window)?]);
        }
        let source = self.open(name)?;
        let count = self.count.get().min(source.len());
        let bar = Bar::steps(format!("reading {name}"), count);
        let middle = Placement {
            time: 0.5,
            ..Placement::default()
        };
        (0..count)
            .map(|index| {
                interrupt.check()?;
                let sample = source.read(index, &window, middle)?;
                bar.set(index + 1);
                Ok(sample)
            })
            .collect()
    }

    fn open(&self, name: &ClipsName) -> vldm::Result<Arc<dyn ClipSource>> {
        let seconds = (self.frames.get() as f64 / self.fps).ceil() + 1.0;
        let picture_fps = Fps::from_f64(self.fps).ok();
        name.open(self.count.get(), (seconds, picture_fps))
    }
}

/// The frames of samples, as networks read them.
pub(crate) fn frames_of(samples: &[Sample]) -> Vec<&[Frame]> {
    samples
        .iter()
        .map(|sample| sample.frames.as_slice())
        .collect()
}

fn is_one_clip(path: &Path) -> bool {
    path.is_file() && path.extension().is_none_or(|end| end != "tar")
}

fn one_clip(path: &Path, window: &Window) -> vldm::Result<Sample> {
    let clip = vldm_media::read(path, &ReadOptions::default())?;
    let info = ClipInfo {
        id: path.display().to_string(),
        width: clip.width(),
        height: clip.height(),
        frames: clip.num_frames(),
        fps: clip.fps().as_f64(),
    };
    let take = info.take(window, 0.5)?;
    let frames = take.indices().map(|at| {
        let frame = &clip.frames()[at];
        resize_to_fill(frame, window.width, window.height, Filter::Bicubic)
    });
    let frames: Vec<Frame> = frames.collect::<vldm_media::Result<_>>()?;
    Ok(Sample {
        encoded: None,
        boxes: vec![Vec::new(); frames.len()],
        frames,
        fps: take.fps,
        start_seconds: take.start_seconds(),
        caption: None,
        labels: std::collections::BTreeMap::new(),
        id: info.id,
    })
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
