//! The whole way through a stack: key frames, interpolation, decoder, upsampler.

use std::fmt::Write;

use serde_json::{Value, json};
use vldm::Error;
use vldm::pipeline::{ClipPlan, ClipProgress, ClipRun, FinishedClip, LastStage, StackDescription};
use vldm::preset::{Preset, Stage};
use vldm_media::{Info, WriteOptions};

use super::args::Until;
use super::{GenerateArgs, latents};
use crate::bytes::Bytes;
use crate::interrupt::Interrupt;
use crate::output::Outputs;
use crate::progress::Bar;
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
    let path = args.model_path()?;
    if !path.exists()
        && let Some(name) = path.to_str()
        && let Ok(preset) = Preset::load(name)
        && preset.is_stack()
    {
        return Ok(Some(with_steps(
            args,
            StackDescription::from_preset(&preset, 0)?,
        )));
    }
    let more = |stack: &StackDescription| {
        [Stage::Interpolation, Stage::Upsampler]
            .into_iter()
            .any(|stage| stack.stage(stage).is_some())
    };
    Ok(StackDescription::open(&path)?
        .filter(more)
        .map(|stack| with_steps(args, stack)))
}

fn with_steps(args: &GenerateArgs, stack: StackDescription) -> StackDescription {
    let each = args.stage_steps.iter();
    each.fold(stack, |stack, (stage, steps)| {
        stack.with_steps(*stage, *steps)
    })
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
    if let Some(path) = &args.save_latents {
        latents::check_latents_path(path)?;
    }
    if let Some(note) = &stack.note {
        complain("warning", note);
    }
    if args.dry_run {
        return match args.json {
            true => say(format!("{:#}", as_json(stack, &plan, &outputs))),
            false => say(as_table(stack, &plan, &outputs)),
        };
    }
    let device = args.compute.open()?;
    let run = ClipRun::new(stack, plan.clone(), (device, args.compute.dtype()));
    Consumer::new(args, stack, &plan, &outputs)?.all(run)
}

fn plan(args: &GenerateArgs, stack: &StackDescription) -> anyhow::Result<ClipPlan> {
    let request = args.resolve(stack.box_classes())?;
    let last = args.until.map(|until| match until {
        Until::KeyFrames => LastStage::KeyFrames,
        Until::Interpolation => LastStage::Interpolation,
        Until::Upsampler => LastStage::Upsampler,
    });
    let bytes = args.compute.dtype().size() as u64;
    let plan = ClipPlan::new(stack, &request, (last, bytes))?;
    if let Some(Bytes(budget)) = args.max_memory
        && plan.peak_memory() > budget
    {
        return Err(Error::Input(format!(
            "this run is expected to take {}, --max-memory allows {}: ask for a smaller --tile, \
             --decode-chunk, --width and --height, or fewer --frames",
            Bytes(plan.peak_memory()),
            Bytes(budget)
        ))
        .into());
    }
    Ok(plan)
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
            ClipProgress::Latents { .. } => {}
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

    fn finish(&mut self, clip: &FinishedClip) -> anyhow::Result<()> {
        self.bar = Some((Stage::Decoder, Bar::spinner("writing".into())));
        if let Some(file) = &mut self.latents_file {
            file.add_latents(&clip.latents)?;
        }
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
        json!({
            "program": "vldm",
            "version": env!("CARGO_PKG_VERSION"),
            "seed": clip.seed,
            "sample": clip.index,
            "model": self.stack.path,
            "device": self.args.compute.device.to_string(),
            "dtype": self.args.compute.dtype().name(),
            "settings": self.plan,
        })
    }
}

fn as_json(stack: &StackDescription, plan: &ClipPlan, outputs: &Outputs) -> Value {
    json!({
        "model": stack.path,
        "plan": plan,
        "peak_memory": plan.peak_memory(),
        "outputs": outputs.paths(),
    })
}

fn as_table(stack: &StackDescription, plan: &ClipPlan, outputs: &Outputs) -> String {
    let [width, height] = plan.size();
    let [base_width, base_height] = plan.base_size;
    let mut rows = vec![
        ("stack", stack.path.display().to_string()),
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
    ];
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
    for (stage, frames) in &plan.network_frames {
        rows.push((
            "network calls",
            format!("{}: {frames} frames", stage.title()),
        ));
    }
    for need in &plan.memory {
        let (weights, activations) = (Bytes(need.weights), Bytes(need.activations));
        let text = format!(
            "{}: weights {weights}, beside them {activations}",
            need.stage.title()
        );
        rows.push(("memory", text));
    }
    rows.push((
        "peak memory",
        format!("about {}", Bytes(plan.peak_memory())),
    ));
    for path in outputs.paths() {
        rows.push(("output", path.display().to_string()));
    }
    let mut table = String::new();
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{name:<18}  {value}");
    }
    table.trim_end().to_owned()
}
