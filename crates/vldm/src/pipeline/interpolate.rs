//! Frames between frames: windows whose ends are given, several at a time.
//!
//! # Source
//! Blattmann et al. 2023, section 3.3: one model, run twice, makes three frames between two.

use burn::tensor::{Int, Tensor, TensorData};

use super::stage::StageModel;
use super::stage_run::{RunSettings, StageRun, Told};
use super::wishes::WishTokens;
use crate::error::{Error, Result};
use crate::rng::Stage as NoiseStage;
use crate::sampler::{SampleNoise, SampleSeed};
use crate::train::TemporalWords;

/// Frames that go through the network at once.
pub(super) const FRAMES_AT_ONCE: usize = 40;

/// One pass over a clip.
#[derive(Debug)]
pub(crate) struct Interpolation {
    /// Given frames, `[1, frames, channels, height, width]`.
    given: Tensor<5>,
    tokens: WishTokens,
    /// Counted from 0, and the rate of the result in frames per second.
    regime: (usize, f64),
    seed: u64,
    /// Absolute index of the first given frame.
    first: u64,
    /// Frames from one given frame to the next.
    factor: usize,
    settings: RunSettings,
    /// Windows that are finished, frames without the last of each.
    made: Vec<Tensor<5>>,
    next: usize,
}

impl Interpolation {
    /// A pass of the stage's `regime`-th rate; the first given frame is the `first`-th of the clip.
    pub(crate) fn new(
        stage: &StageModel,
        given: Tensor<5>,
        tokens: WishTokens,
        (regime, seed, first): (usize, u64, u64),
    ) -> Result<Self> {
        let rate = stage.config.frame_rates.get(regime).copied();
        let rate = rate.ok_or_else(|| {
            Error::Config(format!(
                "the interpolation has {} frame rates, number {} was asked for",
                stage.config.frame_rates.len(),
                regime + 1
            ))
        })?;
        Ok(Self {
            factor: factor(stage.config.usual.frames)?,
            settings: RunSettings::of(stage),
            regime: (regime, rate),
            given,
            tokens,
            seed,
            first,
            made: Vec::new(),
            next: 0,
        })
    }

    fn windows(&self) -> usize {
        self.given.dims()[1].saturating_sub(1)
    }

    /// Index, at the rate of the result, of the first frame of the result.
    pub(crate) fn first_made(&self) -> u64 {
        self.first * self.factor as u64
    }

    /// Runs of so many passes, beginning with this one over `frames` frames.
    pub(crate) fn runs_of(&self, frames: usize, passes: usize) -> usize {
        let mut windows = frames.saturating_sub(1);
        let mut runs = 0;
        for _ in 0..passes {
            runs += windows.div_ceil(self.at_once());
            windows *= self.factor;
        }
        runs
    }

    fn at_once(&self) -> usize {
        (FRAMES_AT_ONCE / (self.factor + 1)).max(1)
    }

    /// The next run over some windows; `None` when all have been made.
    pub(crate) fn next_run(&mut self, stage: &StageModel) -> Result<Option<StageRun>> {
        let count = self.at_once().min(self.windows() - self.next);
        if count == 0 {
            return Ok(None);
        }
        let starts = self.next..self.next + count;
        self.next += count;
        let frames = self.factor + 1;
        let [_, _, c, h, w] = self.given.dims();
        let shape = [count, frames, c, h, w];
        let windows: Vec<Tensor<5>> = starts.clone().map(|start| self.window(start)).collect();
        let given: Vec<bool> = (0..count * frames)
            .map(|frame| frame % frames == 0 || (frame + 1) % frames == 0)
            .collect();
        let rate = self.rate(stage, count);
        let told = Told::words(&self.tokens, shape, &stage.device)
            .with_frames(Tensor::cat(windows, 0), &given, &self.settings.guidance)
            .map(|example| example.temporal_context = rate.clone());
        let noise = SampleNoise {
            samples: starts
                .map(|start| SampleSeed {
                    seed: self.seed,
                    first_frame: (self.first + start as u64) * self.factor as u64,
                })
                .collect(),
            stage: match self.regime.0 {
                0 => NoiseStage::FirstInterpolation,
                _ => NoiseStage::SecondInterpolation,
            },
        };
        StageRun::new(stage, told, &self.settings, noise).map(Some)
    }

    /// Two neighbours with nothing between.
    fn window(&self, start: usize) -> Tensor<5> {
        let [_, _, c, h, w] = self.given.dims();
        let between = Tensor::zeros([1, self.factor - 1, c, h, w], &self.given.device());
        let end = |index| self.given.clone().narrow(1, index, 1);
        Tensor::cat(vec![end(start), between, end(start + 1)], 1)
    }

    fn rate(&self, stage: &StageModel, count: usize) -> TemporalWords {
        if stage.conditions.frame_rate.is_none() {
            return TemporalWords::Spatial;
        }
        let regime = TensorData::new(vec![self.regime.0 as i64; count], [count]);
        TemporalWords::FrameRate {
            regime: Tensor::<1, Int>::from_data(regime, &stage.device),
            fps: Tensor::full([count], self.regime.1, &stage.device),
        }
    }

    /// Takes the frames that a run made.
    pub(crate) fn take(&mut self, run: StageRun) -> Result<()> {
        let latents = run.finish()?;
        for window in latents.split(1, 0) {
            self.made.push(window.narrow(1, 0, self.factor));
        }
        Ok(())
    }

    /// All frames, given ones among them: `[1, factor·(frames − 1) + 1, channels, height, width]`.
    pub(crate) fn finish(mut self) -> Tensor<5> {
        let frames = self.given.dims()[1];
        self.made.push(self.given.narrow(1, frames - 1, 1));
        Tensor::cat(self.made, 1)
    }
}

/// Windows of so many `passes` over a clip with `gaps` between its frames: each pass makes `factor` gaps
/// of one.
pub(super) fn windows(gaps: usize, factor: usize, passes: u32) -> usize {
    (0..passes).map(|pass| gaps * factor.pow(pass)).sum()
}

/// Frames from one given frame to the next, of a model with windows of so many frames.
pub(crate) fn factor(window: Option<usize>) -> Result<usize> {
    match window {
        Some(frames) if frames > 2 => Ok(frames - 1),
        other => Err(Error::Config(format!(
            "the interpolation's windows have {} frames, expected at least 3 (usual.frames)",
            other.unwrap_or(0)
        ))),
    }
}
