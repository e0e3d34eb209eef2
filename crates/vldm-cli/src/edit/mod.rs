//! `vldm interpolate`, `vldm upsample`, `vldm decode` and `vldm encode`: single stages on the user's own input.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod interpolate;
pub(crate) mod upsample;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use vldm::pipeline::{StackDescription, Wishes};
use vldm_media::{Clip, Fps, ReadOptions, WriteOptions};

use crate::compute::ComputeArgs;
use crate::generate::label;
use crate::stack;

/// What these commands have in common.
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// Where to write: .mp4, .gif, .png for a single frame, or a folder for numbered PNG frames.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,

    /// What the clip shows (stacks that read text).
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,

    /// A label the model reads, such as night=1; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, usize)>,

    /// Frames per second of the result [default: what follows from the input].
    #[arg(long, value_name = "RATE")]
    pub(crate) fps: Option<Fps>,

    /// Seed of the noise.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// A stack's folder [default: assets/default, here or above the program].
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,

    /// Write no settings into the output, and no .json beside it.
    #[arg(long)]
    pub(crate) disable_metadata: bool,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

impl EditArgs {
    fn stack(&self) -> vldm::Result<StackDescription> {
        stack::needed(self.model.as_deref())
    }

    fn wishes(&self) -> Wishes {
        Wishes {
            prompt: self.prompt.clone(),
            labels: self.label.iter().cloned().collect(),
            ..Wishes::default()
        }
    }

    fn options(&self, stack: &StackDescription, settings: Value) -> WriteOptions {
        WriteOptions {
            metadata: (!self.disable_metadata).then(|| {
                json!({
                    "program": "vldm",
                    "version": env!("CARGO_PKG_VERSION"),
                    "model": stack.path,
                    "seed": self.seed,
                    "device": self.compute.device.to_string(),
                    "dtype": self.compute.dtype().name(),
                    "wishes": self.wishes(),
                    "settings": settings,
                })
            }),
            ..WriteOptions::default()
        }
    }
}

/// The clip at a path, or a picture as a clip of one frame.
fn read(path: &Path) -> anyhow::Result<Clip> {
    Ok(vldm_media::read(path, &ReadOptions::default())?)
}
