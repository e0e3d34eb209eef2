//! From words to a clip through a whole stack, one step at a time.
//!
//! # Source
//! Blattmann et al. 2023, figure 5.

use burn::tensor::{DType, Device, Tensor};
use vldm_media::{Clip, Frame};

use super::clip_plan::{ClipPlan, LastStage};
use super::decode::{DecodeChunks, decode_latents};
use super::edit::{EditProgress, pictures};
use super::passes::{PassStep, Passes};
use super::stack::{StackDescription, StageLoader};
use super::stage::StageModel;
use super::stage_run::{RunSettings, StageRun, Told, noise_of};
use super::upsample::Upsampling;
use super::wishes::Wishes;
use crate::error::Result;
use crate::model::VideoAutoencoder;
use crate::preset::Stage;
use crate::rng::Stage as NoiseStage;

/// What a step of a run tells.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them at a time")]
pub enum ClipProgress {
    /// A stage was loaded; its weights and wishes gave these warnings.
    Began {
        /// Which clip, counted from 0.
        clip: usize,
        /// Which stage.
        stage: Stage,
        /// What the user should know.
        warnings: Vec<String>,
    },
    /// A network took a sampling step.
    Stepped {
        /// Which clip.
        clip: usize,
        /// Which stage.
        stage: Stage,
        /// Steps taken in this stage.
        done: usize,
        /// Steps in all.
        of: usize,
    },
    /// Latents are complete: the moment to save them.
    Latents {
        /// Which clip.
        clip: usize,
        /// The stage that made them.
        stage: Stage,
        /// `[1, frames, channels, height, width]`, scaled as diffusion sees them.
        latents: Tensor<5>,
    },
    /// Some frames were decoded.
    Decoded {
        /// Which clip.
        clip: usize,
        /// Frames so far.
        frames: usize,
        /// Frames in all.
        of: usize,
    },
    /// A clip is finished.
    Finished(Box<FinishedClip>),
}

/// One finished clip.
#[derive(Debug)]
pub struct FinishedClip {
    /// Which clip, counted from 0.
    pub index: usize,
    /// The seed that made it.
    pub seed: u64,
    /// `[1, frames, channels, height, width]` before decoding.
    pub latents: Tensor<5>,
    /// The clip.
    pub clip: Clip,
}

/// A run over the clips of a plan: an iterator. Dropping it cancels; after an error it ends.
#[derive(Debug)]
pub struct ClipRun<'s> {
    stack: &'s StackDescription,
    plan: ClipPlan,
    loader: StageLoader,
    clip: usize,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Begin,
    KeyFrames(Box<StageModel>, Box<StageRun>, usize),
    Interpolate(Box<StageModel>, Box<Passes>),
    Decode(Box<Decode>),
    Upsample(Box<Upsample>),
    Over,
}

#[derive(Debug)]
struct Decode {
    part: VideoAutoencoder,
    latents: Tensor<5>,
    chunk: usize,
    pixels: Vec<Tensor<4>>,
    /// What the pictures become.
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Upsample,
    Finish,
}

#[derive(Debug)]
struct Upsample {
    stage: StageModel,
    run: Upsampling,
    latents: Tensor<5>,
    frames: Vec<Frame>,
}

impl<'s> ClipRun<'s> {
    /// A run of `plan` over `stack`.
    #[must_use]
    pub fn new(
        stack: &'s StackDescription,
        plan: ClipPlan,
        (device, dtype): (Device, DType),
    ) -> Self {
        Self {
            stack,
            plan,
            loader: StageLoader::new(device, dtype),
            clip: 0,
            phase: Phase::Begin,
        }
    }

    fn seed(&self) -> u64 {
        self.plan.seeds[self.clip]
    }

    fn advance(&mut self, phase: Phase) -> Result<Option<(ClipProgress, Phase)>> {
        match phase {
            Phase::Over => Ok(None),
            Phase::Begin if self.clip == self.plan.seeds.len() => Ok(None),
            Phase::Begin => self.begin().map(Some),
            Phase::KeyFrames(stage, run, done) => self.key_frames(stage, run, done).map(Some),
            Phase::Interpolate(stage, passes) => self.interpolate(stage, passes).map(Some),
            Phase::Decode(state) => self.decode(state).map(Some),
            Phase::Upsample(state) => self.upsample(state).map(Some),
        }
    }

