//! `vldm upsample`: a clip at several times its size.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vldm::pipeline::{EditProgress, UpsampleRun, UpsampleSettings};
use vldm_media::Clip;

use super::EditArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::say;

/// Which clip, and in which parts.
#[derive(Debug, Args)]
pub(crate) struct UpsampleArgs {
    /// A clip or a picture.
    pub(crate) input: PathBuf,

    /// Frames that are looked at together.
    #[arg(long, value_name = "FRAMES", default_value_t = 8)]
    pub(crate) chunk: usize,

    /// Side of a tile in pixels of the input: smaller ones take less memory [default: whole frames].
    #[arg(long, value_name = "PIXELS")]
    pub(crate) tile: Option<usize>,

    #[command(flatten)]
    pub(crate) edit: EditArgs,
}

/// Runs the command.
pub(crate) fn run(args: &UpsampleArgs) -> anyhow::Result<()> {
    let edit = &args.edit;
    let stack = edit.stack()?;
    let clip = super::read(&args.input)?;
    let settings = UpsampleSettings::checked(args.chunk, args.tile)?;
    vldm_media::check_writable(&edit.output)?;
    let interrupt = Interrupt::listen()?;
    let onto = (edit.compute.open()?, edit.compute.dtype());
    let how = (settings, &edit.wishes(), edit.seed);
    let run = UpsampleRun::new(&stack, clip.frames(), how, onto)?;
    let bar = Bar::steps("upsampling".into(), 1);
    let mut frames = Vec::new();
    for progress in run {
        interrupt.check()?;
        match progress? {
            EditProgress::Stepped { done, of } => bar.set_of(done, of),
            EditProgress::Frames(made) => frames.extend(made),
        }
    }
    let result = Clip::new(frames, edit.fps.unwrap_or(clip.fps()))?;
    let settings = json!({ "input": args.input, "chunk": args.chunk, "tile": args.tile });
    vldm_media::write(&edit.output, &result, &edit.options(&stack, settings))?;
    drop(bar);
    say(edit.output.display())
}
