//! `vldm model convert`: a model written anew.

use std::path::PathBuf;

use anyhow::Context;
use burn::tensor::{DType, Device};
use clap::{Args, ValueEnum};
use vldm::Error;
use vldm::model::{Model, SaveSettings, save, save_temporal};

use crate::bytes::Bytes;
use crate::compute::WeightsArgs;
use crate::progress::Bar;
use crate::terminal::say;

/// Which model, where to, and what changes.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A model's folder or .safetensors file.
    pub(crate) model: PathBuf,

    /// The folder to write, new or empty; with --temporal-only the .safetensors file.
    pub(crate) output: PathBuf,

    /// The data type to write; auto keeps what the model has, f32 where its parts differ.
    #[arg(long, value_name = "TYPE", default_value = "auto")]
    pub(crate) dtype: StoredDtype,

    /// Write the temporal layers alone.
    #[arg(long, conflicts_with = "max_shard_size")]
    pub(crate) temporal_only: bool,

    /// Split files that would be larger, such as 5GB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_shard_size: Option<Bytes>,

    #[command(flatten)]
    pub(crate) weights: WeightsArgs,
}

/// A data type to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoredDtype {
    Auto,
    F32,
    F16,
    Bf16,
}

impl StoredDtype {
    /// `Auto` is the type that all parts are stored in, or f32 where they differ.
    fn resolve(self, model: &Model) -> DType {
        let mut stored = model.reports.iter().filter_map(|report| report.dtypes.0);
        match self {
            Self::Auto => match stored.next() {
                Some(first @ (DType::F16 | DType::BF16)) if stored.all(|dtype| dtype == first) => {
                    first
                }
                _ => DType::F32,
            },
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &ConvertArgs, verbose: bool) -> anyhow::Result<()> {
    let description = args.weights.describe(&args.model)?;
    // Every stored value is exact in f32.
    let model = args
        .weights
        .load(description, (Device::flex(), DType::F32), verbose)?;
    let dtype = args.dtype.resolve(&model);
    let bar = Bar::spinner(format!("writing {}", args.output.display()));
    match args.temporal_only {
        true => write_temporal(args, &model, dtype)?,
        false => {
            let settings = SaveSettings {
                dtype,
                max_shard_bytes: shard_bytes(args)?,
            };
            save(&model, &args.output, &settings)?;
        }
    }
    drop(bar);
    say(args.output.display())
}

fn shard_bytes(args: &ConvertArgs) -> anyhow::Result<Option<usize>> {
    args.max_shard_size
        .map(|Bytes(bytes)| usize::try_from(bytes))
        .transpose()
        .context("--max-shard-size is more than this machine can address")
}

fn write_temporal(args: &ConvertArgs, model: &Model, dtype: DType) -> vldm::Result<()> {
    let unet = model.unet.as_ref();
    let layers = unet.and_then(|unet| unet.temporal.as_ref());
    let config = unet.and_then(|unet| unet.temporal_config.as_ref());
    let (Some(layers), Some(config)) = (layers, config) else {
        return Err(Error::Input(format!(
            "{} has no temporal layers: name a video model, or add `--temporal FILE`",
            args.model.display()
        )));
    };
    if args
        .output
        .extension()
        .is_none_or(|ending| ending != "safetensors")
    {
        return Err(Error::Input(format!(
            "{}: temporal layers are written to a .safetensors file",
            args.output.display()
        )));
    }
    save_temporal(layers, config, &args.output, dtype)
}
