//! `vldm train`: a recipe becomes a run, and the run lines on the terminal.

mod report;

use std::path::PathBuf;

use clap::Args;
use vldm::train::{
    DecoderSettings, Event, OverfitSettings, Recipe, Run, TrainingStage, compare_decoders,
    overfit_one_clip,
};

use crate::compute::ComputeArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::{complain, say};

/// What to train.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// autoencoder, image, boxes, temporal, prediction, interpolation, decoder, upsampler, svd or
    /// dreambooth.
    #[arg(value_name = "STAGE")]
    pub(crate) stage: TrainingStage,

    /// The recipe, a TOML file.
    pub(crate) recipe: PathBuf,

    /// The run's folder: checkpoints, metrics, samples.
    #[arg(
        short,
        long,
        value_name = "DIR",
        required_unless_present = "overfit_one_clip"
    )]
    pub(crate) out: Option<PathBuf>,

    /// Go on with the run in the folder, from its last checkpoint.
    #[arg(long)]
    pub(crate) resume: bool,

    /// Go on although the recipe is not the one the run was begun with.
    #[arg(long, requires = "resume")]
    pub(crate) changed_recipe: bool,

    /// A self-test instead of a run: learn one clip by heart. Exit status 1 if that fails.
    #[arg(long, conflicts_with_all = ["out", "resume"])]
    pub(crate) overfit_one_clip: bool,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Runs the command. On Ctrl-C or SIGTERM the run is saved before it ends.
pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let mut recipe = Recipe::load(&args.recipe)?;
    if recipe.stage != args.stage {
        return Err(vldm::Error::Input(format!(
            "{} is a recipe for the stage \"{}\", not \"{}\"",
            args.recipe.display(),
            recipe.stage.name(),
            args.stage.name()
        ))
        .into());
    }
    args.compute.lay_over(&mut recipe);
    let device = args.compute.open()?;
    let Some(out) = &args.out else {
        return self_test(&recipe, &device, &interrupt);
    };
    let run = match args.resume {
        false => Run::start(recipe, out, &device)?,
        true => Run::resume(recipe, out, (&device, args.changed_recipe))?,
    };
    complain("training", report::summary(&run.summary()));
    train(run, &interrupt)
}

fn train(mut run: Run, interrupt: &Interrupt) -> anyhow::Result<()> {
    let summary = run.summary();
    let bar = Bar::steps(summary.stage.name().to_owned(), summary.steps as usize);
    bar.begin_at(summary.done as usize);
    let mut waited = report::Waiting::default();
    let mut broken = 0;
    while let Some(event) = run.next() {
        match event? {
            Event::Step(step) => {
                waited.add(&step);
                bar.set(step.step as usize);
                bar.label(report::progress(summary.stage, &step));
                if step.skipped {
                    bar.aside(|| complain("skipped", report::skipped(&step)));
                }
                if report::is_due(step.step) {
                    bar.aside_without_terminal(|| complain("step", report::line(&step)));
                }
            }
            Event::Evaluated(record) => {
                bar.aside(|| complain("held out", report::evaluation(&record)));
            }
            Event::Sampled(path) => bar.aside(|| complain("samples", path.display())),
            Event::Saved(path) => bar.aside(|| complain("saved", path.display())),
        }
        for clip in run.broken().0.iter().skip(broken) {
            bar.aside(|| complain("skipped clip", format!("{}: {}", clip.id, clip.reason)));
            broken += 1;
        }
        if interrupt.check().is_err() {
            let saved = run.save()?;
            bar.aside(|| complain("saved", format!("{}; go on with --resume", saved.display())));
            return Err(vldm::Error::Cancelled.into());
        }
    }
    let saved = run.save()?;
    drop(bar);
    complain("data", waited.line());
    say(saved.display())
}

fn self_test(
    recipe: &Recipe,
    device: &burn::tensor::Device,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let bar = Bar::spinner("self-test".into());
    let mut watch = |step: u64, loss: f64| {
        bar.label(format!("self-test, step {step}, loss {loss:.4}"));
        interrupt.check()
    };
    let (report, passed) = match recipe.stage {
        TrainingStage::Decoder => {
            let settings = DecoderSettings::default();
            let found = compare_decoders(recipe, device, &settings, &mut watch)?;
            (report::decoders(&found), found.passed())
        }
        _ => {
            let settings = OverfitSettings::default();
            let found = overfit_one_clip(recipe, device, &settings, &mut watch)?;
            (report::overfit(&found), found.passed())
        }
    };
    drop(bar);
    say(report)?;
    match passed {
        true => Ok(()),
        false => anyhow::bail!("the stage has not passed its self-test"),
    }
}
