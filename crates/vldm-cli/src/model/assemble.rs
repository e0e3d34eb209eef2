//! `vldm model assemble`: a stack from trained models.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::DType;
use clap::{Args, ValueEnum};
use vldm::model::assemble;
use vldm::preset::{Preset, Stage};

use crate::progress::Bar;
use crate::terminal::say;

/// Which stack, and the model of each of its stages.
#[derive(Debug, Args)]
pub(crate) struct AssembleArgs {
    /// The stack's preset: its name or a file.
    pub(crate) preset: String,

    /// The folder to write, new.
    pub(crate) output: PathBuf,

    /// The model of a stage, such as image=runs/image: a model's folder, or a run, whose latest
    /// checkpoint is taken. Once for each stage of the preset.
    #[arg(long = "stage", value_name = "STAGE=PATH", value_parser = stage, required = true)]
    pub(crate) stages: Vec<(Stage, PathBuf)>,

    /// The data type to write.
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    pub(crate) dtype: FileDtype,
}

/// A data type to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileDtype {
    F32,
    F16,
    Bf16,
}

/// `key_frames=runs/key-frames`.
fn stage(text: &str) -> Result<(Stage, PathBuf), String> {
    let wrong = || {
        format!(
            "expected STAGE=PATH with a stage of image, key_frames, prediction, interpolation, \
             decoder, upsampler, not \"{text}\""
        )
    };
    let (name, path) = text.split_once('=').ok_or_else(wrong)?;
    let value = serde_json::Value::String(name.replace('-', "_"));
    let stage = serde_json::from_value(value).map_err(|_| wrong())?;
    Ok((stage, PathBuf::from(path)))
}

/// Runs the command.
pub(crate) fn run(args: &AssembleArgs) -> anyhow::Result<()> {
    let preset = Preset::load(&args.preset)?;
    let models: BTreeMap<Stage, PathBuf> = args.stages.iter().cloned().collect();
    let dtype = match args.dtype {
        FileDtype::F32 => DType::F32,
        FileDtype::F16 => DType::F16,
        FileDtype::Bf16 => DType::BF16,
    };
    let bar = Bar::spinner(format!("writing {}", args.output.display()));
    assemble(&preset, &models, (&args.output, dtype))?;
    drop(bar);
    say(args.output.display())
}
