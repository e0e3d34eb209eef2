//! Consumes a generation: bars, latents, files.

use anyhow::Context;
use burn::tensor::Tensor;
use vldm::Error;
use vldm::pipeline::{Generation, Progress, Sample};
use vldm_media::WriteOptions;

use super::latents::{LatentsFile, save_failed};
use super::{GenerateArgs, Job, metadata};
use crate::interrupt::Interrupt;
use crate::progress::Bar;
use crate::terminal::say;

/// A run under way.
#[derive(Debug)]
pub(super) struct Run<'a> {
    args: &'a GenerateArgs,
    job: &'a Job,
    interrupt: Interrupt,
    latents_file: Option<LatentsFile>,
    /// The latest estimate of clean latents: what is left when the next step fails.
    last: Option<Tensor<5>>,
    bar: Option<Bar>,
    written: usize,
}

impl<'a> Run<'a> {
    pub(super) fn new(args: &'a GenerateArgs, job: &'a Job, interrupt: Interrupt) -> Self {
        Self {
            args,
            job,
            interrupt,
            latents_file: args.save_latents.clone().map(LatentsFile::new),
            last: None,
            bar: None,
            written: 0,
        }
    }

    /// Every sample to its end; stops between steps when the user asks.
    pub(super) fn all(mut self, mut generation: Generation<'_>) -> anyhow::Result<()> {
        self.bar = Some(self.sampling_bar(0));
        loop {
            self.interrupt.check().with_context(|| self.interrupted())?;
            match generation.next() {
                None => return Ok(()),
                Some(Ok(progress)) => self.consume(progress)?,
                Some(Err(error)) => return Err(self.failed(error)),
            }
        }
    }

    fn consume(&mut self, progress: Progress) -> anyhow::Result<()> {
        match progress {
            Progress::Sampled { step, denoised, .. } => {
                self.last = Some(denoised);
                self.advance(step);
            }
            Progress::Latents { sample, latents } => {
                if let Some(file) = &mut self.latents_file {
                    file.add_latents(&latents)?;
                }
                self.last = Some(latents);
                let label = format!("decoding{}", self.of_samples(sample));
                self.bar = Some(Bar::steps(label, self.job.plan.frames));
            }
            Progress::Decoded { frames, .. } => self.advance(frames),
            Progress::Finished(sample) => {
                self.finish(&sample)?;
                self.bar = Some(self.sampling_bar(sample.index + 1));
            }
        }
        Ok(())
    }

    fn finish(&mut self, sample: &Sample) -> anyhow::Result<()> {
        self.bar = Some(Bar::spinner("writing".into()));
        if let Some(file) = &mut self.latents_file {
            file.add_pixels(&sample.pixels)?;
        }
        let path = &self.job.outputs.paths()[sample.index];
        let metadata = match self.args.disable_metadata {
            true => None,
            false => Some(metadata(self.args, self.job, sample.index, sample.seed)),
        };
        let options = WriteOptions {
            metadata,
            ..WriteOptions::default()
        };
        vldm_media::write(path, &sample.clip, &options)?;
        self.bar = None;
        self.written += 1;
        self.last = None;
        say(path.display())
    }

    /// Latents that were finite are kept where a later number is not.
    fn failed(&self, error: Error) -> anyhow::Error {
        let (Error::NonFinite { .. }, Some(latents)) = (&error, &self.last) else {
            return error.into();
        };
        let output = &self.job.outputs.paths()[self.written];
        let kept = match save_failed(output, latents) {
            Ok(path) => format!("the latents before it are in {}", path.display()),
            Err(problem) => format!("the latents before it could not be saved: {problem}"),
        };
        anyhow::anyhow!("{error}; {kept}")
    }

    fn interrupted(&self) -> String {
        format!(
            "cancelled by an interrupt; {} of {} samples were written",
            self.written,
            self.job.plan.seeds.len()
        )
    }

    fn advance(&self, done: usize) {
        if let Some(bar) = &self.bar {
            bar.set(done);
        }
    }

    fn sampling_bar(&self, sample: usize) -> Bar {
        let label = format!("sampling{}", self.of_samples(sample));
        Bar::steps(label, self.job.plan.steps)
    }

    /// " 2/3", where there are several.
    fn of_samples(&self, sample: usize) -> String {
        match self.job.plan.seeds.len() {
            0 | 1 => String::new(),
            count => format!(" {}/{count}", sample + 1),
        }
    }
}
