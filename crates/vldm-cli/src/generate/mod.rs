//! `vldm generate`: plan, check, load, run, write.

mod args;
mod budget;
mod latents;
mod like;
mod report;
mod request;
mod run;
mod whole;

use std::path::PathBuf;

use serde_json::json;
use vldm::checkpoint::Weights;
use vldm::model::{LoadSettings, ModelDescription};
use vldm::pipeline::{GenerateRequest, Generation, GivenTensors, Plan};
use vldm_media::Info;

pub(crate) use args::{GenerateArgs, label, scale, stage_steps};
pub(crate) use latents::check_latents_path;

use crate::interrupt::Interrupt;
use crate::output::Outputs;
use crate::stack::model_path;
use crate::terminal::{complain, say};

/// A run, ready to start.
#[derive(Debug)]
struct Job {
    model_path: PathBuf,
    kind: String,
    personal: Option<PathBuf>,
    temporal: Option<PathBuf>,
    note: Option<String>,
    plan: Plan,
    outputs: Outputs,
}

/// Runs the command.
pub(crate) fn run(args: &GenerateArgs, verbose: bool) -> anyhow::Result<()> {
    if let Some(stack) = whole::stack(args)? {
        return whole::run(args, &stack);
    }
    let (job, description, personal) = prepare(args)?;
    job.outputs.check(&Info {
        width: job.plan.width as u32,
        height: job.plan.height as u32,
        num_frames: job.plan.frames,
        fps: job.plan.fps,
    })?;
    if !args.disable_metadata {
        job.outputs.spare([&args.scene, &args.image])?;
    }
    if let Some(path) = &args.save_latents {
        latents::check_latents_path(path)?;
    }
    if let Some(note) = &job.note {
        complain("warning", note);
    }
    if args.dry_run {
        return match args.json {
            true => say(format!("{:#}", report::as_json(&job))),
            false => say(report::as_table(&job)),
        };
    }
    let metadata = like::metadata(args, &job.outputs, &job.plan.wishes.each)?;
    let interrupt = Interrupt::listen()?;
    let picture = args
        .image
        .as_ref()
        .map(vldm_media::read_image)
        .transpose()?;
    let device = args.compute.open()?;
    let given = match &args.initial_latents {
        Some(path) => GivenTensors::read(&Weights::open(path)?, &device)?,
        None => GivenTensors::default(),
    };
    let dtype = args.compute.dtype();
    let model = args.weights.load(description, (device, dtype), verbose)?;
    interrupt.check()?;
    let mut generation = Generation::new(&model, job.plan.clone(), picture, given)?;
    if let Some(personal) = personal {
        let settings = LoadSettings {
            device: model.device.clone(),
            dtype,
            temporal: None,
        };
        generation = generation.with_personal(&personal.load(&settings)?)?;
    }
    for warning in &generation.warnings {
        complain("warning", warning);
    }
    run::Run::new(args, &job, interrupt).all(generation)?;
    metadata.map_or(Ok(()), |metadata| Ok(metadata.write()?))
}

/// Everything that can be decided and refused before weights are read; the model, and a personal one.
fn prepare(
    args: &GenerateArgs,
) -> anyhow::Result<(Job, ModelDescription, Option<ModelDescription>)> {
    args.refuse_flags_of_a_stack()?;
    let model_path = model_path(args.model.as_deref())?;
    let description = args.weights.describe(&model_path)?;
    let personal = args.personal.as_ref();
    let personal = personal.map(|path| args.weights.describe(path));
    let personal = personal.transpose()?;
    let bytes_per_value = args.compute.dtype().size() as u64;
    let own_temporal = args.weights.temporal.clone();
    let make_plan = |request: &GenerateRequest| {
        let plan = Plan::new(
            &description,
            request,
            own_temporal.as_deref(),
            bytes_per_value,
        )?;
        match &personal {
            None => Ok(plan),
            Some(personal) => plan.with_personal(personal, &description, bytes_per_value),
        }
    };
    let typed = args.typed(description.box_classes())?;
    let pictures = make_plan(&typed)?.frames == 1;
    let request = args.liken(typed, (&description, pictures))?;
    let plan = budget::plan_within(args.max_memory, request, make_plan)?;
    args.check_task(plan.task, description.conditions.is_none())?;
    let job = Job {
        outputs: Outputs::new(args.output.as_deref(), &plan.seeds, plan.frames),
        kind: description.kind.clone(),
        personal: args.personal.clone(),
        temporal: own_temporal.or_else(|| description.temporal_file.clone()),
        note: description.note.clone(),
        model_path,
        plan,
    };
    Ok((job, description, personal))
}

/// What made a sample, for the file and the `.json` beside it.
fn metadata(args: &GenerateArgs, job: &Job, sample: usize, seed: u64) -> serde_json::Value {
    let plan = Plan {
        wishes: job.plan.wishes.of(sample).clone().into(),
        ..job.plan.clone()
    };
    json!({
        "program": "vldm",
        "version": env!("CARGO_PKG_VERSION"),
        "seed": seed,
        "sample": sample,
        "model": job.model_path,
        "kind": job.kind,
        "temporal": job.temporal,
        "lora": args.weights.lora,
        "personal": args.personal,
        "image": args.image,
        "initial_latents": args.initial_latents,
        "device": args.compute.device.to_string(),
        "dtype": args.compute.dtype().name(),
        "settings": plan,
    })
}
