//! Arguments of every command that computes: device, data type, threads, and whose weights.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::tensor::{DType, Device};
use clap::{Args, ValueEnum};
use vldm::diffusion::Parameterization;
use vldm::lora::{LoraFile, merge};
use vldm::model::{LoadSettings, Model, ModelDescription};
use vldm::preset::Preset;
use vldm::train::{Recipe, WorkingType};

use crate::device::DeviceName;
use crate::progress::Bar;
use crate::terminal::complain;

#[derive(Debug, Args)]
#[command(next_help_heading = "Computing")]
pub(crate) struct ComputeArgs {
    /// Where to compute: cpu, cuda, cuda:N, vulkan, vulkan:N or metal.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: DeviceName,

    /// What to compute in; auto is bf16 on a CPU with matrix tiles for it (AMX), else f32; training
    /// follows its recipe, verifying and measuring are in f32.
    #[arg(long, value_name = "TYPE", default_value = "auto")]
    pub(crate) dtype: Dtype,

    /// Threads to compute with on the CPU; all processors unless given. Results do not depend on
    /// it.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
}

/// A data type by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    Auto,
    F32,
    Bf16,
}

impl ComputeArgs {
    /// The data type of weights and activations.
    pub(crate) fn dtype(&self) -> DType {
        let half = match self.dtype {
            Dtype::Auto => self.device.is_cpu() && vldm::cpu_prefers_half(),
            Dtype::F32 => false,
            Dtype::Bf16 => true,
        };
        if half { DType::BF16 } else { DType::F32 }
    }

    /// As [`dtype`](Self::dtype), where `auto` is f32: for what is compared with a reference.
    pub(crate) fn exact_dtype(&self) -> DType {
        match self.dtype {
            Dtype::Auto => DType::F32,
            Dtype::F32 | Dtype::Bf16 => self.dtype(),
        }
    }

    /// Lays a data type that was asked for over a recipe's own.
    pub(crate) fn lay_over(&self, recipe: &mut Recipe) {
        match self.dtype {
            Dtype::Auto => {}
            Dtype::F32 => recipe.dtype = WorkingType::F32,
            Dtype::Bf16 => recipe.dtype = WorkingType::Bf16,
        }
    }

    /// Sets the threads and opens the device: before the first operation.
    ///
    /// This thread is one of them. An operation then wakes one thread less, and the same thread
    /// gets the same part of one operation's output and of the next one's input.
    pub(crate) fn open(&self) -> anyhow::Result<Device> {
        rayon::ThreadPoolBuilder::new()
            // 0: as many as there are processors.
            .num_threads(self.threads.map_or(0, NonZeroUsize::get))
            .use_current_thread()
            .build_global()
            .context("cannot start the threads")?;
        self.device.open()
    }

    /// As [`open`](Self::open), for measuring, which is in f32.
    pub(crate) fn open_for_measuring(&self) -> anyhow::Result<Device> {
        if self.dtype == Dtype::Bf16 {
            anyhow::bail!(vldm::Error::Input(
                "--dtype bf16: measuring is in f32; leave it out".into()
            ));
        }
        self.open()
    }

    /// How many threads compute on the CPU, once [`ComputeArgs::open`] has set them.
    pub(crate) fn threads(&self) -> usize {
        rayon::current_num_threads()
    }
}

/// What the weights are read with, beside the model's own path.
#[derive(Debug, Args)]
pub(crate) struct WeightsArgs {
    /// Temporal layers to put onto an image model: a safetensors file.
    #[arg(long, value_name = "FILE")]
    pub(crate) temporal: Option<PathBuf>,

    /// Low-rank adapters to add to the weights: a safetensors file of diffusers, peft, kohya's
    /// scripts or `vldm train`, and how strongly (1 unless given). May be given several times.
    #[arg(long, value_name = "FILE[:SCALE]", value_parser = lora)]
    pub(crate) lora: Vec<(PathBuf, f64)>,

    /// What the network predicts, where the model does not say or says it wrongly.
    #[arg(long, value_name = "TYPE")]
    pub(crate) prediction_type: Option<Prediction>,

    /// Seed of the random weights that a preset gets in place of a model.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) weights_seed: u64,
}

/// `FILE`, or `FILE:0.7`; a file whose name ends so goes first.
fn lora(text: &str) -> Result<(PathBuf, f64), String> {
    let whole = || (PathBuf::from(text), 1.0);
    if Path::new(text).is_file() {
        return Ok(whole());
    }
    match text.rsplit_once(':') {
        Some((path, scale)) if !scale.contains(['/', '\\']) => match scale.parse::<f64>() {
            Ok(scale) if scale.is_finite() => Ok((path.into(), scale)),
            _ => Err(format!(
                "expected a number after the colon, not \"{scale}\""
            )),
        },
        _ => Ok(whole()),
    }
}

/// A preset stands for a model with random weights; a folder or file of that name goes first.
fn preset_name(model: &Path) -> Option<&str> {
    let name = model.to_str()?;
    let is_file = name.ends_with(".toml") && model.is_file();
    let is_name = !model.exists() && Preset::names().contains(&name);
    (is_file || is_name).then_some(name)
}

/// What a network predicts, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity.
    #[value(alias = "v_prediction")]
    V,
    /// The clean latents.
    #[value(alias = "sample")]
    X0,
}

impl WeightsArgs {
    /// Reads what the model is made of.
    pub(crate) fn describe(&self, model: &Path) -> vldm::Result<ModelDescription> {
        let parameterization = self.prediction_type.map(|prediction| match prediction {
            Prediction::Epsilon => Parameterization::Epsilon,
            Prediction::V => Parameterization::V,
            Prediction::X0 => Parameterization::X0,
        });
        match preset_name(model) {
            Some(name) => ModelDescription::from_preset(&Preset::load(name)?, self.weights_seed),
            None => ModelDescription::open(model, parameterization),
        }
    }

    /// Reads the weights; says what was loaded where `verbose`, and always what was not.
    pub(crate) fn load(
        &self,
        description: ModelDescription,
        (device, dtype): (Device, DType),
        verbose: bool,
    ) -> vldm::Result<Model> {
        let bar = Bar::spinner(format!("loading {}", description.path.display()));
        let mut model = description.load(&LoadSettings {
            device,
            dtype,
            temporal: self.temporal.clone(),
        })?;
        for (path, scale) in &self.lora {
            let report = merge(&mut model, &LoraFile::open(path)?, *scale)?;
            if verbose {
                complain("adapter", report);
            }
        }
        drop(bar);
        for report in &model.reports {
            if verbose {
                complain("loaded", report);
            }
            if !report.new.is_empty() {
                complain(
                    "warning",
                    format!(
                        "{}: {} tensors are not in {} and keep their initial random values",
                        report.part,
                        report.new.len(),
                        report.path.display()
                    ),
                );
            }
        }
        Ok(model)
    }
}
