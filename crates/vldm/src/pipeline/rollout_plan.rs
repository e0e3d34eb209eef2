//! A rollout resolved against a stack: how long, in how many segments, at what cost.

use serde::Serialize;
use vldm_media::Fps;

use super::interpolate::{FRAMES_AT_ONCE, factor};
use super::memory::StageMemory;
use super::rollout::{GIVEN, RolloutRequest};
use super::stack::{StackDescription, StageDescription};
use crate::diffusion::Guidance;
use crate::error::{Error, Result};
use crate::preset::Stage;

/// Every number of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolloutPlan {
    /// Frames of the result; what is generated beyond them is trimmed.
    pub frames: usize,
    /// Frames per second of the result.
    pub fps: Fps,
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// Windows of key frames, one after the other.
    pub segments: usize,
    /// Key frames of a window, given ones among them.
    pub window: usize,
    /// Calls of each stage's network over the whole rollout, one frame counted as one.
    pub network_frames: Vec<(Stage, usize)>,
    /// Expected peak memory of each stage, weights and activations, in bytes: it does not depend on
    /// the length.
    pub memory: Vec<StageMemory>,
}

impl RolloutPlan {
    /// Resolves `request` for a stack; `decode_chunk` frames are decoded at a time.
    ///
    /// # Errors
    /// [`Error::Input`] for no time at all, or a stack that lacks a stage; [`Error::Config`] for one
    /// that cannot roll out.
    pub fn new(
        stack: &StackDescription,
        request: &RolloutRequest,
        (decode_chunk, bytes_per_value): (usize, u64),
    ) -> Result<Self> {
        if !(request.seconds.is_finite() && request.seconds > 0.0) {
            return Err(Error::Input(format!(
                "{} seconds: expected more than 0",
                request.seconds
            )));
        }
        let prediction = stack.needed(Stage::Prediction)?;
        let interpolation = stack.needed(Stage::Interpolation)?;
        let window = prediction.config.usual.frames.unwrap_or(8);
        if window <= GIVEN {
            return Err(Error::Config(format!(
                "the prediction's windows have {window} frames, expected more than {GIVEN}"
            )));
        }
        let rates = &interpolation.config.frame_rates;
        let rate = *rates
            .last()
            .ok_or_else(|| Error::Config("the interpolation has no frame rates".into()))?;
        let frames = ((request.seconds * rate).round() as usize).max(1);
        let factor = factor(interpolation.config.usual.frames)?;
        let passes = rates.len() as u32;
        let later = (frames - 1)
            .div_ceil(factor.pow(passes))
            .saturating_sub(window - 1);
        let usual = &prediction.config.usual;
        let mut plan = Self {
            frames,
            fps: Fps::from_f64(rate)?,
            size: [usual.width, usual.height].map(|side| side.unwrap_or(64)),
            segments: 1 + later.div_ceil(window - GIVEN),
            window,
            network_frames: Vec::new(),
            memory: Vec::new(),
        };
        plan.network_frames = plan.calls([prediction, interpolation], (factor, passes));
        plan.memory = plan.needs([prediction, interpolation], (decode_chunk, bytes_per_value));
        Ok(plan)
    }

    /// The largest need of a stage, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        StageMemory::peak(&self.memory)
    }

    fn calls(
        &self,
        [prediction, interpolation]: [&StageDescription; 2],
        (factor, passes): (usize, u32),
    ) -> Vec<(Stage, usize)> {
        let each = |stage: &StageDescription| {
            let usual = &stage.config.usual;
            let guided = usual
                .guidance
                .as_ref()
                .is_some_and(Guidance::needs_unconditional);
            usual.steps.unwrap_or(50) * (1 + usize::from(guided))
        };
        // A segment's windows: between its new key frames, and in later passes between the frames that
        // the one before has made.
        let new = self.window - GIVEN;
        let windows: usize = (0..passes).map(|pass| new * factor.pow(pass)).sum();
        vec![
            (
                Stage::Prediction,
                self.segments * self.window * each(prediction),
            ),
            (
                Stage::Interpolation,
                self.segments * windows * (factor + 1) * each(interpolation),
            ),
        ]
    }

    /// Both models are held all the time, and the decoder's beside them.
    fn needs(
        &self,
        [prediction, interpolation]: [&StageDescription; 2],
        (decode_chunk, bytes): (usize, u64),
    ) -> Vec<StageMemory> {
        let mut needs = vec![
            StageMemory::sampling(
                Stage::Prediction,
                prediction,
                (self.window, self.size, bytes),
            ),
            StageMemory::sampling(
                Stage::Interpolation,
                interpolation,
                (FRAMES_AT_ONCE, self.size, bytes),
            ),
        ];
        needs.extend(StageMemory::decoding(
            prediction,
            (decode_chunk, self.size, bytes),
        ));
        let weights: u64 = needs[..2].iter().map(|need| need.weights).sum();
        for need in &mut needs {
            need.weights = weights;
        }
        needs
    }
}
