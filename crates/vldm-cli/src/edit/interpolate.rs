//! `vldm interpolate`: more frames between those of a clip.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vldm::pipeline::{InterpolateRun, interpolation_factor};
use vldm_media::{Fps, Info};

use super::{OutputArgs, SamplingArgs};
use crate::stack;

/// Which clip, and how often.
#[derive(Debug, Args)]
pub(crate) struct InterpolateArgs {
    /// A clip of at least two frames.
    pub(crate) input: PathBuf,

    /// How often: each pass makes four times as many frames with most stacks.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) passes: usize,

    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,

    #[command(flatten)]
    pub(crate) to: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &InterpolateArgs) -> anyhow::Result<()> {
    let (sampling, to) = (&args.sampling, &args.to);
    let stack = stack::needed(to.model.as_deref())?;
    let clip = super::read(&args.input)?;
    vldm_media::check_writable(&to.output)?;
    let factor = interpolation_factor(&stack)?.pow(args.passes as u32);
    let rate = clip.fps().as_f64();
    let result = Info {
        width: clip.width(),
        height: clip.height(),
        num_frames: factor * (clip.num_frames() - 1) + 1,
        fps: match to.fps {
            Some(fps) => fps,
            None => Fps::from_f64(rate * factor as f64)?,
        },
    };
    let settings = json!({ "input": args.input, "passes": args.passes });
    let options = to.options(&stack, sampling.settings(settings));
    let onto = (to.compute.open()?, to.compute.dtype());
    let how = (args.passes, &sampling.wishes(), sampling.seed);
    let run = InterpolateRun::new(&stack, (clip.into_frames(), rate), how, onto)?;
    let writer = super::begin(&to.output, &result, &options)?;
    super::write(&to.output, writer, run, "interpolating")
}
