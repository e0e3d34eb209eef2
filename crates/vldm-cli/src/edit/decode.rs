//! `vldm decode`: latents to a clip.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vldm::checkpoint::Weights;
use vldm::pipeline::{GivenTensors, StreamDecoder, pictures};
use vldm_media::{Fps, Info};

use super::OutputArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::stack;
use crate::terminal::say;

/// Which latents.
#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// A safetensors file with the tensor `latents`, `[frames, channels, height, width]`, as
    /// `--save-latents` writes it.
    pub(crate) input: PathBuf,

    /// Frames decoded at a time: fewer take less memory.
    #[arg(long, value_name = "FRAMES", default_value_t = 14)]
    pub(crate) decode_chunk: usize,

    #[command(flatten)]
    pub(crate) to: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &DecodeArgs) -> anyhow::Result<()> {
    let to = &args.to;
    let stack = stack::or_model(to.model.as_deref())?;
    vldm_media::check_writable(&to.output)?;
    let onto = (to.compute.open()?, to.compute.dtype());
    let given = GivenTensors::read(&Weights::open(&args.input)?, &onto.0)?;
    let latents = given
        .latents
        .ok_or_else(|| vldm::Error::Input("the file has no latents".into()))?;
    let mut decoder = StreamDecoder::new(&stack, args.decode_chunk, onto)?;
    let [frames, _, height, width] = latents.dims();
    let side = |side: usize| (side * decoder.factor()) as u32;
    let clip = Info {
        width: side(width),
        height: side(height),
        num_frames: frames,
        fps: to.fps.map_or_else(|| Fps::new(30, 1), Ok)?,
    };
    let options = to.options(&stack, json!({ "settings": { "input": args.input } }));
    let mut writer = super::begin(&to.output, &clip, &options)?;
    let interrupt = Interrupt::listen()?;
    let bar = Bar::steps("decoding".into(), frames);
    let chunk = args.decode_chunk.max(1);
    for start in (0..frames).step_by(chunk) {
        interrupt.check()?;
        let count = chunk.min(frames - start);
        let piece = latents.clone().narrow(0, start, count);
        let mut pieces = decoder.push(piece.unsqueeze_dim(0))?;
        if start + count == frames {
            pieces.extend(decoder.finish()?);
        }
        for frame in pictures(pieces)? {
            writer.push(&frame)?;
        }
        bar.set(start + count);
    }
    writer.finish()?;
    drop(bar);
    say(to.output.display())
}
