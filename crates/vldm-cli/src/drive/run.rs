//! Rollouts one after the other, from the first frame to the file.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use serde_json::json;
use vldm::metrics::SegmentMeter;
use vldm::pipeline::{
    Rollout, RolloutFolder, RolloutPlan, RolloutProgress, RolloutRequest, Segment,
    StackDescription, StreamDecoder, first_frame, first_frame_of, given_after, pixels_to_frame,
};
use vldm_media::{ClipWriter, Frame, Info, WriteOptions};

use super::{DriveArgs, drift_report, side_by_side};
use crate::interrupt::Interrupt;
use crate::output::Outputs;
use crate::plan_table::{costs, table};
use crate::progress::Bar;
use crate::terminal::say;

/// All rollouts of a command.
#[derive(Debug)]
pub(super) struct Job<'a> {
    args: &'a DriveArgs,
    stack: &'a StackDescription,
    requests: &'a [RolloutRequest],
    outputs: &'a Outputs,
    plan: RolloutPlan,
}

impl<'a> Job<'a> {
    /// Checks everything that can be checked before weights are read.
    pub(super) fn new(
        args: &'a DriveArgs,
        stack: &'a StackDescription,
        requests: &'a [RolloutRequest],
        outputs: &'a Outputs,
    ) -> anyhow::Result<Self> {
        let job = Self {
            args,
            stack,
            requests,
            outputs,
            plan: RolloutPlan::new(stack, &requests[0])?,
        };
        job.check_outputs()?;
        Ok(job)
    }

    /// Whether all that is still to be written can be.
    fn check_outputs(&self) -> vldm::Result<()> {
        let info = |(width, height)| Info {
            width,
            height,
            num_frames: self.plan.frames,
            fps: self.plan.fps,
        };
        let paths = self.outputs.paths();
        for path in paths.iter().filter(|path| !is_written(path)) {
            vldm_media::check_output(path, &info(self.size()))?;
        }
        if let Some(together) = self.together() {
            let size = side_by_side::size(paths.len(), self.size());
            vldm_media::check_output(together, &info(size))?;
        }
        if !self.args.disable_metadata {
            self.outputs.spare([&self.args.scene, &self.args.start])?;
        }
        Ok(())
    }

    /// Where several rollouts are shown side by side.
    fn together(&self) -> Option<&Path> {
        let several = self.requests.len() > 1;
        self.args.output.as_deref().filter(|_| several)
    }

    fn size(&self) -> (u32, u32) {
        let [width, height] = self.plan.size;
        (width as u32, height as u32)
    }

    /// What would be done.
    pub(super) fn as_table(&self) -> vldm::Result<String> {
        let plan = &self.plan;
        let bytes = self.args.compute.dtype().size() as u64;
        let memory = plan.memory(self.stack, (self.args.decode_chunk, bytes))?;
        let [width, height] = plan.size;
        let rollouts = match self.requests.len() {
            1 => "a rollout".to_owned(),
            count => format!("{count} rollouts"),
        };
        let mut rows = vec![
            ("stack", self.stack.path.display().to_string()),
            (
                "makes",
                format!(
                    "{rollouts} of {} frames of {width} x {height} pixels at {} per second ({:.2} s)",
                    plan.frames,
                    plan.fps,
                    plan.fps.seconds(plan.frames)
                ),
            ),
            (
                "segments",
                format!("{} of {} key frames", plan.segments, plan.window),
            ),
        ];
        rows.extend(costs(&plan.network_frames, &memory));
        let paths = self.outputs.paths().iter();
        rows.extend(paths.map(|path| ("output", path.display().to_string())));
        Ok(table(&rows))
    }

    pub(super) fn run(&self) -> anyhow::Result<()> {
        let interrupt = Interrupt::listen()?;
        let picture = self
            .args
            .start
            .as_ref()
            .map(vldm_media::read_image)
            .transpose()?;
        let onto = (self.args.compute.open()?, self.args.compute.dtype());
        let each = || self.requests.iter().zip(self.outputs.paths());
        // Another rollout's folder is in the way of all of them: said before the first begins.
        let folders: Vec<RolloutFolder> = each()
            .map(|(request, path)| {
                let asked = (request, picture.is_some());
                RolloutFolder::open(&folder_of(path), asked, self.stack, &onto.0)
            })
            .collect::<Result<_, _>>()?;
        for ((request, path), folder) in each().zip(&folders) {
            if is_written(path) {
                say(path.display())?;
                continue;
            }
            let mut writer = FrameWriter::new(self, request, path, onto.clone())?;
            let picture = picture.as_ref();
            let rollout = self.begin(folder, (request, picture), &mut writer, onto.clone())?;
            self.roll(rollout, folder, &mut writer, &interrupt)?;
            let looks = writer.finish()?;
            drift_report::write(path, &looks)?;
            folder.finish()?;
            say(path.display())?;
        }
        if let Some(together) = self.together() {
            side_by_side::write(together, self.outputs.paths())?;
            say(together.display())?;
        }
        // Until here the same command would have gone on.
        let kept = self.args.keep_latents;
        let mut folders = folders.into_iter().filter(|_| !kept);
        Ok(folders.try_for_each(RolloutFolder::remove)?)
    }

