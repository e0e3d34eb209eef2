//! Minutes of video from one frame: prediction models continue key frames segment by segment, and
//! interpolation fills each segment, so that memory does not grow with the length.
//!
//! # Source
//! Blattmann et al. 2023, section 3.2: the first segment sees one frame, every later one the last two
//! key frames of the one before; latents are carried on and never decoded and encoded again.

use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use vldm_media::{Filter, Frame};

use super::edit::encode_frames;
use super::passes::{PassStep, Passes};
use super::rollout_plan::RolloutPlan;
use super::stack::{StackDescription, StageDescription, StageLoader};
use super::stage::StageModel;
use super::stage_run::{RunSettings, StageRun, Told, noise_of};
use super::wishes::{WishTokens, Wishes};
use crate::error::{Error, Result};
use crate::preset::Stage;
use crate::rng::Stage as NoiseStage;
use crate::sampler::SampleNoise;

/// Frames that later segments are given.
pub(super) const GIVEN: usize = 2;

/// What is rolled out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutRequest {
    /// What it should show.
    pub wishes: Wishes,
    /// Length in seconds.
    pub seconds: f64,
    /// The seed of the first frame.
    pub start_seed: u64,
    /// The seed of everything that follows it.
    pub seed: u64,
}

impl RolloutRequest {
    /// Checks the wishes against every model of the stack that will read them; `generated`: the first
    /// frame is to be made from them.
    ///
    /// # Errors
    /// [`Error::Input`] when a stage is missing, or does not know the wishes.
    pub fn check(&self, stack: &StackDescription, generated: bool) -> Result<()> {
        if generated {
            let first = first_frame_stage(stack, &self.wishes)?;
            self.wishes.check(&first.model)?;
        }
        let later = self.wishes.without_boxes();
        for stage in [Stage::Prediction, Stage::Interpolation] {
            later.check(&stack.needed(stage)?.model)?;
        }
        Ok(())
    }
}

/// One segment: what a rollout yields, and what it goes on from after an interruption.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Number, from 0.
    pub index: usize,
    /// Its key frames and the last one of the segment before, scaled latents, `[1, key frames, channels,
    /// height, width]`.
    pub key_frames: Tensor<5>,
    /// All its new frames, `[1, frames, channels, height, width]`; the first segment begins with the
    /// first frame of all.
    pub frames: Tensor<5>,
}

/// What a step of a rollout tells.
#[derive(Debug)]
pub enum RolloutProgress {
    /// A network took a sampling step.
    Stepped {
        /// Which stage.
        stage: Stage,
        /// The segment it is for.
        segment: usize,
        /// Steps of this stage and segment.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// A segment is complete.
    Segment(Box<Segment>),
}

/// A rollout under way: an iterator. Dropping it cancels; after an error it ends.
#[derive(Debug)]
pub struct Rollout {
    request: RolloutRequest,
    prediction: StageModel,
    interpolation: StageModel,
    tokens: [WishTokens; 2],
    /// Key frames of one window.
    window: usize,
    segments: usize,
    next: usize,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The last key frames so far, one or two.
    Begin(Tensor<5>),
    Predict {
        run: Box<StageRun>,
        given: usize,
        done: usize,
    },
    Interpolate {
        key_frames: Tensor<5>,
        passes: Box<Passes>,
    },
    Over,
}

impl Rollout {
    /// A rollout from the latents of its last key frames, `[1, 1 or 2, channels, height, width]`:
    /// segment `next` comes next.
    ///
    /// # Errors
    /// [`Error::Input`] when the stack cannot predict or interpolate, or does not know the wishes.
    pub fn new(
        stack: &StackDescription,
        request: RolloutRequest,
        (given, next): (Tensor<5>, usize),
        (device, dtype): (Device, DType),
    ) -> Result<Self> {
        let mut loader = StageLoader::new(device, dtype);
        let prediction = loader.load(stack.needed(Stage::Prediction)?)?;
        let interpolation = loader.load(stack.needed(Stage::Interpolation)?)?;
        let wishes = request.wishes.without_boxes();
        let tokens = [wishes.encode(&prediction)?, wishes.encode(&interpolation)?];
        let plan = RolloutPlan::new(stack, &request)?;
        Ok(Self {
            segments: plan.segments,
            window: plan.window,
            request,
            prediction,
            interpolation,
            tokens,
            next,
            phase: Phase::Begin(given),
        })
    }

    /// How many segments there are.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments
    }

    fn advance(&mut self, phase: Phase) -> Result<Option<(RolloutProgress, Phase)>> {
        match phase {
            Phase::Over => Ok(None),
            Phase::Begin(_) if self.next >= self.segments => Ok(None),
            Phase::Begin(given) => {
                let phase = self.begin(given)?;
                self.advance(phase)
            }
            Phase::Predict { run, given, done } => self.predict(run, given, done).map(Some),
            Phase::Interpolate { key_frames, passes } => {
                self.interpolate(key_frames, passes).map(Some)
            }
        }
    }

    /// Index of the first of the key frames that a segment is given.
    fn first_given(&self, given: usize) -> u64 {
        match self.next {
            0 => 0,
            next => (self.window - 1 + (next - 1) * (self.window - GIVEN) + 1 - given) as u64,
        }
    }

    fn begin(&mut self, last: Tensor<5>) -> Result<Phase> {
        let [_, given, c, h, w] = last.dims();
        let blank = Tensor::zeros([1, self.window - given, c, h, w], &last.device());
        let clean = Tensor::cat(vec![last, blank], 1);
        let mask: Vec<bool> = (0..self.window).map(|frame| frame < given).collect();
        let settings = RunSettings::of(&self.prediction);
        let told = Told::words(&self.tokens[0], clean.dims(), &clean.device()).with_frames(
            clean,
            &mask,
            &settings.guidance,
        );
        let first_frame = self.first_given(given);
        let noise = SampleNoise::from_frame(self.request.seed, first_frame, NoiseStage::Prediction);
        Ok(Phase::Predict {
            run: Box::new(StageRun::new(&self.prediction, told, &settings, noise)?),
            given,
            done: 0,
        })
    }

