//! Running a plan, step by step.

use burn::tensor::{DType, Tensor};
use vldm_media::{Clip, Frame};

use super::decode::{DecodeChunks, decode_latents};
use super::image_to_video::PictureCondition;
use super::inputs::GivenTensors;
use super::personal;
use super::picture::pixels_to_frame;
use super::plan::{Plan, Task};
use super::stage::StageModel;
use super::stage_run::{RunSettings, StageRun, Told};
use crate::error::{Error, Result};
use crate::model::{Model, StageConfig, VideoAutoencoder};
use crate::rng::{Draw, Stage};
use crate::sampler::{GivenNoise, SampleNoise, StepNoise};

/// What a step of a generation tells.
#[derive(Debug)]
pub enum Progress {
    /// The network took a sampling step.
    Sampled {
        /// Index of the sample.
        sample: usize,
        /// Steps taken.
        step: usize,
        /// Steps in all.
        steps: usize,
        /// The clean estimate, `[1, frames, channels, height, width]`: for a preview.
        denoised: Tensor<5>,
    },
    /// Sampling is over and decoding begins: the moment to save the latents.
    Latents {
        /// Index of the sample.
        sample: usize,
        /// `[1, frames, channels, height, width]`, scaled as diffusion sees them.
        latents: Tensor<5>,
    },
    /// Some frames were decoded.
    Decoded {
        /// Index of the sample.
        sample: usize,
        /// Frames so far.
        frames: usize,
        /// Frames in all.
        of: usize,
    },
    /// A sample is finished.
    Finished(Box<Sample>),
}

/// One finished sample.
#[derive(Debug)]
pub struct Sample {
    /// Index, from 0.
    pub index: usize,
    /// The seed that made it.
    pub seed: u64,
    /// `[1, frames, channels, height, width]`, scaled as diffusion sees them.
    pub latents: Tensor<5>,
    /// Decoded and clamped to \[−1, 1\]: `[frames, 3, height, width]`.
    pub pixels: Tensor<4>,
    /// The same as frames.
    pub clip: Clip,
}

/// A run: an iterator over its progress. Dropping it cancels; after an error it ends.
#[derive(Debug)]
pub struct Generation<'m> {
    runner: Runner<'m>,
    given: GivenTensors,
    picture: Option<Frame>,
    next_sample: usize,
    state: State,
    /// What the user should know: text that was cut.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
enum State {
    BetweenSamples,
    Sampling(Box<SamplingState>),
    Decoding(Box<DecodingState>),
    Over,
}

#[derive(Debug)]
struct DecodingState {
    latents: Tensor<5>,
    chunk: usize,
    pixels: Vec<Tensor<4>>,
}

#[derive(Debug)]
struct SamplingState {
    run: StageRun,
    step: usize,
}

/// The model with the parts that the plan needs.
#[derive(Debug)]
struct Runner<'m> {
    model: &'m Model,
    /// None where the network diffuses pixels.
    autoencoder: Option<&'m VideoAutoencoder>,
    /// The denoising networks.
    stage: StageModel,
    plan: Plan,
}

impl<'m> Generation<'m> {
    /// A run of `plan` with `model`; `picture` is what an image-to-video model starts from.
    ///
    /// # Errors
    /// [`Error::Input`] when a picture is missing or not wanted, or a part of the model is absent.
    pub fn new(
        model: &'m Model,
        plan: Plan,
        picture: Option<Frame>,
        given: GivenTensors,
    ) -> Result<Self> {
        let missing = || Error::Input("the model lacks a U-Net or a schedule".into());
        match (plan.task, &picture) {
            (Task::ImageToVideo, None) => {
                return Err(Error::Input(
                    "this model turns a picture into a clip: give one with `--image`".into(),
                ));
            }
            (Task::TextToVideo, Some(_)) => {
                return Err(Error::Input(
                    "this model starts from no picture: leave out `--image`, or choose an image-to-video \
                     model"
                        .into(),
                ));
            }
            _ => {}
        }
        let unet = model.unet.as_ref().ok_or_else(missing)?;
        if plan.frames > 1 {
            unet.check_frames(plan.frames)?;
        }
        let [c, h, w] = plan.latent_shape;
        let shape = [plan.frames, c, h, w];
        given.check(plan.seeds.len(), shape, plan.levels.num_steps())?;
        let mut stage = StageModel::new(model, &StageConfig::default())?;
        if plan.frames == 1 && plan.task == Task::TextToVideo {
            stage.networks.temporal = None;
        }
        let warnings = plan.wishes.of(0).warnings(&stage);
        let runner = Runner {
            model,
            autoencoder: model.autoencoder.as_ref(),
            stage,
            plan,
        };
        Ok(Self {
            runner,
            given,
            picture,
            next_sample: 0,
            state: State::BetweenSamples,
            warnings,
        })
    }

    /// The same with the spatial layers and words of a personal model.
    ///
    /// # Source
    /// Blattmann et al. 2023, appendix H.3.
    ///
    /// # Errors
    /// [`Error::Input`] when the model cannot stand in for this one.
    pub fn with_personal(mut self, personal: &Model) -> Result<Self> {
        personal::check(&personal.description, &self.runner.model.description)?;
        self.runner.stage = self.runner.stage.with_personal(personal);
        self.warnings = self.runner.plan.wishes.of(0).warnings(&self.runner.stage);
        Ok(self)
    }