    /// Writes the segments that are there already; the rollout goes on after them.
    fn begin(
        &self,
        folder: &RolloutFolder,
        (request, picture): (&RolloutRequest, Option<&Frame>),
        writer: &mut FrameWriter,
        onto: (Device, DType),
    ) -> anyhow::Result<(Rollout, usize)> {
        let rollout =
            |given, next| Rollout::new(self.stack, request.clone(), (given, next), onto.clone());
        let given = picture
            .map(|picture| first_frame_of(self.stack, picture, onto.clone()))
            .transpose()?;
        if let Some(given) = &given {
            folder.check_start(given)?;
        }
        let Some(start) = folder.start()? else {
            let start = match given {
                Some(given) => given,
                None => first_frame(self.stack, request, onto.clone())?,
            };
            let rollout = rollout(start.clone(), 0)?;
            folder.keep_start(&start)?;
            return Ok((rollout, 0));
        };
        let (mut given, mut next) = (start, 0);
        while let Some(segment) = folder.segment(next)? {
            given = given_after(&segment);
            next += 1;
            writer.push(segment)?;
        }
        Ok((rollout(given, next)?, next))
    }

    fn roll(
        &self,
        (rollout, next): (Rollout, usize),
        folder: &RolloutFolder,
        writer: &mut FrameWriter,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        let segments = rollout.segments();
        let bar = Bar::steps("driving".into(), segments * 100);
        bar.begin_at(next * 100);
        for progress in rollout {
            interrupt.check()?;
            match progress? {
                RolloutProgress::Stepped {
                    stage,
                    segment,
                    done,
                    of,
                } => {
                    bar.label(format!(
                        "{}, segment {} of {segments}",
                        stage.title(),
                        segment + 1
                    ));
                    // Prediction is a small part of the work, interpolation nearly all of it.
                    let share = match stage {
                        vldm::preset::Stage::Prediction => 10 * done / of.max(1),
                        _ => 10 + 80 * done / of.max(1),
                    };
                    bar.set(segment * 100 + share);
                }
                RolloutProgress::Segment(segment) => {
                    folder.keep(&segment)?;
                    writer.push(*segment)?;
                }
            }
        }
        Ok(())
    }
}

/// Where a rollout keeps what it has while it runs.
fn folder_of(path: &Path) -> PathBuf {
    beside(path, ".rollout")
}

/// Whether a command that was interrupted later has written this rollout.
fn is_written(path: &Path) -> bool {
    RolloutFolder::is_finished(&folder_of(path)) && path.exists()
}

/// What lies beside an output: `clip.mp4` and `.rollout` make `clip.mp4.rollout`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.components().collect::<PathBuf>().into_os_string();
    name.push(ending);
    PathBuf::from(name)
}

/// Decodes segments and writes their frames.
struct FrameWriter {
    decoder: StreamDecoder,
    writer: ClipWriter,
    meter: SegmentMeter,
    /// Frames that are still to be written; the rest of the last segment is cut.
    left: usize,
}

impl FrameWriter {
    fn new(
        job: &Job<'_>,
        request: &RolloutRequest,
        path: &Path,
        onto: (Device, DType),
    ) -> anyhow::Result<Self> {
        let metadata = (!job.args.disable_metadata).then(|| {
            json!({
                "program": "vldm",
                "version": env!("CARGO_PKG_VERSION"),
                "seed": request.seed,
                "model": job.stack.path,
                "start": job.args.start,
                "scene": job.args.scene,
                "device": job.args.compute.device.to_string(),
                "dtype": job.args.compute.dtype().name(),
                "settings": request,
            })
        });
        let options = WriteOptions {
            metadata,
            ..WriteOptions::default()
        };
        Ok(Self {
            decoder: StreamDecoder::new(job.stack, job.args.decode_chunk, onto)?,
            writer: ClipWriter::create(path, job.size(), job.plan.fps, &options)?,
            meter: SegmentMeter::new(
                (drift_report::SECONDS * job.plan.fps.as_f64()).round() as usize
            ),
            left: job.plan.frames,
        })
    }

    fn push(&mut self, segment: Segment) -> anyhow::Result<()> {
        let pieces = self.decoder.push(segment.frames)?;
        self.write(pieces)
    }

    fn write(&mut self, pieces: Vec<Tensor<4>>) -> anyhow::Result<()> {
        for pixels in pieces {
            for frame in pixels.split(1, 0) {
                if self.left == 0 {
                    return Ok(());
                }
                self.left -= 1;
                let frame = pixels_to_frame(frame.squeeze_dim(0), 0)?;
                self.meter.push(&frame);
                self.writer.push(&frame)?;
            }
        }
        Ok(())
    }

    /// Ends the file; tells what its segments look like.
    fn finish(mut self) -> anyhow::Result<Vec<vldm::metrics::Segment>> {
        let rest = self.decoder.finish()?;
        self.write(rest)?;
        self.writer.finish()?;
        Ok(self.meter.segments())
    }
}
