//! `vldm bench`: how long a part of a preset takes, on random weights.

mod memory;
mod report;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use burn::tensor::DType;
use clap::{Args, ValueEnum};
use vldm::bench::{Bench, BenchPart, BenchRequest, Trained, measure_peak};
use vldm::preset::Preset;

use crate::compute::ComputeArgs;
use crate::device::DeviceName;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::say;
use report::{Report, Seconds};

/// How long the processor's limit is measured.
const PEAK_TIME: Duration = Duration::from_millis(300);

/// What to measure, and at which size.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// A preset's name or .toml file; `vldm model inspect` shows what it is made of.
    pub(crate) preset: String,

    /// What to run.
    #[arg(long, default_value = "unet")]
    pub(crate) part: PartName,

    /// Which parameters learn in --part train; the temporal layers unless given, all where there
    /// are none.
    #[arg(long, value_name = "WHICH")]
    pub(crate) trained: Option<TrainedName>,

    /// Clips, pictures or prompts at a time; a step with guidance is a batch of 2.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) batch: NonZeroUsize,

    /// Frames of a clip; the preset's unless given. A preset without temporal layers takes them as
    /// pictures.
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<NonZeroUsize>,

    /// Width in pixels; 512 unless given, in --part train the preset's.
    #[arg(long, value_name = "PIXELS")]
    pub(crate) width: Option<usize>,

    /// Height in pixels; 320 unless given, in --part train the preset's.
    #[arg(long, value_name = "PIXELS")]
    pub(crate) height: Option<usize>,

    /// Runs that are timed, after one that is not.
    #[arg(long, value_name = "N", default_value = "7")]
    pub(crate) runs: NonZeroUsize,

    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// A part by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PartName {
    /// One pass of the denoising network.
    Unet,
    /// Latents to pixels.
    VaeDecode,
    /// Pixels to latents.
    VaeEncode,
    /// Prompts to vectors.
    Text,
    /// One step of training the denoising network: forward, backward, AdamW.
    Train,
}

/// Which parameters learn, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrainedName {
    /// All of them.
    All,
    /// The temporal layers; the image network is frozen.
    Temporal,
}

impl BenchArgs {
    /// As the library understands it.
    fn request(&self) -> BenchRequest {
        BenchRequest {
            part: match self.part {
                PartName::Unet => BenchPart::UNet,
                PartName::VaeDecode => BenchPart::VaeDecode,
                PartName::VaeEncode => BenchPart::VaeEncode,
                PartName::Text => BenchPart::Text,
                PartName::Train => BenchPart::Train,
            },
            batch: self.batch.get(),
            frames: self.frames.map(NonZeroUsize::get),
            height: self.height,
            width: self.width,
            dtype: self.compute.dtype(),
            trained: self.trained.map(|trained| match trained {
                TrainedName::All => Trained::All,
                TrainedName::Temporal => Trained::Temporal,
            }),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let preset = Preset::load(&args.preset)?;
    let request = args.request();
    request.check(&preset)?;
    let device = args.compute.open()?;
    let interrupt = Interrupt::listen()?;
    let bar = Bar::spinner(format!("making random weights of {}", preset.name));
    let mut bench = Bench::new(&preset, &request, &device)?;
    drop(bar);
    let runs = args.runs.get();
    let bar = Bar::steps(format!("running {}", preset.name), runs + 1);
    let flops = bench.warm_up()?;
    let mut seconds = Vec::with_capacity(runs);
    for done in 1..=runs {
        interrupt.check()?;
        bar.set(done);
        let begin = Instant::now();
        bench.run()?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    drop(bar);
    let memory = memory::peak();
    let threads = args.compute.threads();
    let half = args.compute.dtype() == DType::BF16;
    let on_cpu = args.compute.device == DeviceName::Cpu;
    let peak = on_cpu.then(|| measure_peak(threads, half, PEAK_TIME));
    let report = Report {
        args,
        preset: &preset,
        bench: &bench,
        threads,
        seconds: Seconds::new(seconds),
        flops,
        peak,
        memory,
    };
    match args.json {
        true => say(report.as_json()),
        false => say(report.as_table()),
    }
}