    fn advance(&mut self, state: State) -> Result<Option<(Progress, State)>> {
        match state {
            State::Over => Ok(None),
            State::BetweenSamples => {
                if self.next_sample == self.runner.plan.seeds.len() {
                    return Ok(None);
                }
                let sample = self.next_sample;
                let start = self
                    .runner
                    .start(sample, self.picture.as_ref(), &self.given)?;
                self.advance(State::Sampling(Box::new(start)))
            }
            State::Sampling(run) => self.sample_step(*run).map(Some),
            State::Decoding(run) => self.decode_step(*run).map(Some),
        }
    }

    fn sample_step(&mut self, mut state: SamplingState) -> Result<(Progress, State)> {
        let sample = self.next_sample;
        match state.run.advance(&self.runner.stage) {
            Some(progress) => {
                state.step += 1;
                let progress = Progress::Sampled {
                    sample,
                    step: state.step,
                    steps: self.runner.plan.levels.num_steps(),
                    denoised: progress?.denoised,
                };
                Ok((progress, State::Sampling(Box::new(state))))
            }
            None => {
                let latents = state.run.finish()?;
                let run = DecodingState {
                    latents: latents.clone(),
                    chunk: 0,
                    pixels: Vec::new(),
                };
                let state = State::Decoding(Box::new(run));
                Ok((Progress::Latents { sample, latents }, state))
            }
        }
    }

    fn decode_step(&mut self, mut run: DecodingState) -> Result<(Progress, State)> {
        let Plan {
            frames,
            decode_chunk,
            ..
        } = self.runner.plan;
        let part = self.runner.autoencoder;
        let over_time = part.is_some_and(|part| part.temporal.is_some());
        let chunks = DecodeChunks::new(frames, decode_chunk, over_time);
        if run.chunk == chunks.len() {
            let sample = self.runner.finish(self.next_sample, run)?;
            self.next_sample += 1;
            let progress = Progress::Finished(Box::new(sample));
            return Ok((progress, State::BetweenSamples));
        }
        if run.chunk == 0 {
            // The decoder has no use for memory of the sizes that the U-Net asked for.
            vldm_kernels::memory::pool::release_idle();
        }
        let ranges = chunks.chunk(run.chunk);
        let progress = Progress::Decoded {
            sample: self.next_sample,
            frames: ranges.0.end,
            of: frames,
        };
        let latents = run.latents.clone().cast(self.runner.model.dtype);
        let pixels = match part {
            Some(part) => decode_latents(part, &latents, ranges)?,
            None => latents
                .narrow(1, ranges.0.start, ranges.0.len())
                .squeeze_dim(0),
        };
        run.pixels.push(pixels.cast(DType::F32));
        run.chunk += 1;
        Ok((progress, State::Decoding(Box::new(run))))
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Progress>;

    fn next(&mut self) -> Option<Self::Item> {
        let state = std::mem::replace(&mut self.state, State::Over);
        match self.advance(state) {
            Ok(Some((progress, state))) => {
                self.state = state;
                Some(Ok(progress))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Runner<'_> {
    /// Everything that a sample needs before its first step.
    fn start(
        &self,
        sample: usize,
        picture: Option<&Frame>,
        given: &GivenTensors,
    ) -> Result<SamplingState> {
        let plan = &self.plan;
        let kind = match plan.frames {
            1 => Stage::Image,
            _ => Stage::KeyFrames,
        };
        let [c, h, w] = plan.latent_shape;
        let frames = plan.frames;
        let seeded = SampleNoise::single(plan.seeds[sample], kind);
        let shape = [1, frames, c, h, w];
        let initial = match given.latents_of(sample, [frames, c, h, w])? {
            Some(latents) => latents.unsqueeze_dim(0),
            None => seeded.tensor(Draw::Initial, shape, &self.model.device)?,
        };
        let told = match picture {
            None => {
                let tokens = plan.wishes.of(sample).encode(&self.stage)?;
                Told::words(&tokens, shape, &self.model.device)
            }
            Some(picture) => {
                PictureCondition::new(self.model, plan, (picture, &seeded, given))?.told(shape)
            }
        };
        let settings = RunSettings {
            sampler: plan.sampler,
            steps: plan.steps,
            guidance: plan.guidance,
        };
        let noise: Box<dyn StepNoise> = match given.steps_of(sample, frames)? {
            Some(steps) => Box::new(GivenNoise { steps }),
            None => Box::new(seeded),
        };
        let told = told.map(|told| told.max_distance = plan.attention_distance);
        let run = StageRun::from_noise(&self.stage, told, &settings, (initial, noise))?;
        Ok(SamplingState { run, step: 0 })
    }

    fn finish(&self, index: usize, run: DecodingState) -> Result<Sample> {
        let pixels = Tensor::cat(run.pixels, 0);
        let frames = (0..self.plan.frames)
            .map(|frame| pixels.clone().narrow(0, frame, 1).squeeze_dim(0))
            .map(|frame| pixels_to_frame(frame, self.plan.steps))
            .collect::<Result<Vec<Frame>>>()?;
        Ok(Sample {
            index,
            seed: self.plan.seeds[index],
            latents: run.latents,
            pixels: pixels.clamp(-1.0, 1.0),
            clip: Clip::new(frames, self.plan.fps)?,
        })
    }
}
