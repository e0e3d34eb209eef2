//! The whole way through a stack: key frames, interpolation, decoder, upsampler.

use burn::tensor::Tensor;
use serde_json::{Value, json};
use vldm::pipeline::{
    ClipPlan, ClipProgress, ClipRun, FinishedClip, GenerateRequest, LastStage, StackDescription,
};
use vldm::preset::Stage;
use vldm_media::{Info, WriteOptions};

use super::args::Until;
use super::{GenerateArgs, budget, latents, like};
use crate::interrupt::Interrupt;
use crate::output::Outputs;
use crate::plan_table::{costs, table};
use crate::progress::Bar;
use crate::stack::{find, model_path, with_steps};
use crate::terminal::{complain, say};

/// The stack to run as a whole; `None` where the model is a single one, or what is asked for takes one
/// model: a picture, a clip from a picture or from latents, temporal layers of the user's own.
pub(super) fn stack(args: &GenerateArgs) -> anyhow::Result<Option<StackDescription>> {
    let alone = args.frames == Some(1)
        || args.image.is_some()
        || args.initial_latents.is_some()
        || args.weights.temporal.is_some();
    if alone {
        return Ok(None);
    }
    let more = |stack: &StackDescription| {
        [Stage::Interpolation, Stage::Upsampler]
            .into_iter()
            .any(|stage| stack.stage(stage).is_some())
    };
    let path = model_path(args.model.as_deref())?;
    let Some(stack) = find(&path)?.filter(more) else {
        return Ok(None);
    };
    args.refuse_flags_of_a_model(&path)?;
    let stack = with_steps(stack, &args.stage_steps)?;
    Ok(Some(match &args.personal {
        None => stack,
        Some(personal) => stack.with_personal(&args.weights.describe(personal)?)?,
    }))
}

/// Plans, checks, runs, writes.
pub(super) fn run(args: &GenerateArgs, stack: &StackDescription) -> anyhow::Result<()> {
    let plan = plan(args, stack)?;
    let outputs = Outputs::new(args.output.as_deref(), &plan.seeds, plan.frames);
    let [width, height] = plan.size();
    outputs.check(&Info {
        width: width as u32,
        height: height as u32,
        num_frames: plan.frames,
        fps: plan.fps,
    })?;
    if !args.disable_metadata {
        outputs.spare([&args.scene, &args.image])?;
    }
    if let Some(path) = &args.save_latents {
        latents::check_latents_path(path)?;
    }
    if let Some(note) = &stack.note {
        complain("warning", note);
    }
    if args.dry_run {
        return match args.json {
            true => say(format!("{:#}", as_json(args, stack, &plan, &outputs))),
            false => say(as_table(args, stack, &plan, &outputs)),
        };
    }
    let metadata = like::metadata(args, &outputs, &plan.wishes.each)?;
    let device = args.compute.open()?;
    let run = ClipRun::new(stack, plan.clone(), (device, args.compute.dtype()));
    Consumer::new(args, stack, &plan, &outputs)?.all(run)?;
    metadata.map_or(Ok(()), |metadata| Ok(metadata.write()?))
}

fn plan(args: &GenerateArgs, stack: &StackDescription) -> anyhow::Result<ClipPlan> {
    let typed = args.typed(stack.box_classes())?;
    let model = &stack.needed(Stage::KeyFrames)?.model;
    let request = args.liken(typed, (model, false))?;
    let last = args.until.map(|until| match until {
        Until::KeyFrames => LastStage::KeyFrames,
        Until::Interpolation => LastStage::Interpolation,
        Until::Upsampler => LastStage::Upsampler,
    });
    let bytes = args.compute.dtype().size() as u64;
    let make_plan = |request: &GenerateRequest| ClipPlan::new(stack, request, (last, bytes));
    Ok(budget::clip_within(args.max_memory, request, make_plan)?)
}

/// Bars, latents and files of a run.
struct Consumer<'a> {
    args: &'a GenerateArgs,
    stack: &'a StackDescription,
    plan: &'a ClipPlan,
    outputs: &'a Outputs,
    interrupt: Interrupt,
    latents_file: Option<latents::LatentsFile>,
    bar: Option<(Stage, Bar)>,
    written: usize,
}

