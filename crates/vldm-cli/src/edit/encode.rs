//! `vldm encode`: a clip to latents.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Tensor;
use clap::Args;
use vldm::checkpoint::write_tensors;
use vldm::pipeline::{StageLoader, encode_frames};

use crate::compute::ComputeArgs;
use crate::generate::check_latents_path;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::stack;
use crate::terminal::say;

/// Frames that are encoded between two looks at the keyboard.
const PIECE: usize = 8;

/// Which clip, and where to.
#[derive(Debug, Args)]
pub(crate) struct EncodeClipArgs {
    /// A clip or picture; width and height are multiples of the autoencoder's factor.
    pub(crate) input: PathBuf,

    /// The safetensors file to write: the tensor `latents`, `[frames, channels, height, width]`, the mean
    /// of the posterior, scaled as diffusion sees it.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// The folder of a stack or of a model with an autoencoder [default: assets/default, here or above
    /// the program].
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Runs the command.
pub(crate) fn run(args: &EncodeClipArgs) -> anyhow::Result<()> {
    let stack = stack::or_model(args.model.as_deref())?;
    check_latents_path(&args.output)?;
    let clip = super::read(&args.input)?;
    let interrupt = Interrupt::listen()?;
    let (device, dtype) = (args.compute.open()?, args.compute.dtype());
    let part = StageLoader::new(device.clone(), dtype).autoencoder(&stack)?;
    let bar = Bar::steps("encoding".into(), clip.num_frames());
    let mut pieces: Vec<Tensor<5>> = Vec::new();
    for (index, frames) in clip.frames().chunks(PIECE).enumerate() {
        interrupt.check()?;
        pieces.push(encode_frames(&part, frames, (&device, dtype))?);
        bar.set(index * PIECE + frames.len());
    }
    let latents: Tensor<4> = Tensor::cat(pieces, 1).squeeze_dim(0);
    let tensors = [("latents".to_owned(), latents.into_data())];
    write_tensors(&args.output, &tensors, &BTreeMap::new())?;
    drop(bar);
    say(args.output.display())
}
