//! `vldm interpolate`, `vldm upsample`, `vldm decode` and `vldm encode`: single stages on the user's own input.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod interpolate;
pub(crate) mod upsample;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use vldm::pipeline::{EditProgress, StackDescription, Wishes};
use vldm_media::{Clip, ClipWriter, Fps, Info, ReadOptions, WriteOptions};

use crate::compute::ComputeArgs;
use crate::generate::label;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::say;

/// Where the clip is written, with which stack it is made, and on what.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Where to write: .mp4, .gif, .png for a single frame, or a folder for numbered PNG frames.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,

    /// Frames per second of the result [default: what follows from the input; of latents, which do not
    /// tell, 30].
    #[arg(long, value_name = "RATE")]
    pub(crate) fps: Option<Fps>,

    /// A stack's folder, or a stack's preset (random weights) [default: assets/default, here or above the
    /// program].
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,

    /// Write no settings into the output, and no .json beside it.
    #[arg(long)]
    pub(crate) disable_metadata: bool,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

impl OutputArgs {
    /// What is written into the file: what made it, and what `more` says.
    fn options(&self, stack: &StackDescription, more: Value) -> WriteOptions {
        let mut settings = json!({
            "program": "vldm",
            "version": env!("CARGO_PKG_VERSION"),
            "model": stack.path,
            "device": self.compute.device.to_string(),
            "dtype": self.compute.dtype().name(),
        });
        if let (Value::Object(settings), Value::Object(more)) = (&mut settings, more) {
            settings.extend(more);
        }
        WriteOptions {
            metadata: (!self.disable_metadata).then_some(settings),
            ..WriteOptions::default()
        }
    }
}

/// What a network that samples is asked.
#[derive(Debug, Args)]
pub(crate) struct SamplingArgs {
    /// What the clip shows (stacks that read text).
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,

    /// A label the model reads, such as night=1; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, usize)>,

    /// Seed of the noise.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

impl SamplingArgs {
    fn wishes(&self) -> Wishes {
        Wishes {
            prompt: self.prompt.clone(),
            labels: self.label.iter().cloned().collect(),
            ..Wishes::default()
        }
    }

    /// What is written into the file: this, and the command's own settings.
    fn settings(&self, own: Value) -> Value {
        json!({ "seed": self.seed, "wishes": self.wishes(), "settings": own })
    }
}

/// Checks that such a clip can be written, and begins it: before any long work.
fn begin(path: &Path, clip: &Info, options: &WriteOptions) -> anyhow::Result<ClipWriter> {
    vldm_media::check_output(path, clip)?;
    let size = (clip.width, clip.height);
    Ok(ClipWriter::create(path, size, clip.fps, options)?)
}

/// Writes a clip as its frames are made, gives it its name, and says that.
fn write(
    path: &Path,
    mut writer: ClipWriter,
    made: impl Iterator<Item = vldm::Result<EditProgress>>,
    name: &str,
) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let bar = Bar::steps(name.into(), 1);
    for progress in made {
        interrupt.check()?;
        match progress? {
            EditProgress::Stepped { done, of } => bar.set_of(done, of),
            EditProgress::Frames(frames) => {
                for frame in frames {
                    writer.push(&frame)?;
                }
            }
        }
    }
    writer.finish()?;
    drop(bar);
    say(path.display())
}

/// The clip at a path, or a picture as a clip of one frame.
fn read(path: &Path) -> anyhow::Result<Clip> {
    Ok(vldm_media::read(path, &ReadOptions::default())?)
}