impl<'a> Consumer<'a> {
    fn new(
        args: &'a GenerateArgs,
        stack: &'a StackDescription,
        plan: &'a ClipPlan,
        outputs: &'a Outputs,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            args,
            stack,
            plan,
            outputs,
            interrupt: Interrupt::listen()?,
            latents_file: args.save_latents.clone().map(latents::LatentsFile::new),
            bar: None,
            written: 0,
        })
    }

    fn all(mut self, run: ClipRun<'_>) -> anyhow::Result<()> {
        for progress in run {
            self.consume(progress?)?;
            self.interrupt.check().map_err(|error| {
                anyhow::Error::from(error).context(format!(
                    "cancelled by an interrupt; {} of {} clips were written",
                    self.written,
                    self.plan.seeds.len()
                ))
            })?;
        }
        Ok(())
    }

    fn consume(&mut self, progress: ClipProgress) -> anyhow::Result<()> {
        match progress {
            ClipProgress::Began { warnings, .. } => {
                warnings
                    .iter()
                    .for_each(|warning| complain("warning", warning));
            }
            ClipProgress::Stepped {
                stage, done, of, ..
            } => self.show(stage, done, of),
            ClipProgress::Decoded { frames, of, .. } => self.show(Stage::Decoder, frames, of),
            ClipProgress::Latents { stage, latents, .. } => self.keep(stage, &latents)?,
            ClipProgress::Finished(clip) => self.finish(&clip)?,
        }
        Ok(())
    }

    fn show(&mut self, stage: Stage, done: usize, of: usize) {
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != stage) {
            self.bar = Some((stage, Bar::steps(stage.title().into(), of)));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set(done);
        }
    }

    /// The latents that will be decoded, without the frames that are cut.
    fn keep(&mut self, stage: Stage, latents: &Tensor<5>) -> anyhow::Result<()> {
        let last = match self.plan.interpolations {
            0 => Stage::KeyFrames,
            _ => Stage::Interpolation,
        };
        if let (Some(file), true) = (&mut self.latents_file, stage == last) {
            let frames = self.plan.frames.min(latents.dims()[1]);
            file.add_latents(&latents.clone().narrow(1, 0, frames))?;
        }
        Ok(())
    }

    fn finish(&mut self, clip: &FinishedClip) -> anyhow::Result<()> {
        self.bar = Some((Stage::Decoder, Bar::spinner("writing".into())));
        let metadata = (!self.args.disable_metadata).then(|| self.metadata(clip));
        let options = WriteOptions {
            metadata,
            ..WriteOptions::default()
        };
        let path = &self.outputs.paths()[clip.index];
        vldm_media::write(path, &clip.clip, &options)?;
        self.bar = None;
        self.written += 1;
        say(path.display())
    }

    fn metadata(&self, clip: &FinishedClip) -> Value {
        let plan = ClipPlan {
            wishes: self.plan.wishes.of(clip.index).clone().into(),
            ..self.plan.clone()
        };
        json!({
            "program": "vldm",
            "version": env!("CARGO_PKG_VERSION"),
            "seed": clip.seed,
            "sample": clip.index,
            "model": self.stack.path,
            "personal": self.args.personal,
            "device": self.args.compute.device.to_string(),
            "dtype": self.args.compute.dtype().name(),
            "settings": plan,
        })
    }
}

fn as_json(
    args: &GenerateArgs,
    stack: &StackDescription,
    plan: &ClipPlan,
    outputs: &Outputs,
) -> Value {
    json!({
        "model": stack.path,
        "personal": args.personal,
        "plan": plan,
        "peak_memory": plan.peak_memory(),
        "outputs": outputs.paths(),
    })
}

fn as_table(
    args: &GenerateArgs,
    stack: &StackDescription,
    plan: &ClipPlan,
    outputs: &Outputs,
) -> String {
    let [width, height] = plan.size();
    let [base_width, base_height] = plan.base_size;
    let mut rows = vec![("stack", stack.path.display().to_string())];
    if let Some(path) = &args.personal {
        rows.push(("personal model", path.display().to_string()));
    }
    rows.extend([
        (
            "makes",
            format!(
                "{} frames of {width} x {height} pixels at {} per second ({:.2} s)",
                plan.frames,
                plan.fps,
                plan.fps.seconds(plan.frames)
            ),
        ),
        (
            "key frames",
            format!("{} of {base_width} x {base_height}", plan.key_frames),
        ),
    ]);
    if plan.interpolations > 0 {
        rows.push((
            "interpolation",
            format!(
                "{} times, to {} frames",
                plan.interpolations,
                plan.generated_frames()
            ),
        ));
    }
    if plan.upscale > 1 {
        rows.push(("upsampler", format!("to {} times the size", plan.upscale)));
    }
    rows.extend(costs(&plan.network_frames, &plan.memory));
    for path in outputs.paths() {
        rows.push(("output", path.display().to_string()));
    }
    table(&rows)
}
