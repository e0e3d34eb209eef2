//! `vldm drive`: minutes of driving from a first frame.

mod drift_report;
mod run;
mod side_by_side;

use std::path::PathBuf;

use clap::Args;
use vldm::Error;
use vldm::diffusion::Guidance;
use vldm::pipeline::{RolloutRequest, StackDescription, Wishes};
use vldm::preset::Stage;

use crate::compute::ComputeArgs;
use crate::generate::{label, scale, stage_steps};
use crate::output::Outputs;
use crate::terminal::{complain, say};
use crate::{scene, stack};

/// Where to start, how long, how often, and where to put it.
#[derive(Debug, Args)]
pub(crate) struct DriveArgs {
    /// A scene: a JSON file with any of prompt, negative_prompt, labels and boxes, from which the first
    /// frame is generated.
    #[arg(long, value_name = "FILE", conflicts_with = "start")]
    pub(crate) scene: Option<PathBuf>,

    /// The first frame, a picture of any size.
    #[arg(long, value_name = "FILE")]
    pub(crate) start: Option<PathBuf>,

    /// What to show.
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,

    /// A label the model reads, such as night=1; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, usize)>,

    /// Length in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub(crate) seconds: f64,

    /// Different futures of the same first frame; several are also shown side by side where --output
    /// names a file.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) rollouts: usize,

    /// Seed of the first frame, and of the first rollout; the next one has the next seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Context guidance: how strongly the frames before are followed, 1 is without [default: the
    /// stack's].
    #[arg(long, value_name = "SCALE", value_parser = scale)]
    pub(crate) guidance_scale: Option<f64>,

    /// Sampling steps of a stage of the stack, such as interpolation=10; may be repeated.
    #[arg(long, value_name = "STAGE=N", value_parser = stage_steps)]
    pub(crate) stage_steps: Vec<(Stage, usize)>,

    /// A stack's folder, or a stack's preset (random weights) [default: assets/default, here or above the
    /// program].
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,

    /// Where to write: .mp4, .gif, or a folder for numbered PNG frames. Several rollouts become NAME-0,
    /// NAME-1, … and NAME shows them side by side [default: vldm-SEED.mp4]. Killed, the same command
    /// goes on.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    /// Keep the latents of every segment, in NAME.rollout.
    #[arg(long)]
    pub(crate) keep_latents: bool,

    /// Frames decoded at a time: fewer take less memory.
    #[arg(long, value_name = "FRAMES", default_value_t = 14)]
    pub(crate) decode_chunk: usize,

    /// Write no settings into the output, and no .json beside it.
    #[arg(long)]
    pub(crate) disable_metadata: bool,

    /// Show what would be done; load and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Runs the command.
pub(crate) fn run(args: &DriveArgs) -> anyhow::Result<()> {
    let stack = args.stack()?;
    let wishes = args.wishes(&stack)?;
    if args.rollouts == 0 {
        return Err(Error::Input("--rollouts is 0, expected at least 1".into()).into());
    }
    let requests: Vec<RolloutRequest> = (0..args.rollouts as u64)
        .map(|index| RolloutRequest {
            wishes: wishes.clone(),
            seconds: args.seconds,
            start_seed: args.seed,
            seed: args.seed.wrapping_add(index),
        })
        .collect();
    requests[0].check(&stack, args.start.is_none())?;
    let seeds: Vec<u64> = requests.iter().map(|request| request.seed).collect();
    let outputs = Outputs::new(args.output.as_deref(), &seeds, 2);
    if let Some(note) = &stack.note {
        complain("warning", note);
    }
    let job = run::Job::new(args, &stack, &requests, &outputs)?;
    match args.dry_run {
        true => say(job.as_table()?),
        false => job.run(),
    }
}

impl DriveArgs {
    fn stack(&self) -> anyhow::Result<StackDescription> {
        let stack = stack::needed(self.model.as_deref())?;
        stack.needed(Stage::Prediction)?;
        stack.needed(Stage::Interpolation)?;
        let stack = stack::with_steps(stack, &self.stage_steps)?;
        Ok(match self.guidance_scale {
            Some(scale) => stack.with_guidance(Stage::Prediction, Guidance::Context { scale }),
            None => stack,
        })
    }

    fn wishes(&self, stack: &StackDescription) -> anyhow::Result<Wishes> {
        let mut wishes = match &self.scene {
            Some(path) => scene::read(path, stack.box_classes())?,
            None => Wishes::default(),
        };
        if let Some(prompt) = &self.prompt {
            wishes.prompt = Some(prompt.clone());
        }
        wishes.labels.extend(self.label.iter().cloned());
        Ok(wishes)
    }
}
