//! `vldm data encode`: what a recipe's frozen encoders make of its clips and captions, computed
//! once.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vldm::train::Recipe;
use vldm::train::cache::{Encode, EncodeEvent, EncodeReport, EncodeSettings, StoredType};

use crate::bytes::Bytes;
use crate::compute::ComputeArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::{complain, say};

/// What to encode.
#[derive(Debug, Args)]
pub(crate) struct EncodeArgs {
    /// The recipe, a TOML file: its autoencoder and text encoder, its clips, its windows.
    pub(crate) recipe: PathBuf,

    /// The folder of the cache, new or begun before; the recipe's `cache` unless given.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// What the numbers are stored in: f32, or f16 at half the size.
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub(crate) store: Store,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// A stored data type by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    F32,
    F16,
}

impl EncodeArgs {
    fn settings(&self) -> EncodeSettings {
        EncodeSettings {
            stored: match self.store {
                Store::F32 => StoredType::F32,
                Store::F16 => StoredType::F16,
            },
            ..EncodeSettings::default()
        }
    }
}

/// Runs the command. Clips that cannot be read are told of on standard error as they are found.
pub(crate) fn run(args: &EncodeArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let mut recipe = Recipe::load(&args.recipe)?;
    args.compute.lay_over(&mut recipe);
    let Some(out) = args.out.as_ref().or(recipe.cache.as_ref()) else {
        return Err(vldm::Error::Input(format!(
            "{} names no cache: say where to by `--out DIR`",
            args.recipe.display()
        ))
        .into());
    };
    let device = args.compute.open()?;
    let mut encode = Encode::start(&recipe, out, args.settings(), &device)?;
    let mut bar = None;
    loop {
        interrupt.check()?;
        match encode.next().transpose()? {
            Some(EncodeEvent::Verified { done, total }) => {
                show(&mut bar, (done, total), "verifying what is there");
            }
            Some(EncodeEvent::Encoded { done, total }) => {
                show(&mut bar, (done, total), "encoding");
            }
            Some(EncodeEvent::Broken { id, reason }) => {
                let tell = || complain("skipped clip", format!("{id}: {reason}"));
                match &bar {
                    Some((_, bar)) => bar.aside(tell),
                    None => tell(),
                }
            }
            Some(EncodeEvent::Finished(report)) => {
                drop(bar);
                return say(table(&report, &out.display().to_string()));
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

/// Moves the bar of a kind of work; another kind gets a bar of its own.
fn show(bar: &mut Option<(&'static str, Bar)>, (done, total): (usize, usize), label: &'static str) {
    if bar.as_ref().is_none_or(|(before, _)| *before != label) {
        *bar = Some((label, Bar::steps(label.to_owned(), total)));
    }
    if let Some((_, bar)) = bar {
        bar.set(done);
    }
}

fn table(report: &EncodeReport, out: &str) -> String {
    let mut lines = vec![format!(
        "{out}: {} frames of {} clips, {} prompts",
        report.frames, report.clips, report.prompts
    )];
    let mut row = |name: &str, text: String| lines.push(format!("  {name:<14}{text}"));
    row(
        "new",
        format!(
            "{} frames, {} prompts",
            report.new_frames, report.new_prompts
        ),
    );
    if report.damaged > 0 {
        row("made anew", format!("{} damaged files", report.damaged));
    }
    if report.broken > 0 {
        row("broken", format!("{} clips cannot be read", report.broken));
    }
    row("size", Bytes(report.bytes).to_string());
    let share = |part: f64| (100.0 * part / report.seconds.max(1e-9)).round();
    let shares = &report.shares;
    row(
        "time",
        format!(
            "{:.1} s: {} % encoding, {} % reading clips, {} % writing, {} % verifying",
            report.seconds,
            share(shares.encoding),
            share(shares.reading),
            share(shares.writing),
            share(shares.verifying)
        ),
    );
    lines.join("\n")
}
