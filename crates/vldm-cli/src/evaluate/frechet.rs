//! `vldm evaluate fvd` and `fid`.

use clap::Args;
use serde_json::json;
use vldm::data::Sample;
use vldm::metrics::{FrechetDistance, frechet};

use super::clips::{ClipsArgs, FRAMES, frames_of, warn_of_known_worlds};
use super::networks::FeaturesArgs;
use super::report::{show, table, with_interval};
use crate::clips_name::ClipsName;
use crate::compute::ComputeArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::complain;

/// Two sets of clips.
#[derive(Debug, Args)]
pub(crate) struct FrechetArgs {
    /// A folder of clips, a .tar file, or world:SEED for driving worlds made on the spot.
    pub(crate) a: ClipsName,

    /// The set that it is compared with.
    pub(crate) b: ClipsName,

    /// What subsets, for the distance of endless sets, are drawn from.
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
    let device = args.compute.open_for_measuring()?;
    let (net, provenance) = args.network.load(&device)?;
    warn_of_known_worlds(&[&args.a, &args.b], &[&provenance]);
    let frames = args.clips.frames(match of {
        Of::Clips => FRAMES,
        Of::Frames => 1,
    });
    let mut sets = Vec::new();
    for name in [&args.a, &args.b] {
        let count = args.clips.count.get();
        let samples = args.clips.read(name, (frames, count), &interrupt)?;
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
    let found = frechet(&sets[0], &sets[1], args.seed)?;
    warn_of_sizes(&found, sets[0][0].len());
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
        "frames": frames,
        "fps": args.clips.fps,
        "seed": args.seed,
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

/// Says so where sets are too small, or of sizes too different, for their distance to mean much.
pub(super) fn warn_of_sizes(found: &FrechetDistance, features: usize) {
    let [a, b] = found.counts;
    if a.min(b) < features + 2 {
        complain(
            "warning",
            format!(
                "{a} and {b} clips are too few for {features} features: most of the distance is that \
                 of sets so small; take at least {}, better 256",
                features + 2
            ),
        );
    } else if a != b {
        complain(
            "warning",
            format!(
                "sets of {a} and {b} clips: compare with distances of sets of these sizes only"
            ),
        );
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
            .map_or("-".into(), |value| format!("{value:.1}")),
    ]
}
