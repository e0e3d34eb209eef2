//! `--dry-run`: every number of a run, before it starts.

use serde_json::{Value, json};
use vldm::diffusion::Guidance;
use vldm::pipeline::{Plan, Task, Wishes};
use vldm::sampler::SamplerConfig;

use super::Job;
use crate::bytes::Bytes;
use crate::plan_table::table;

/// The plan as JSON.
pub(super) fn as_json(job: &Job) -> Value {
    json!({
        "model": job.model_path,
        "kind": job.kind,
        "personal": job.personal,
        "temporal": job.temporal,
        "plan": job.plan,
        "peak_memory": job.plan.memory.peak(),
        "outputs": job.outputs.paths(),
    })
}

/// The plan as a table.
pub(super) fn as_table(job: &Job) -> String {
    let plan = &job.plan;
    let mut rows = vec![(
        "model",
        format!("{} ({})", job.model_path.display(), job.kind),
    )];
    if let Some(path) = &job.personal {
        rows.push(("personal model", path.display().to_string()));
    }
    if let Some(path) = &job.temporal {
        rows.push(("temporal layers", path.display().to_string()));
    }
    rows.push(("makes", makes(plan)));
    if plan.task == Task::TextToVideo {
        rows.extend(wishes(&plan.wishes.all));
    } else {
        rows.push(("motion bucket", plan.motion_bucket.to_string()));
        rows.push(("noise augmentation", plan.noise_augmentation.to_string()));
    }
    let [c, h, w] = plan.latent_shape;
    rows.extend([
        ("latents", format!("{c} x {h} x {w} per frame")),
        ("sampler", sampler(plan)),
        ("guidance", guidance(plan)),
        ("seeds", seeds(plan)),
        (
            "decoding",
            format!("{} frames at a time", plan.decode_chunk),
        ),
        ("memory", memory(plan)),
        ("output", outputs(job)),
    ]);
    table(&rows)
}

/// What was asked for; nothing where nothing was.
fn wishes(wishes: &Wishes) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.as_ref().map(|text| format!("\"{text}\""));
    let labels = wishes.labels.iter();
    let labels: Vec<String> = labels
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let labels = (!labels.is_empty()).then(|| labels.join(", "));
    let boxes = (!wishes.boxes.is_empty()).then(|| wishes.boxes.len().to_string());
    [
        ("prompt", text(&wishes.prompt)),
        ("negative prompt", text(&wishes.negative_prompt)),
        ("labels", labels),
        ("boxes", boxes),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn makes(plan: &Plan) -> String {
    let size = format!("{} x {} pixels", plan.width, plan.height);
    let from = match plan.task {
        Task::TextToVideo => "noise",
        Task::ImageToVideo => "a picture",
    };
    match plan.frames {
        1 => format!("a picture of {size} from {from}"),
        frames => format!(
            "{frames} frames of {size} at {} per second ({:.2} s) from {from}",
            plan.fps,
            plan.fps.seconds(frames)
        ),
    }
}

fn sampler(plan: &Plan) -> String {
    let name = match plan.sampler {
        SamplerConfig::Ddim { eta } => format!("ddim, eta {eta}"),
        other => other.name().to_owned(),
    };
    format!(
        "{name}, {} steps, {} calls of the network per sample",
        plan.steps, plan.network_calls
    )
}

fn guidance(plan: &Plan) -> String {
    match plan.guidance {
        Guidance::None {} => "none".into(),
        Guidance::ClassifierFree { scale } => scale.to_string(),
        Guidance::PerFrame { first, last } => format!("{first} to {last} over the frames"),
        Guidance::Context { scale } => format!("{scale}, away from no given frames"),
    }
}

fn seeds(plan: &Plan) -> String {
    match plan.seeds.as_slice() {
        [] => "none".into(),
        [seed] => seed.to_string(),
        [first, .., last] => format!("{first} to {last}, one per sample"),
    }
}

fn memory(plan: &Plan) -> String {
    format!(
        "about {} at most: weights {}, sampling {}, decoding {}",
        Bytes(plan.memory.peak()),
        Bytes(plan.memory.weights),
        Bytes(plan.memory.sampling),
        Bytes(plan.memory.decoding)
    )
}

fn outputs(job: &Job) -> String {
    match job.outputs.paths() {
        [] => "none".into(),
        [path] => path.display().to_string(),
        [first, .., last] => format!("{} to {}", first.display(), last.display()),
    }
}
