//! A clip at several times its size: overlapping chunks of frames and tiles, whose estimates are
//! blended at every step under one noise, so that finished samples never have to be.
//!
//! # Source
//! Blattmann et al. 2023, section 3.4.

use burn::tensor::Tensor;
use serde::Serialize;
use vldm_media::Frame;

use super::decode::decode_latents;
use super::edit::pictures;
use super::picture::pixels_to_frame;
use super::regions::{Blend, Cut, Region};
use super::stage::StageModel;
use super::stage_run::{RunSettings, Told, guided, noise_of};
use super::wishes::WishTokens;
use crate::diffusion::NoiseLevel;
use crate::diffusion::residual::with_residual;
use crate::error::{Error, Result};
use crate::rng::{Draw, Stage as NoiseStage};
use crate::sampler::{Progress, SampleNoise, SamplingState};
use crate::train::{Augmentation, LowResolution};

/// How a clip is cut for the upsampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UpsampleSettings {
    /// Frames of a chunk; neighbours share one.
    pub chunk: usize,
    /// Side of a tile in pixels of the small clip; `None` takes whole frames.
    pub tile: Option<usize>,
}

impl UpsampleSettings {
    /// Chunks of `chunk` frames, in tiles of `tile` pixels of the small clip.
    ///
    /// # Errors
    /// [`Error::Input`] for a chunk of no frames, or tiles that would be all overlap.
    pub fn checked(chunk: usize, tile: Option<usize>) -> Result<Self> {
        if chunk == 0 || tile.is_some_and(|tile| tile <= 2 * TILE_OVERLAP || tile % 8 != 0) {
            return Err(Error::Input(format!(
                "chunks of {chunk} frames in tiles of {tile:?} pixels: expected at least one frame, and \
                 tiles of at least {} pixels, a multiple of 8",
                2 * TILE_OVERLAP + 8
            )));
        }
        Ok(Self { chunk, tile })
    }
}

/// Pixels of the small clip that neighbouring tiles share.
const TILE_OVERLAP: usize = 8;

/// A run over a clip.
#[derive(Debug)]
pub(crate) struct Upsampling {
    /// `[1, frames, 3, height, width]` in \[−1, 1\].
    low: Tensor<5>,
    augmentation: Augmentation,
    tokens: WishTokens,
    cut: Cut,
    /// Entries of the result along one pixel of the small clip: 4 in pixels, 1 in latents.
    ratio: usize,
    settings: RunSettings,
    state: SamplingState,
    noise: SampleNoise,
    result: Option<Tensor<5>>,
}

impl Upsampling {
    /// A run over `low`.
    pub(crate) fn new(
        stage: &StageModel,
        low: Tensor<5>,
        tokens: WishTokens,
        (seed, settings): (u64, UpsampleSettings),
    ) -> Result<Self> {
        let [_, frames, channels, h, w] = low.dims();
        let factor = stage.autoencoder.as_ref().map_or(1, |a| a.config.factor());
        let upscale = stage.config.upscale.unwrap_or(4);
        if channels != 3 || !upscale.is_multiple_of(factor) {
            return Err(Error::Config(format!(
                "the upsampler makes pictures {upscale} times as large of latents {factor} times as \
                 small, from {channels} channels: expected a multiple, and 3 channels"
            )));
        }
        let ratio = upscale / factor;
        let noise = noise_of(seed, NoiseStage::Upsampling);
        let run = RunSettings::of(stage);
        let shape = [1, frames, stage.channels, h * ratio, w * ratio];
        let initial = noise.tensor(Draw::Initial, shape, &stage.device)?;
        let level = match stage.config.noise_augmentation {
            None => NoiseLevel::CLEAN,
            Some(timestep) => stage.preconditioning.schedule.level(timestep),
        };
        let tile = |side: usize| settings.tile.map_or(side, |tile| tile.min(side));
        Ok(Self {
            augmentation: Augmentation {
                noise: noise.tensor(Draw::Augmentation, low.dims(), &stage.device)?,
                levels: vec![level],
            },
            cut: Cut {
                size: [frames, h, w],
                window: [settings.chunk.min(frames), tile(h), tile(w)],
                overlap: [1, TILE_OVERLAP, TILE_OVERLAP],
            },
            state: SamplingState::new(
                run.sampler.build(),
                stage.levels(run.sampler, run.steps)?,
                initial,
            ),
            settings: run,
            low,
            tokens,
            ratio,
            noise,
            result: None,
        })
    }

    /// Takes a step; `None` when the run is over.
    pub(crate) fn advance(&mut self, stage: &StageModel) -> Option<Result<Progress>> {
        let asked = Asked {
            low: &self.low,
            augmentation: &self.augmentation,
            tokens: &self.tokens,
            cut: &self.cut,
            ratio: self.ratio,
            settings: &self.settings,
        };
        let denoiser = |x: Tensor<5>, level: NoiseLevel| asked.estimate(stage, &x, level);
        let progress = self.state.advance(&denoiser, &mut self.noise)?;
        if let Ok(progress) = &progress {
            self.result = Some(progress.latents());
        }
        Some(progress)
    }

    /// The result; that of a model in latents is decoded frame by frame.
    pub(crate) fn frames(self, stage: &StageModel) -> Result<Vec<Frame>> {
        let result = self
            .result
            .ok_or_else(|| Error::Input("a run of no steps makes nothing".into()))?;
        let Some(part) = &stage.autoencoder else {
            let pixels = match stage.config.residual_scale {
                Some(scale) => with_residual(result, self.low, scale),
                None => result,
            };
            return pictures(vec![pixels.squeeze_dim(0)]);
        };
        // Large frames are bytes as soon as they can be.
        let latents = result.cast(stage.dtype);
        (0..latents.dims()[1])
            .map(|frame| {
                let pixels = decode_latents(part, &latents, (frame..frame + 1, frame..frame + 1))?;
                pixels_to_frame(pixels.squeeze_dim(0), 0)
            })
            .collect()
    }
}

/// What every step is asked.
struct Asked<'a> {
    low: &'a Tensor<5>,
    augmentation: &'a Augmentation,
    tokens: &'a WishTokens,
    cut: &'a Cut,
    ratio: usize,
    settings: &'a RunSettings,
}

impl Asked<'_> {
    /// The clean estimate of the whole clip, from those of its parts.
    fn estimate(&self, stage: &StageModel, x: &Tensor<5>, level: NoiseLevel) -> Result<Tensor<5>> {
        let mut blend = Blend::new(x.dims(), &x.device());
        let whole = Cut {
            size: [self.cut.size[0], x.dims()[3], x.dims()[4]],
            window: self.cut.window,
            overlap: [1, TILE_OVERLAP * self.ratio, TILE_OVERLAP * self.ratio],
        };
        for region in self.cut.regions() {
            let large = region.scaled(self.ratio);
            let part = large.of(x, 1);
            let told = self.told(stage, &region, part.dims());
            let part = guided(stage, &told, &self.settings.guidance, (part, level))?;
            let weights = whole.weights(&large, &x.device());
            blend.add(&large, part, weights);
        }
        Ok(blend.finish())
    }

    fn told(&self, stage: &StageModel, region: &Region, shape: [usize; 5]) -> Told {
        let low = LowResolution {
            pixels: region.of(self.low, 1),
            augmentation: Augmentation {
                noise: region.of(&self.augmentation.noise, 1),
                levels: self.augmentation.levels.clone(),
            },
        };
        Told::words(self.tokens, shape, &stage.device)
            .map(|example| example.low = Some(low.clone()))
    }
}
