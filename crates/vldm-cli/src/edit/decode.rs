//! `vldm decode`: latents to a clip.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vldm::checkpoint::Weights;
use vldm::pipeline::{GivenTensors, StreamDecoder, pictures};
use vldm_media::{ClipWriter, Fps};

use super::EditArgs;
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
    pub(crate) edit: EditArgs,
}

/// Runs the command.
pub(crate) fn run(args: &DecodeArgs) -> anyhow::Result<()> {
    let edit = &args.edit;
    let stack = stack::or_model(edit.model.as_deref())?;
    vldm_media::check_writable(&edit.output)?;
    let interrupt = Interrupt::listen()?;
    let onto = (edit.compute.open()?, edit.compute.dtype());
    let given = GivenTensors::read(&Weights::open(&args.input)?, &onto.0)?;
    let latents = given
        .latents
        .ok_or_else(|| vldm::Error::Input("the file has no latents".into()))?;
    let mut decoder = StreamDecoder::new(&stack, args.decode_chunk, onto)?;
    let fps = edit.fps.map_or_else(|| Fps::new(30, 1), Ok)?;
    let options = edit.options(&stack, json!({ "input": args.input }));
    let frames = latents.dims()[0];
    let bar = Bar::steps("decoding".into(), frames);
    let mut writer = None;
    for start in (0..frames).step_by(args.decode_chunk.max(1)) {
        interrupt.check()?;
        let count = args.decode_chunk.max(1).min(frames - start);
        let piece = latents.clone().narrow(0, start, count);
        let mut pieces = decoder.push(piece.unsqueeze_dim(0))?;
        if start + count == frames {
            pieces.extend(decoder.finish()?);
        }
        for frame in pictures(pieces)? {
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(ClipWriter::create(
                    &edit.output,
                    frame.size(),
                    fps,
                    &options,
                )?),
            };
            writer.push(&frame)?;
        }
        bar.set(start + count);
    }
    if let Some(writer) = writer {
        writer.finish()?;
    }
    drop(bar);
    say(edit.output.display())
}
