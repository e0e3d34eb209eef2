//! `vldm evaluate boxes`: whether objects are where the boxes of clips say.

use clap::Args;
use serde_json::{Value, json};
use vldm::Error;
use vldm::conditioning::boxes::ObjectBox;
use vldm::data::Sample;
use vldm::metrics::{
    BoxScores, Class, Detection, MATCH, MIN_PIXELS, Resampling, SEEN, SIZE, compare, near,
};

use super::clips::{ClipsArgs, lacks, warn_of_known_worlds};
use super::networks::DetectorArgs;
use super::report::{show, table, with_interval};
use crate::clips_name::ClipsName;
use crate::compute::ComputeArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// Clips with boxes.
#[derive(Debug, Args)]
pub(crate) struct BoxesArgs {
    /// Clips or pictures with `boxes` in their metadata.jsonl, all of them, or world:SEED. Classes are 0
    /// for cars and vans, 1 for trucks and buses, 2 for pedestrians.
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
    pub(crate) detector: DetectorArgs,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

type Boxes = Vec<Vec<ObjectBox>>;

/// Whether a box is as large as the smallest that the detector learnt from: of larger pictures of the same
/// moment boxes of smaller things are known.
fn is_seen(one: &ObjectBox) -> bool {
    let [height, width] = SIZE.map(|side| side as f32);
    (one.x1 - one.x0) * width >= MIN_PIXELS && (one.y1 - one.y0) * height >= MIN_PIXELS
}

/// Runs the command.
pub(crate) fn run(args: &BoxesArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let device = args.compute.open_for_measuring()?;
    let (detector, provenance) = args.detector.load(&device)?;
    warn_of_known_worlds(&[&args.clips], &[&provenance]);
    let samples = args.reading.read_usual(&args.clips, &interrupt)?;
    if samples
        .iter()
        .all(|sample| sample.boxes.iter().all(Vec::is_empty))
    {
        return Err(lacks(&args.clips, "boxes").into());
    }
    check_classes(&samples)?;
    let bar = Bar::spinner(format!("looking at {}", args.clips));
    let pictures: Vec<_> = samples.iter().flat_map(|sample| &sample.frames).collect();
    let found = detector.detect(&pictures, &device)?;
    drop(bar);
    let of_frame = |boxes: &Vec<ObjectBox>| boxes.iter().copied().filter(is_seen).collect();
    let truth: Boxes = samples
        .iter()
        .flat_map(|sample| sample.boxes.iter().map(of_frame))
        .collect();
    let (rows, entries) = scores(&samples, (found, truth), args.seed);
    let head = [
        &*format!("{} of {}", amount(&samples), args.clips),
        "recall (95 % interval)",
        "precision",
        "average precision",
        "boxes",
    ];
    let value = json!({
        "metric": "boxes",
        "clips": args.clips.to_string(),
        "reading": args.reading.told(&samples),
        "seed": args.seed,
        "overlap": MATCH,
        "score": SEEN,
        "results": entries,
    });
    show(args.json, &table(&head, &rows), value, &[&provenance])
}

/// Rows of the table and entries of the JSON: of all boxes, and of those that are near.
fn scores(
    samples: &[Sample],
    (found, truth): (Vec<Vec<Detection>>, Boxes),
    seed: u64,
) -> (Vec<Vec<String>>, Vec<Value>) {
    let (near_found, near_truth) = near(&found, &truth);
    let sets = [
        ("all boxes", found, truth),
        ("of at least 4 of 64 pixels' height", near_found, near_truth),
    ];
    let resampling = Resampling {
        seed,
        resamples: 200,
        ..Resampling::default()
    };
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    for (name, found, truth) in &sets {
        let scores = compare(found, truth, SEEN);
        let lengths = samples.iter().map(|sample| sample.frames.len());
        let recall = recall(&lengths.collect::<Vec<_>>(), (found, truth), &resampling);
        rows.push(vec![
            (*name).to_owned(),
            recall.as_ref().map_or("-".into(), with_interval),
            scores
                .precision()
                .map_or("-".into(), |value| format!("{value:.3}")),
            format!("{:.3}", scores.average_precision),
            scores.truths.to_string(),
        ]);
        entries.push(entry(name, &scores, recall.map(|recall| json!(recall))));
    }
    (rows, entries)
}

/// The detector's classes are those of the driving world; a box of another one would count as missed.
fn check_classes(samples: &[Sample]) -> vldm::Result<()> {
    let unknown = samples.iter().find_map(|sample| {
        let mut boxes = sample.boxes.iter().flatten();
        let of = boxes.find(|one| one.class >= Class::ALL.len())?;
        Some((of.class, &sample.id))
    });
    match unknown {
        None => Ok(()),
        Some((class, id)) => Err(Error::Input(format!(
            "{id}: a box of class {class}; the detector knows 0 (car, van), 1 (truck, bus) and 2 \
             (pedestrian): number the boxes so, or leave out others"
        ))),
    }
}

fn amount(samples: &[Sample]) -> String {
    let frames: usize = samples.iter().map(|sample| sample.frames.len()).sum();
    format!("{frames} frames of {} clips", samples.len())
}

/// The recall with an interval over clips: frames of one clip are not independent.
fn recall(
    lengths: &[usize],
    (found, truth): (&[Vec<Detection>], &Boxes),
    resampling: &Resampling,
) -> Option<vldm::metrics::Estimate> {
    let mut first = 0;
    let mut clips = Vec::new();
    for length in lengths {
        let frames = first..first + length;
        let scores = compare(&found[frames.clone()], &truth[frames], SEEN);
        clips.push((scores.right as f64, scores.truths as f64));
        first += length;
    }
    resampling.estimate(clips.len(), |places| {
        let sum = |of: fn(&(f64, f64)) -> f64| places.iter().map(|&at| of(&clips[at])).sum::<f64>();
        let truths = sum(|clip| clip.1);
        (truths > 0.0).then(|| sum(|clip| clip.0) / truths)
    })
}

fn entry(name: &str, scores: &BoxScores, recall: Option<Value>) -> Value {
    json!({
        "boxes": name,
        "count": scores.truths,
        "recall": recall,
        "precision": scores.precision(),
        "average_precision": scores.average_precision,
    })
}
