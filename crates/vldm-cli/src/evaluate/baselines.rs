//! `vldm evaluate baselines`: how far true clips are from each other, and spoilt ones from them.

use burn::tensor::Device;
use clap::Args;
use serde_json::{Value, json};
use vldm::data::Sample;
use vldm::metrics::{FeatureNet, Spoiling, frechet};
use vldm_media::Frame;

use super::clips::{ClipsArgs, FRAMES, frames_of, warn_of_known_worlds};
use super::frechet::{header, row, warn_of_sizes};
use super::networks::FeaturesArgs;
use super::report::{show, table};
use crate::clips_name::ClipsName;
use crate::compute::ComputeArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// How true clips are spoilt.
const SPOILINGS: [Spoiling; 7] = [
    Spoiling::Frozen,
    Spoiling::Shuffled,
    Spoiling::Reversed,
    Spoiling::Blurred(0.7),
    Spoiling::Blurred(1.5),
    Spoiling::Noisy(0.03),
    Spoiling::Noisy(0.1),
];

/// True clips.
#[derive(Debug, Args)]
pub(crate) struct BaselinesArgs {
    /// The clips that are spoilt: a folder, a .tar file, or world:SEED.
    pub(crate) clips: ClipsName,

    /// Other true clips, which distances are measured to; without it twice as many clips are read, and
    /// the second half is kept for that.
    #[arg(long, value_name = "CLIPS")]
    pub(crate) held_out: Option<ClipsName>,

    /// What shuffles, noise and subsets are drawn from.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) seed: u64,

    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) reading: ClipsArgs,

    #[command(flatten)]
    pub(crate) network: FeaturesArgs,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Runs the command.
pub(crate) fn run(args: &BaselinesArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let device = args.compute.open_for_measuring()?;
    let (net, provenance) = args.network.load(&device)?;
    let names = [Some(&args.clips), args.held_out.as_ref()];
    warn_of_known_worlds(
        &names.into_iter().flatten().collect::<Vec<_>>(),
        &[&provenance],
    );
    let (clips, held_out) = sets(args, &interrupt)?;
    let truth = features(&net, &frames_of(&held_out), &device)?;
    let bar = Bar::steps("measuring".into(), SPOILINGS.len() + 2);
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    let mut add = |name: String, clips: &[&[Frame]]| -> anyhow::Result<()> {
        interrupt.check()?;
        let found = frechet(&features(&net, clips, &device)?, &truth, args.seed)?;
        if rows.is_empty() {
            warn_of_sizes(&found, truth[0].len());
        }
        rows.push(row(&name, &found));
        entries.push(json!({ "clips": name, "result": found }));
        bar.set(rows.len());
        Ok(())
    };
    add("true clips".into(), &frames_of(&clips))?;
    for spoiling in SPOILINGS {
        let spoilt = spoilt(&clips, spoiling, args.seed)?;
        let views: Vec<&[Frame]> = spoilt.iter().map(Vec::as_slice).collect();
        add(spoiling.name(), &views)?;
    }
    let mixed = frame_by_frame(&clips);
    let views: Vec<&[Frame]> = mixed.iter().map(Vec::as_slice).collect();
    add("frames of different clips".into(), &views)?;
    drop(bar);
    let mut head = header();
    head[0] = "Fréchet video distance to held-out clips";
    let value = json!({
        "metric": "fvd",
        "clips": args.clips.to_string(),
        "held_out": args.held_out.as_ref().map(ToString::to_string),
        "frames": args.reading.frames(FRAMES),
        "fps": args.reading.fps,
        "seed": args.seed,
        "baselines": Value::Array(entries),
    });
    show(args.json, &table(&head, &rows), value, &[&provenance])
}

type Sets = (Vec<Sample>, Vec<Sample>);

fn sets(args: &BaselinesArgs, interrupt: &Interrupt) -> anyhow::Result<Sets> {
    let read = |name, count| {
        let frames = args.reading.frames(FRAMES);
        args.reading.read(name, (frames, count), interrupt)
    };
    let count = args.reading.count.get();
    if let Some(name) = &args.held_out {
        return Ok((read(&args.clips, count)?, read(name, count)?));
    }
    // Halves, not every second clip: parts of one recording stand side by side.
    let mut clips = read(&args.clips, 2 * count)?;
    let half = clips.len() / 2;
    let kept = clips.split_off(clips.len() - half);
    clips.truncate(half);
    Ok((clips, kept))
}

fn features(net: &FeatureNet, clips: &[&[Frame]], device: &Device) -> vldm::Result<Vec<Vec<f64>>> {
    let readings = net.read(clips, device)?;
    Ok(readings.into_iter().map(|one| one.features).collect())
}

fn spoilt(clips: &[Sample], spoiling: Spoiling, seed: u64) -> vldm::Result<Vec<Vec<Frame>>> {
    let numbered = clips.iter().zip(0_u64..);
    numbered
        .map(|(clip, number)| spoiling.apply(&clip.frames, seed.wrapping_add(number << 20)))
        .collect()
}

/// What a model of single pictures gives at best: each frame true, of as many clips as there are.
fn frame_by_frame(clips: &[Sample]) -> Vec<Vec<Frame>> {
    let of = |clip: usize| {
        let frames = (0..clips[clip].frames.len()).map(|at| {
            let other = (clip + at) % clips.len();
            clips[other].frames[at].clone()
        });
        frames.collect()
    };
    (0..clips.len()).map(of).collect()
}