    fn predict(
        &mut self,
        mut run: Box<StageRun>,
        given: usize,
        done: usize,
    ) -> Result<(RolloutProgress, Phase)> {
        if let Some(progress) = run.advance(&self.prediction) {
            progress?;
            let done = done + 1;
            let of = self.prediction.config.usual.steps.unwrap_or(50);
            let progress = self.stepped(Stage::Prediction, done, of);
            return Ok((progress, Phase::Predict { run, given, done }));
        }
        let window = run.finish()?;
        let first = self.first_given(given) + given as u64 - 1;
        let key_frames = window.narrow(1, given - 1, self.window - given + 1);
        let which = (self.rates(), self.request.seed, first);
        let tokens = self.tokens[1].clone();
        let passes = Passes::new(&self.interpolation, key_frames.clone(), tokens, which)?;
        let phase = Phase::Interpolate {
            key_frames,
            passes: Box::new(passes),
        };
        let of = self.prediction.config.usual.steps.unwrap_or(50);
        Ok((self.stepped(Stage::Prediction, of, of), phase))
    }

    fn rates(&self) -> Vec<usize> {
        (0..self.interpolation.config.frame_rates.len()).collect()
    }

    fn interpolate(
        &mut self,
        key_frames: Tensor<5>,
        mut passes: Box<Passes>,
    ) -> Result<(RolloutProgress, Phase)> {
        let frames = match passes.advance(&self.interpolation)? {
            PassStep::Stepped { done, of } => {
                let progress = self.stepped(Stage::Interpolation, done, of);
                return Ok((progress, Phase::Interpolate { key_frames, passes }));
            }
            PassStep::Done(frames) => frames,
        };
        let count = frames.dims()[1];
        let segment = Segment {
            index: self.next,
            key_frames,
            frames: match self.next {
                0 => frames,
                _ => frames.narrow(1, 1, count - 1),
            },
        };
        self.next += 1;
        let given = given_after(&segment);
        Ok((
            RolloutProgress::Segment(Box::new(segment)),
            Phase::Begin(given),
        ))
    }

    fn stepped(&self, stage: Stage, done: usize, of: usize) -> RolloutProgress {
        RolloutProgress::Stepped {
            stage,
            segment: self.next,
            done,
            of,
        }
    }
}

impl Iterator for Rollout {
    type Item = Result<RolloutProgress>;

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

/// The key frames that the next segment of a rollout is given after `segment`.
#[must_use]
pub fn given_after(segment: &Segment) -> Tensor<5> {
    let keys = segment.key_frames.dims()[1];
    segment.key_frames.clone().narrow(1, keys - GIVEN, GIVEN)
}

/// The first frame of a rollout, from wishes: a sample of the image model, or of the one that reads
/// boxes.
///
/// # Shapes
/// - returns: scaled latents, `[1, 1, channels, height, width]`
///
/// # Errors
/// [`Error::Input`] when the stack has no such model, or does not know the wishes.
pub fn first_frame(
    stack: &StackDescription,
    request: &RolloutRequest,
    (device, dtype): (Device, DType),
) -> Result<Tensor<5>> {
    let description = first_frame_stage(stack, &request.wishes)?;
    let mut stage = StageLoader::new(device, dtype).load(description)?;
    stage.networks.temporal = None;
    let tokens = request.wishes.encode(&stage)?;
    let usual = &description.config.usual;
    let factor = description.factor();
    let side = |side: Option<usize>| side.unwrap_or(64) / factor;
    let shape = [1, 1, stage.channels, side(usual.height), side(usual.width)];
    let told = Told::words(&tokens, shape, &stage.device);
    let noise = noise_of(request.start_seed, NoiseStage::Image);
    let mut run = StageRun::new(&stage, told, &RunSettings::of(&stage), noise)?;
    while let Some(progress) = run.advance(&stage) {
        progress?;
    }
    run.finish()
}

/// Which stage makes a first frame: where boxes are wished for, the one that reads them.
fn first_frame_stage<'s>(
    stack: &'s StackDescription,
    wishes: &Wishes,
) -> Result<&'s StageDescription> {
    match (wishes.boxes.is_empty(), stack.stage(Stage::Boxes)) {
        (false, Some(description)) => Ok(description),
        _ => stack.needed(Stage::Image),
    }
}

/// The first frame of a rollout, from a picture.
///
/// # Shapes
/// - returns: scaled latents, `[1, 1, channels, height, width]`
///
/// # Errors
/// [`Error::Input`] when the stack has no autoencoder.
pub fn first_frame_of(
    stack: &StackDescription,
    picture: &Frame,
    (device, dtype): (Device, DType),
) -> Result<Tensor<5>> {
    let description = stack.needed(Stage::Prediction)?;
    let usual = &description.config.usual;
    let side = |side: Option<usize>| side.unwrap_or(64) as u32;
    let (width, height) = (side(usual.width), side(usual.height));
    let picture = vldm_media::resize_to_fill(picture, width, height, Filter::Lanczos)?;
    let stage = StageLoader::new(device.clone(), dtype).load(description)?;
    let part = stage
        .autoencoder
        .as_ref()
        .ok_or_else(|| Error::Input("the stack has no autoencoder".into()))?;
    encode_frames(part, &[picture], (&device, dtype))
}
