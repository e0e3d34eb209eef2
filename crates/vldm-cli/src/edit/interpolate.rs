//! `vldm interpolate`: more frames between those of a clip.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vldm::pipeline::{EditProgress, InterpolateRun, interpolation_factor};
use vldm_media::{ClipWriter, Fps};

use super::EditArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::say;

/// Which clip, and how often.
#[derive(Debug, Args)]
pub(crate) struct InterpolateArgs {
    /// A clip of at least two frames.
    pub(crate) input: PathBuf,

    /// How often: each pass makes four times as many frames with most stacks.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) passes: usize,

    #[command(flatten)]
    pub(crate) edit: EditArgs,
}

/// Runs the command.
pub(crate) fn run(args: &InterpolateArgs) -> anyhow::Result<()> {
    let edit = &args.edit;
    let stack = edit.stack()?;
    let clip = super::read(&args.input)?;
    let factor = interpolation_factor(&stack)?.pow(args.passes as u32) as f64;
    let rate = clip.fps().as_f64();
    let fps = match edit.fps {
        Some(fps) => fps,
        None => Fps::from_f64(rate * factor)?,
    };
    let size = (clip.width(), clip.height());
    let settings = json!({ "input": args.input, "passes": args.passes });
    let mut writer = ClipWriter::create(&edit.output, size, fps, &edit.options(&stack, settings))?;
    let interrupt = Interrupt::listen()?;
    let onto = (edit.compute.open()?, edit.compute.dtype());
    let how = (args.passes, &edit.wishes(), edit.seed);
    let run = InterpolateRun::new(&stack, (clip.into_frames(), rate), how, onto)?;
    let bar = Bar::steps("interpolating".into(), 1);
    for progress in run {
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
    say(edit.output.display())
}
