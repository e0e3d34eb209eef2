//! A clip at several times its size: overlapping chunks of frames and tiles, whose estimates are
//! blended at every step under one noise, so that finished samples never have to be. Frames come out as
//! they are finished: what is held at full size does not grow with the clip.
//!
//! # Source
//! Blattmann et al. 2023, section 3.4.

use std::ops::Range;

use burn::tensor::Tensor;
use serde::Serialize;
use vldm_media::Frame;

use super::decode::decode_latents;
use super::edit::{EditProgress, pictures};
use super::picture::pixels_to_frame;
use super::regions::{Blend, Cut, Region};
use super::stage::StageModel;
use super::stage_run::{RunSettings, Told, guided};
use super::wavefront::{Wavefront, WavefrontSettings, WavefrontStep};
use super::wishes::WishTokens;
use crate::diffusion::residual::with_residual;
use crate::diffusion::{Guidance, NoiseLevel};
use crate::error::{Error, Result};
use crate::rng::{Draw, Stage as NoiseStage};
use crate::sampler::SampleNoise;
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

/// Frames that neighbouring chunks share.
const FRAME_OVERLAP: usize = 1;
/// Pixels of the small clip that neighbouring tiles share.
const TILE_OVERLAP: usize = 8;

/// A run over a clip; [`Upsampling::advance`] until it is over.
#[derive(Debug)]
pub(crate) struct Upsampling {
    wavefront: Wavefront,
    asked: Asked,
}

impl Upsampling {
    /// A run over `low`, `[1, frames, 3, height, width]` in \[−1, 1\].
    ///
    /// # Errors
    /// [`Error::Config`] for a model that this is not the input of, or a sampler that cannot do it.
    pub(crate) fn new(
        stage: &StageModel,
        low: Tensor<5>,
        tokens: WishTokens,
        (seed, settings): (u64, UpsampleSettings),
    ) -> Result<Self> {
        let [_, frames, channels, h, w] = low.dims();
        let factor = stage.autoencoder.as_ref().map_or(1, |a| a.config.factor());
        let upscale = stage.config.upscaling();
        if channels != 3 || !upscale.is_multiple_of(factor) {
            return Err(Error::Config(format!(
                "the upsampler makes pictures {upscale} times as large of latents {factor} times as \
                 small, from {channels} channels: expected a multiple, and 3 channels"
            )));
        }
        let ratio = upscale / factor;
        let run = RunSettings::of(stage);
        let wavefront = WavefrontSettings {
            plan: stage.levels(run.sampler, run.steps)?,
            sampler: run.sampler,
            seed,
            stage: NoiseStage::Upsampling,
            frames,
            window: settings.chunk,
            overlap: FRAME_OVERLAP,
            shape: [stage.channels, h * ratio, w * ratio],
        };
        let level = match stage.config.noise_augmentation {
            None => NoiseLevel::CLEAN,
            Some(timestep) => stage.preconditioning.schedule.level(timestep),
        };
        Ok(Self {
            wavefront: Wavefront::new(wavefront, &stage.device)?,
            asked: Asked {
                low,
                level,
                tokens,
                tile: settings.tile,
                ratio,
                seed,
                guidance: run.guidance,
            },
        })
    }

    /// Takes a step; `None` when the run is over.
    pub(crate) fn advance(&mut self, stage: &StageModel) -> Option<Result<EditProgress>> {
        let asked = &self.asked;
        let estimate = |span: &Range<usize>, x: Tensor<5>, level: NoiseLevel| {
            asked.estimate(stage, span, (&x, level))
        };
        let step = self.wavefront.advance(&estimate)?;
        Some(step.and_then(|step| match step {
            WavefrontStep::Evaluated => {
                let (done, of) = self.wavefront.progress();
                Ok(EditProgress::Stepped { done, of })
            }
            WavefrontStep::Finished(start, latents) => Ok(EditProgress::Frames(
                self.asked.frames(stage, start, latents)?,
            )),
        }))
    }
}

/// What every step is asked.
#[derive(Debug)]
struct Asked {
    /// `[1, frames, 3, height, width]` in \[−1, 1\].
    low: Tensor<5>,
    /// How noisy the small clip is made.
    level: NoiseLevel,
    tokens: WishTokens,
    /// Side of a tile in pixels of the small clip.
    tile: Option<usize>,
    /// Entries of the result along one pixel of the small clip: 4 in pixels, 1 in latents.
    ratio: usize,
    seed: u64,
    guidance: Guidance,
}

impl Asked {
    /// The clean estimate of a window of frames, from those of its tiles.
    fn estimate(
        &self,
        stage: &StageModel,
        span: &Range<usize>,
        (x, level): (&Tensor<5>, NoiseLevel),
    ) -> Result<Tensor<5>> {
        let low = self.low(stage, span)?;
        let [_, frames, _, h, w] = low.pixels.dims();
        let cut = |ratio: usize| {
            let tile = |side: usize| self.tile.map_or(side, |tile| tile.min(side)) * ratio;
            Cut {
                size: [frames, h * ratio, w * ratio],
                window: [frames, tile(h), tile(w)],
                overlap: [0, TILE_OVERLAP * ratio, TILE_OVERLAP * ratio],
            }
        };
        let whole = cut(self.ratio);
        let mut blend = Blend::new(x.dims(), &x.device());
        for region in cut(1).regions() {
            let large = region.scaled(self.ratio);
            let part = large.of(x, 1);
            let told = self.told(stage, &low, (&region, part.dims()));
            let part = guided(stage, &told, &self.guidance, (part, level))?;
            blend.add(&large, part, whole.weights(&large, &x.device()));
        }
        Ok(blend.finish())
    }

    /// Frames of the small clip, with their noise.
    fn low(&self, stage: &StageModel, span: &Range<usize>) -> Result<LowResolution> {
        let pixels = self.low.clone().narrow(1, span.start, span.len());
        let first_frame = span.start as u64;
        let noise = SampleNoise::from_frame(self.seed, first_frame, NoiseStage::Upsampling);
        Ok(LowResolution {
            augmentation: Augmentation {
                noise: noise.tensor(Draw::Augmentation, pixels.dims(), &stage.device)?,
                levels: vec![self.level],
            },
            pixels,
        })
    }

    fn told(
        &self,
        stage: &StageModel,
        low: &LowResolution,
        (region, shape): (&Region, [usize; 5]),
    ) -> Told {
        let low = LowResolution {
            pixels: region.of(&low.pixels, 1),
            augmentation: Augmentation {
                noise: region.of(&low.augmentation.noise, 1),
                levels: low.augmentation.levels.clone(),
            },
        };
        Told::words(&self.tokens, shape, &stage.device)
            .map(|example| example.low = Some(low.clone()))
    }

    /// Finished frames, the first of which is number `start`; those of a model in latents are decoded
    /// one by one.
    fn frames(&self, stage: &StageModel, start: usize, result: Tensor<5>) -> Result<Vec<Frame>> {
        let frames = result.dims()[1];
        let Some(part) = &stage.autoencoder else {
            let pixels = match stage.config.residual_scale {
                Some(scale) => {
                    let low = self.low.clone().narrow(1, start, frames);
                    with_residual(result, low, scale)
                }
                None => result,
            };
            return pictures(vec![pixels.squeeze_dim(0)]);
        };
        let latents = result.cast(stage.dtype);
        (0..frames)
            .map(|frame| {
                let pixels = decode_latents(part, &latents, (frame..frame + 1, frame..frame + 1))?;
                pixels_to_frame(pixels.squeeze_dim(0), 0)
            })
            .collect()
    }
}
