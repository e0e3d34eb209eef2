//! `vldm upsample`: a clip at several times its size.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vldm::pipeline::{UpsampleRun, UpsampleSettings};
use vldm_media::Info;

use super::{OutputArgs, SamplingArgs};
use crate::stack;

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
    pub(crate) sampling: SamplingArgs,

    #[command(flatten)]
    pub(crate) to: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &UpsampleArgs) -> anyhow::Result<()> {
    let (sampling, to) = (&args.sampling, &args.to);
    let stack = stack::needed(to.model.as_deref())?;
    let clip = super::read(&args.input)?;
    let how = UpsampleSettings::checked(args.chunk, args.tile)?;
    vldm_media::check_writable(&to.output)?;
    let onto = (to.compute.open()?, to.compute.dtype());
    let how = (how, &sampling.wishes(), sampling.seed);
    let run = UpsampleRun::new(&stack, clip.frames(), how, onto)?;
    let larger = |side: u32| side * run.upscale() as u32;
    let result = Info {
        width: larger(clip.width()),
        height: larger(clip.height()),
        num_frames: clip.num_frames(),
        fps: to.fps.unwrap_or(clip.fps()),
    };
    let settings = json!({ "input": args.input, "chunk": args.chunk, "tile": args.tile });
    let options = to.options(&stack, sampling.settings(settings));
    let writer = super::begin(&to.output, &result, &options)?;
    super::write(&to.output, writer, run, "upsampling")
}
