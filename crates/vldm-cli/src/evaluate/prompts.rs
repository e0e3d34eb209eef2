//! `vldm evaluate prompts`: whether vehicles that captions name are to be seen.

use clap::Args;
use serde_json::json;
use vldm::metrics::{Aspect, Detection, NEAR, Resampling, SEEN, named_score};

use super::clips::{ClipsArgs, by_clip, lacks, warn_of_known_worlds};
use super::networks::DetectorArgs;
use super::report::{show, table, with_interval};
use crate::clips_name::ClipsName;
use crate::compute::ComputeArgs;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// Clips with captions.
#[derive(Debug, Args)]
pub(crate) struct PromptsArgs {
    /// Clips with captions that they were made from, or world:SEED.
    pub(crate) clips: ClipsName,

    /// What resamples and random pairings are drawn from.
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

/// Runs the command.
pub(crate) fn run(args: &PromptsArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let device = args.compute.open_for_measuring()?;
    let (detector, provenance) = args.detector.load(&device)?;
    warn_of_known_worlds(&[&args.clips], &[&provenance]);
    let samples = args.reading.read_usual(&args.clips, &interrupt)?;
    let bar = Bar::spinner(format!("looking at {}", args.clips));
    let pictures: Vec<_> = samples.iter().flat_map(|sample| &sample.frames).collect();
    let found = detector.detect(&pictures, &device)?;
    drop(bar);
    let found: Vec<Vec<Detection>> = by_clip(&samples, &found).map(near).collect();
    let captions = samples.iter().map(|sample| sample.caption.as_deref());
    let captions: Vec<&str> = captions.map(Option::unwrap_or_default).collect();
    let resampling = Resampling {
        seed: args.seed,
        ..Resampling::default()
    };
    let aspects = [
        ("colour", Aspect::Paint),
        ("kind", Aspect::Kind),
        ("both", Aspect::Both),
    ];
    let (mut rows, mut entries) = (Vec::new(), serde_json::Map::new());
    for (name, aspect) in aspects {
        let Some(score) = named_score(&captions, &found, aspect, &resampling) else {
            continue;
        };
        rows.push(vec![
            name.to_owned(),
            with_interval(&score.seen),
            score
                .by_chance
                .map_or("-".into(), |share| format!("{share:.3}")),
            format!("{:.4}", score.p_value),
            score.named.to_string(),
        ]);
        entries.insert(name.into(), json!(score));
    }
    if rows.is_empty() {
        return Err(lacks(&args.clips, "a caption that names a vehicle").into());
    }
    let head = [
        &*format!("{} clips of {}", samples.len(), args.clips),
        "seen (95 % interval)",
        "by chance",
        "p",
        "named",
    ];
    let value = json!({
        "metric": "prompts",
        "clips": args.clips.to_string(),
        "reading": args.reading.told(&samples),
        "seed": args.seed,
        "results": entries,
    });
    show(args.json, &table(&head, &rows), value, &[&provenance])
}

/// What is seen in a clip and near enough.
fn near(found: &[Vec<Detection>]) -> Vec<Detection> {
    let near = found.iter().flatten().filter(|one| is_near(one));
    near.copied().collect()
}

/// What is too far away has no colour that one could tell.
fn is_near(one: &Detection) -> bool {
    one.score >= SEEN && one.bounds.y1 - one.bounds.y0 >= NEAR
}
