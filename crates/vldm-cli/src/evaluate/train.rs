//! `vldm evaluate train`: the networks that measure, from nothing but a seed.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use vldm::metrics::{
    DetectorConfig, FeatureConfig, TrainingEvent, TrainingSettings, save_detector, save_features,
    train_detector, train_features,
};

use super::report::table;
use crate::compute::ComputeArgs;
use crate::generate::check_latents_path;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::{complain, say};

/// Steps between two lines where standard error is no terminal.
const LINE: u64 = 100;

/// What to train.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Which network.
    pub(crate) network: Network,

    /// The file to write, in half precision.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// What worlds, choices and initial values are drawn from.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Steps of the optimiser.
    #[arg(long, value_name = "N", default_value = "2500")]
    pub(crate) steps: NonZeroU64,

    /// Clips, or frames for the detector, per step.
    #[arg(long, value_name = "N", default_value = "16")]
    pub(crate) batch: NonZeroUsize,

    /// Windows of worlds that are rendered and learnt from.
    #[arg(long, value_name = "N", default_value = "3000")]
    pub(crate) windows: NonZeroUsize,

    /// Windows of other worlds that accuracies are measured on.
    #[arg(long, value_name = "N", default_value = "512")]
    pub(crate) held_out: NonZeroUsize,

    /// Step size at its highest.
    #[arg(long, value_name = "RATE", default_value_t = 2e-3)]
    pub(crate) learning_rate: f64,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// A metric network by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// Clips to the features in which Fréchet distances are measured.
    Features,
    /// Pictures to boxes of vehicles and people.
    Detector,
}

impl TrainArgs {
    fn settings(&self) -> TrainingSettings {
        TrainingSettings {
            seed: self.seed,
            steps: self.steps.get(),
            batch: self.batch.get(),
            windows: self.windows.get(),
            held_out: self.held_out.get(),
            threads: self.compute.threads(),
            learning_rate: self.learning_rate,
            dtype: self.compute.dtype(),
        }
    }
}

/// Runs the command: writes the file, prints what the network can do on worlds it never saw.
pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<()> {
    check_latents_path(&args.output)?;
    let interrupt = Interrupt::listen()?;
    let device = args.compute.open()?;
    let settings = args.settings();
    let started = Instant::now();
    let mut shown = Shown::new(settings.steps);
    let mut watch = |event| {
        shown.take(&event);
        interrupt.check()
    };
    let report = match args.network {
        Network::Features => {
            let config = FeatureConfig::shipped();
            let (net, report) = train_features(&config, &settings, &device, &mut watch)?;
            let report = told(report, &settings, started);
            save_features(&net, &config, &report, &args.output)?;
            report
        }
        Network::Detector => {
            let config = DetectorConfig::shipped();
            let (net, report) = train_detector(&config, &settings, &device, &mut watch)?;
            let report = told(report, &settings, started);
            save_detector(&net, &config, &report, &args.output)?;
            report
        }
    };
    drop(shown);
    let rows = report
        .iter()
        .map(|(name, value)| vec![name.clone(), format!("{value:.3}")]);
    let rows: Vec<Vec<String>> = rows.collect();
    say(table(&["on worlds that were never learnt from", ""], &rows))?;
    say(args.output.display())
}

/// The report with how it came about.
fn told(
    mut report: BTreeMap<String, f64>,
    settings: &TrainingSettings,
    started: Instant,
) -> BTreeMap<String, f64> {
    let settings = [
        ("training.seed", settings.seed as f64),
        ("training.steps", settings.steps as f64),
        ("training.batch", settings.batch as f64),
        ("training.windows", settings.windows as f64),
        ("training.held_out", settings.held_out as f64),
        ("training.learning_rate", settings.learning_rate),
        ("training.seconds", started.elapsed().as_secs_f64().round()),
    ];
    report.extend(settings.map(|(name, value)| (name.to_owned(), value)));
    report
}

/// Bars and lines of a training.
struct Shown {
    bar: Bar,
    rendering: bool,
    steps: u64,
    loss: f64,
}

impl Shown {
    fn new(steps: u64) -> Self {
        Self {
            bar: Bar::spinner("rendering worlds".into()),
            rendering: true,
            steps,
            loss: 0.0,
        }
    }

    fn take(&mut self, event: &TrainingEvent) {
        match *event {
            TrainingEvent::Rendered(done, of) => {
                self.rendering = true;
                self.bar.label(format!("rendering worlds, {done} of {of}"));
                if done == of {
                    self.bar
                        .aside_without_terminal(|| complain("rendered", format!("{of} windows")));
                }
            }
            TrainingEvent::Step(step, loss) => {
                if std::mem::take(&mut self.rendering) {
                    self.bar = Bar::steps("learning".into(), self.steps as usize);
                }
                self.bar.set(step as usize);
                self.loss += loss / LINE as f64;
                if step % LINE == 0 {
                    let mean = std::mem::take(&mut self.loss);
                    self.bar.label(format!("learning, loss {mean:.4}"));
                    self.bar.aside_without_terminal(|| {
                        complain("step", format!("{step}, loss {mean:.4}"))
                    });
                }
            }
        }
    }
}
