//! `vldm evaluate labels`: night or day, and crowdedness, against what clips are labelled with.

use clap::Args;
use serde_json::json;
use vldm::data::Sample;
use vldm::metrics::{Class, Detection, Estimate, Reading, Resampling, SEEN, spearman};

use super::clips::{ClipsArgs, by_clip, frames_of, lacks, warn_of_known_worlds};
use super::networks::{DetectorArgs, FeaturesArgs};
use super::report::{show, table, with_interval};
use crate::clips_name::ClipsName;
use crate::compute::ComputeArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// The class of people on foot, which are no traffic.
const ON_FOOT: usize = Class::Pedestrian.index();

/// Labelled clips.
#[derive(Debug, Args)]
pub(crate) struct LabelsArgs {
    /// Clips with the labels `night` and `crowdedness` in their metadata.jsonl, or world:SEED.
    pub(crate) clips: ClipsName,

    /// What resamples for intervals are drawn from.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) seed: u64,

    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) reading: ClipsArgs,

    #[command(flatten)]
    pub(crate) features: FeaturesArgs,

    #[command(flatten)]
    pub(crate) detector: DetectorArgs,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Runs the command.
pub(crate) fn run(args: &LabelsArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let device = args.compute.open_for_measuring()?;
    let (net, seen_by) = args.features.load(&device)?;
    let (detector, counted_by) = args.detector.load(&device)?;
    warn_of_known_worlds(&[&args.clips], &[&seen_by, &counted_by]);
    let samples = args.reading.read_usual(&args.clips, &interrupt)?;
    let bar = Bar::spinner(format!("looking at {}", args.clips));
    let readings = net.read(&frames_of(&samples), &device)?;
    let pictures: Vec<_> = samples.iter().flat_map(|sample| &sample.frames).collect();
    let found = detector.detect(&pictures, &device)?;
    drop(bar);
    let counts: Vec<f64> = by_clip(&samples, &found).map(vehicles).collect();
    let resampling = Resampling {
        seed: args.seed,
        ..Resampling::default()
    };
    let night = night(&samples, &readings);
    let by_chance = commonest_night(&samples);
    let crowded = crowdedness(&samples, &counts, &resampling);
    if night.is_none() && crowded.is_none() {
        return Err(lacks(&args.clips, "a label `night` or `crowdedness`").into());
    }
    let rows = [
        row("night or day right", &night, by_chance),
        row(
            "crowdedness, rank correlation with detected vehicles",
            &crowded,
            crowded.map(|_| 0.0),
        ),
    ];
    let head = [
        &*format!("{} clips of {}", samples.len(), args.clips),
        "(95 % interval)",
        "by chance",
    ];
    let value = json!({
        "metric": "labels",
        "clips": args.clips.to_string(),
        "reading": args.reading.told(&samples),
        "seed": args.seed,
        "night_accuracy": night,
        "night_by_chance": by_chance,
        "crowdedness_rank_correlation": crowded,
    });
    show(
        args.json,
        &table(&head, &rows),
        value,
        &[&seen_by, &counted_by],
    )
}

fn row(name: &str, found: &Option<Estimate>, by_chance: Option<f64>) -> Vec<String> {
    let missing = || "cannot be told".to_owned();
    vec![
        name.to_owned(),
        found.as_ref().map_or_else(missing, with_interval),
        by_chance.map_or("-".into(), |share| format!("{share:.3}")),
    ]
}

/// Vehicles seen on a frame of a clip, on average.
fn vehicles(frames: &[Vec<Detection>]) -> f64 {
    let is_vehicle = |one: &&Detection| one.score >= SEEN && one.bounds.class != ON_FOOT;
    let count = frames.iter().flatten().filter(is_vehicle).count();
    count as f64 / frames.len() as f64
}

fn night(samples: &[Sample], readings: &[Reading]) -> Option<Estimate> {
    let pairs = samples.iter().zip(readings);
    let right: Vec<bool> = pairs
        .filter_map(|(sample, reading)| Some(is_night(sample)? == reading.is_night()))
        .collect();
    Estimate::share(right.iter().filter(|&&right| right).count(), right.len())
}

/// What one is right in who always says what most labels say.
fn commonest_night(samples: &[Sample]) -> Option<f64> {
    let labels: Vec<bool> = samples.iter().filter_map(is_night).collect();
    let share = labels.iter().filter(|&&night| night).count() as f64 / labels.len() as f64;
    (!labels.is_empty()).then(|| share.max(1.0 - share))
}

fn is_night(sample: &Sample) -> Option<bool> {
    Some(*sample.labels.get("night")? == 1)
}

fn crowdedness(samples: &[Sample], counts: &[f64], resampling: &Resampling) -> Option<Estimate> {
    let pairs = samples.iter().zip(counts);
    let pairs: Vec<(f64, f64)> = pairs
        .filter_map(|(sample, count)| Some((*sample.labels.get("crowdedness")? as f64, *count)))
        .collect();
    resampling.estimate(pairs.len(), |places| {
        let (labels, counts): (Vec<f64>, Vec<f64>) = places.iter().map(|&at| pairs[at]).unzip();
        spearman(&labels, &counts)
    })
}
