//! `vldm evaluate fvd` and `fid`.

use clap::Args;
use serde_json::json;
use vldm::data::Sample;
use vldm::metrics::{FrechetDistance, Resampling, frechet};

use super::clips::{ClipsArgs, frames_of};
use super::networks::FeaturesArgs;
use super::report::{show, table, with_interval};
use crate::clips_name::ClipsName;
use crate::compute::ComputeArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// Two sets of clips.
#[derive(Debug, Args)]
pub(crate) struct FrechetArgs {
    /// A folder of clips, a .tar file, or world:SEED for driving worlds made on the spot.
    pub(crate) a: ClipsName,

    /// The set that it is compared with.
    pub(crate) b: ClipsName,

    /// What resamples for the interval are drawn from.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) seed: u64,

    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) clips: ClipsArgs,

    #[command(flatten)]
    pub(crate) network: FeaturesArgs,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// What distances are between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Clips,
    Frames,
}

/// Runs the command.
pub(crate) fn run(args: &FrechetArgs, of: Of) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let device = args.compute.open()?;
    let (net, provenance) = args.network.load(&device)?;
    let mut sets = Vec::new();
    for name in [&args.a, &args.b] {
        let samples = args.clips.read(name, &interrupt)?;
        let bar = Bar::spinner(format!("looking at {name}"));
        let readings = net.read(&seen(&samples, of), &device)?;
        drop(bar);
        sets.push(
            readings
                .into_iter()
                .map(|one| one.features)
                .collect::<Vec<_>>(),
        );
    }
    let found = frechet(&sets[0], &sets[1], &resampling(args.seed))?;
    let name = match of {
        Of::Clips => "Fréchet video distance",
        Of::Frames => "Fréchet distance of frames",
    };
    let text = table(
        &header(),
        &[row(&format!("{name}, {} to {}", args.a, args.b), &found)],
    );
    let value = json!({
        "metric": match of { Of::Clips => "fvd", Of::Frames => "fid" },
        "a": args.a.to_string(),
        "b": args.b.to_string(),
        "frames": args.clips.frames,
        "fps": args.clips.fps,
        "result": found,
    });
    show(args.json, &text, value, &[&provenance])
}

fn seen(samples: &[Sample], of: Of) -> Vec<&[vldm_media::Frame]> {
    let clips = frames_of(samples).into_iter();
    let middle = |clip: &[vldm_media::Frame]| clip.len() / 2;
    match of {
        Of::Clips => clips.collect(),
        Of::Frames => clips
            .map(|clip| &clip[middle(clip)..=middle(clip)])
            .collect(),
    }
}

/// Enough for an interval of a distance; each resample takes some milliseconds.
pub(super) fn resampling(seed: u64) -> Resampling {
    Resampling {
        seed,
        resamples: 200,
        ..Resampling::default()
    }
}

pub(super) fn header() -> [&'static str; 4] {
    ["", "distance (95 % interval)", "clips", "of endless sets"]
}

pub(super) fn row(name: &str, found: &FrechetDistance) -> Vec<String> {
    let [a, b] = found.counts;
    vec![
        name.to_owned(),
        with_interval(&found.distance),
        format!("{a}, {b}"),
        found
            .without_end
            .map_or("-".into(), |value| format!("{value:.3}")),
    ]
}