    fn load(&mut self, stage: Stage) -> Result<StageModel> {
        self.loader.load(self.stack.needed(stage)?)
    }

    /// What the stages after the key frames are told.
    fn impersonal_wishes(&self) -> Result<Wishes> {
        let wishes = self.plan.wishes.of(self.clip);
        match self.stack.is_personal() {
            true => wishes.impersonal(),
            false => Ok(wishes.clone()),
        }
    }

    fn began(&self, stage: Stage, model: &StageModel) -> ClipProgress {
        let said_before = self.clip > 0 && self.plan.wishes.each.is_empty();
        ClipProgress::Began {
            clip: self.clip,
            stage,
            warnings: match stage {
                Stage::KeyFrames if !said_before => self.plan.wishes.of(self.clip).warnings(model),
                _ => Vec::new(),
            },
        }
    }

    fn begin(&mut self) -> Result<(ClipProgress, Phase)> {
        let stage = self.load(Stage::KeyFrames)?;
        let tokens = self.plan.wishes.of(self.clip).encode(&stage)?;
        let factor = stage.autoencoder.as_ref().map_or(1, |a| a.config.factor());
        let [width, height] = self.plan.base_size.map(|side| side / factor);
        let shape = [1, self.plan.key_frames, stage.channels, height, width];
        let distance = self.plan.attention_distance;
        let told =
            Told::words(&tokens, shape, &stage.device).map(|told| told.max_distance = distance);
        let settings = RunSettings {
            sampler: self.plan.sampler,
            steps: self.plan.steps,
            guidance: self.plan.guidance,
        };
        let noise = noise_of(self.seed(), NoiseStage::KeyFrames);
        let run = StageRun::new(&stage, told, &settings, noise)?;
        let progress = self.began(Stage::KeyFrames, &stage);
        Ok((
            progress,
            Phase::KeyFrames(Box::new(stage), Box::new(run), 0),
        ))
    }

    fn key_frames(
        &mut self,
        stage: Box<StageModel>,
        mut run: Box<StageRun>,
        done: usize,
    ) -> Result<(ClipProgress, Phase)> {
        if let Some(progress) = run.advance(&stage) {
            progress?;
            let progress = self.stepped(Stage::KeyFrames, done + 1, self.plan.steps);
            return Ok((progress, Phase::KeyFrames(stage, run, done + 1)));
        }
        let latents = run.finish()?;
        let progress = ClipProgress::Latents {
            clip: self.clip,
            stage: Stage::KeyFrames,
            latents: latents.clone(),
        };
        drop(stage);
        if self.plan.interpolations == 0 {
            return Ok((progress, self.decoding(latents)?));
        }
        // What is trimmed in the end need not be interpolated.
        let needed = (self.plan.frames - 1).div_ceil(self.plan.stride()) + 1;
        let latents = latents.narrow(1, 0, needed.max(2).min(self.plan.key_frames));
        let stage = self.load(Stage::Interpolation)?;
        let tokens = self.impersonal_wishes()?.encode(&stage)?;
        let regimes = (0..self.plan.interpolations).collect();
        let which = (regimes, self.seed(), 0);
        let passes = Passes::new(&stage, latents, tokens, which)?;
        Ok((
            progress,
            Phase::Interpolate(Box::new(stage), Box::new(passes)),
        ))
    }

    fn interpolate(
        &mut self,
        stage: Box<StageModel>,
        mut passes: Box<Passes>,
    ) -> Result<(ClipProgress, Phase)> {
        match passes.advance(&stage)? {
            PassStep::Stepped { done, of } => {
                let progress = self.stepped(Stage::Interpolation, done, of);
                Ok((progress, Phase::Interpolate(stage, passes)))
            }
            PassStep::Done(latents) => {
                let progress = ClipProgress::Latents {
                    clip: self.clip,
                    stage: Stage::Interpolation,
                    latents: latents.clone(),
                };
                drop(stage);
                Ok((progress, self.decoding(latents)?))
            }
        }
    }

