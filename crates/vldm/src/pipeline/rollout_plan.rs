//! A rollout resolved against a stack: how long, in how many segments, at what cost.

use serde::Serialize;
use vldm_media::Fps;

use super::interpolate::{FRAMES_AT_ONCE, factor, windows};
use super::memory::StageMemory;
use super::rollout::{GIVEN, RolloutRequest};
use super::stack::StackDescription;
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
}

impl RolloutPlan {
    /// Resolves `request` for a stack.
    ///
    /// # Errors
    /// [`Error::Input`] for no time at all, or a stack that lacks a stage; [`Error::Config`] for one
    /// that cannot roll out.
    pub fn new(stack: &StackDescription, request: &RolloutRequest) -> Result<Self> {
        if !(request.seconds.is_finite() && request.seconds > 0.0) {
            return Err(Error::Input(format!(
                "{} seconds: expected more than 0",
                request.seconds
            )));
        }
        let prediction = stack.needed(Stage::Prediction)?;
        let interpolation = stack.needed(Stage::Interpolation)?;
        prediction.check_steps(Stage::Prediction, None)?;
        interpolation.check_steps(Stage::Interpolation, None)?;
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
        let segments = 1 + later.div_ceil(window - GIVEN);
        // The first segment begins at a single given frame and has one gap more.
        let gaps = segments * (window - GIVEN) + (GIVEN - 1);
        let windows = windows(gaps, factor, passes);
        Ok(Self {
            frames,
            fps: Fps::from_f64(rate)?,
            size: [usual.width, usual.height].map(|side| side.unwrap_or(64)),
            segments,
            window,
            network_frames: vec![
                (
                    Stage::Prediction,
                    segments * window * prediction.calls_per_frame(),
                ),
                (
                    Stage::Interpolation,
                    windows * (factor + 1) * interpolation.calls_per_frame(),
                ),
            ],
        })
    }

    /// Expected peak memory of each stage, weights and activations, in bytes, where `decode_chunk`
    /// frames are decoded at a time: it does not depend on the length. Both models are held all the
    /// time.
    ///
    /// # Errors
    /// [`Error::Input`] when the stack lacks a stage.
    pub fn memory(
        &self,
        stack: &StackDescription,
        (decode_chunk, bytes_per_value): (usize, u64),
    ) -> Result<Vec<StageMemory>> {
        let prediction = stack.needed(Stage::Prediction)?;
        let interpolation = stack.needed(Stage::Interpolation)?;
        let of = |frames: usize| (frames, self.size, bytes_per_value);
        let mut needs = vec![
            StageMemory::sampling(Stage::Prediction, prediction, of(self.window)),
            StageMemory::sampling(Stage::Interpolation, interpolation, of(FRAMES_AT_ONCE)),
        ];
        needs.extend(StageMemory::decoding(prediction, of(decode_chunk)));
        let weights: u64 = needs[..2].iter().map(|need| need.weights).sum();
        for need in &mut needs {
            need.weights = weights;
        }
        Ok(needs)
    }
}