    fn decoding(&mut self, latents: Tensor<5>) -> Result<Phase> {
        let frames = self.plan.frames.min(latents.dims()[1]);
        Ok(Phase::Decode(Box::new(Decode {
            part: self.loader.autoencoder(self.stack)?,
            latents: latents.narrow(1, 0, frames),
            chunk: 0,
            pixels: Vec::new(),
            then: match self.plan.last {
                LastStage::Upsampler => Then::Upsample,
                _ => Then::Finish,
            },
        })))
    }

    fn decode(&mut self, mut state: Box<Decode>) -> Result<(ClipProgress, Phase)> {
        let part = &state.part;
        let frames = state.latents.dims()[1];
        let chunks = DecodeChunks::new(frames, self.plan.decode_chunk, part.temporal.is_some());
        if state.chunk < chunks.len() {
            let ranges = chunks.chunk(state.chunk);
            let progress = ClipProgress::Decoded {
                clip: self.clip,
                frames: ranges.0.end,
                of: frames,
            };
            let latents = state.latents.clone().cast(self.loader.dtype());
            let pixels = decode_latents(part, &latents, ranges)?;
            state.pixels.push(pixels.cast(DType::F32));
            state.chunk += 1;
            return Ok((progress, Phase::Decode(state)));
        }
        let Decode {
            latents,
            pixels,
            then,
            ..
        } = *state;
        let pixels = Tensor::cat(pixels, 0).clamp(-1.0, 1.0);
        match then {
            Then::Finish => self.finish(latents, pictures(vec![pixels])?),
            Then::Upsample => self.begin_upsampling(latents, pixels),
        }
    }

    fn begin_upsampling(
        &mut self,
        latents: Tensor<5>,
        pixels: Tensor<4>,
    ) -> Result<(ClipProgress, Phase)> {
        let stage = self.load(Stage::Upsampler)?;
        let wishes = self.impersonal_wishes()?.known_to(&stage);
        let tokens = wishes.encode(&stage)?;
        let low = pixels.unsqueeze_dim(0);
        let run = Upsampling::new(&stage, low, tokens, (self.seed(), self.plan.upsample))?;
        let progress = self.began(Stage::Upsampler, &stage);
        let state = Upsample {
            stage,
            run,
            latents,
            frames: Vec::new(),
        };
        Ok((progress, Phase::Upsample(Box::new(state))))
    }

    fn upsample(&mut self, mut state: Box<Upsample>) -> Result<(ClipProgress, Phase)> {
        while let Some(step) = state.run.advance(&state.stage) {
            match step? {
                EditProgress::Stepped { done, of } => {
                    let progress = self.stepped(Stage::Upsampler, done, of);
                    return Ok((progress, Phase::Upsample(state)));
                }
                EditProgress::Frames(frames) => state.frames.extend(frames),
            }
        }
        let Upsample {
            latents, frames, ..
        } = *state;
        self.finish(latents, frames)
    }

    fn finish(&mut self, latents: Tensor<5>, frames: Vec<Frame>) -> Result<(ClipProgress, Phase)> {
        let finished = FinishedClip {
            index: self.clip,
            seed: self.seed(),
            latents,
            clip: Clip::new(frames, self.plan.fps)?,
        };
        self.clip += 1;
        Ok((ClipProgress::Finished(Box::new(finished)), Phase::Begin))
    }

    fn stepped(&self, stage: Stage, done: usize, of: usize) -> ClipProgress {
        ClipProgress::Stepped {
            clip: self.clip,
            stage,
            done,
            of,
        }
    }
}

impl Iterator for ClipRun<'_> {
    type Item = Result<ClipProgress>;

    fn next(&mut self) -> Option<Self::Item> {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        match self.advance(phase) {
            Ok(Some((progress, phase))) => {
                self.phase = phase;
                Some(Ok(progress))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
