//! A request resolved against a stack: every number of the way from words to a large clip.
//!
//! # Source
//! Blattmann et al. 2023, section 3.3 and figure 5: key frames, two interpolations, decoder, upsampler.

use serde::{Deserialize, Serialize};
use vldm_media::Fps;

use super::interpolate::{FRAMES_AT_ONCE, factor, windows};
use super::memory::StageMemory;
use super::request::GenerateRequest;
use super::stack::{StackDescription, StageDescription};
use super::upsample::UpsampleSettings;
use super::wavefront::WavefrontSettings;
use super::wishes::SampleWishes;
use crate::diffusion::Guidance;
use crate::error::{Error, Result};
use crate::preset::Stage;
use crate::sampler::SamplerConfig;

/// Fewest key frames: what the model was trained on.
pub(super) const KEY_FRAMES: usize = 8;
/// How far temporal attention looks where there are more.
pub(super) const ATTENTION_DISTANCE: usize = 8;

/// Where the way from words to a large clip ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastStage {
    /// Key frames, decoded.
    KeyFrames,
    /// All frames, decoded.
    Interpolation,
    /// All frames at full size.
    Upsampler,
}

/// Every number of a run over a whole stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClipPlan {
    /// What is shown.
    #[serde(flatten)]
    pub wishes: SampleWishes,
    /// Where it ends.
    pub last: LastStage,
    /// Key frames that are generated.
    pub key_frames: usize,
    /// Passes of interpolation.
    pub interpolations: usize,
    /// Frames from one given frame to the next in each pass.
    pub factor: usize,
    /// Frames of the result; what is generated beyond them is trimmed.
    pub frames: usize,
    /// Frames per second of the result.
    pub fps: Fps,
    /// Width and height of the latents' pictures, in pixels.
    pub base_size: [usize; 2],
    /// How many times larger the result is.
    pub upscale: usize,
    /// Farthest frame that temporal attention of the key frames looks at.
    pub attention_distance: Option<usize>,
    /// Sampling steps of the key frames.
    pub steps: usize,
    /// The stepping rule of the key frames.
    pub sampler: SamplerConfig,
    /// How strongly the key frames follow the prompt.
    pub guidance: Guidance,
    /// The seeds, one per clip.
    pub seeds: Vec<u64>,
    /// Frames decoded at a time.
    pub decode_chunk: usize,
    /// How the upsampler cuts the clip.
    pub upsample: UpsampleSettings,
    /// Expected peak memory of each stage, weights and activations, in bytes.
    pub memory: Vec<StageMemory>,
    /// Calls of each stage's network, one frame counted as one.
    pub network_frames: Vec<(Stage, usize)>,
}

impl ClipPlan {
    /// Resolves `request` for a stack, up to stage `last`; without it, as far as the stack goes.
    ///
    /// # Errors
    /// [`Error::Input`] for what the stack cannot do, with what it can.
    pub fn new(
        stack: &StackDescription,
        request: &GenerateRequest,
        (last, bytes_per_value): (Option<LastStage>, u64),
    ) -> Result<Self> {
        request.validate()?;
        let last = reached(stack, last)?;
        let key = stack.needed(Stage::KeyFrames)?;
        check_wishes(request, key)?;
        let frames = Frames::of(stack, request, last)?;
        let upscale = match last {
            LastStage::Upsampler => stack.needed(Stage::Upsampler)?.config.upscaling(),
            _ => 1,
        };
        let base_size = base_size(key, request, upscale)?;
        let usual = &key.config.usual;
        let noise = key.model.noise.as_ref();
        let sampler = request
            .sampler
            .or(usual.sampler)
            .or(noise.map(|noise| noise.sampler));
        let upsampler = stack.stage(Stage::Upsampler);
        let chunk = upsampler.and_then(|stage| stage.config.usual.frames);
        let chunk = chunk.unwrap_or(8);
        let mut plan = Self {
            wishes: request.wishes(),
            last,
            key_frames: frames.key_frames,
            interpolations: frames.passes,
            factor: frames.factor,
            frames: frames.frames,
            fps: match request.fps {
                Some(fps) => fps,
                None => Fps::from_f64(frames.fps)?,
            },
            base_size,
            upscale,
            attention_distance: request
                .attention_distance
                .or((frames.key_frames > KEY_FRAMES).then_some(ATTENTION_DISTANCE)),
            steps: request.steps.or(usual.steps).unwrap_or(50),
            sampler: sampler.unwrap_or(SamplerConfig::Ddim { eta: 0.0 }),
            guidance: request
                .guidance
                .or(usual.guidance)
                .unwrap_or(Guidance::ClassifierFree { scale: 7.5 }),
            seeds: (0..request.count as u64)
                .map(|index| request.seed.wrapping_add(index))
                .collect(),
            decode_chunk: request.decode_chunk.unwrap_or(14).min(frames.frames),
            upsample: UpsampleSettings::checked(chunk, request.tile)?,
            memory: Vec::new(),
            network_frames: Vec::new(),
        };
        plan.check_steps(stack)?;
        plan.memory = plan.memory_of(stack, bytes_per_value);
        plan.network_frames = plan.network_frames_of(stack);
        Ok(plan)
    }

    /// Whether every stage can take its steps.
    fn check_steps(&self, stack: &StackDescription) -> Result<()> {
        let check = |stage, asked| stack.needed(stage)?.check_steps(stage, asked);
        check(Stage::KeyFrames, Some((self.sampler, self.steps)))?;
        if self.interpolations > 0 {
            check(Stage::Interpolation, None)?;
        }
        if self.last == LastStage::Upsampler {
            check(Stage::Upsampler, None)?;
        }
        Ok(())
    }

    /// The largest need of a stage, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        StageMemory::peak(&self.memory)
    }

    /// Frames that are generated before the tail is trimmed.
    #[must_use]
    pub fn generated_frames(&self) -> usize {
        (0..self.interpolations).fold(self.key_frames, |frames, _| (frames - 1) * self.factor + 1)
    }

    /// Frames of the result from one key frame to the next.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.factor.pow(self.interpolations as u32)
    }

    /// Width and height of the result.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        self.base_size.map(|side| side * self.upscale)
    }

    fn memory_of(&self, stack: &StackDescription, bytes: u64) -> Vec<StageMemory> {
        let mut needs = Vec::new();
        let base = self.base_size;
        if let Some(stage) = stack.stage(Stage::KeyFrames) {
            let frames = (self.key_frames, base, bytes);
            needs.push(StageMemory::sampling(Stage::KeyFrames, stage, frames));
            let decoder = stack.stage(Stage::Decoder);
            let decoder = decoder.filter(|decoder| decoder.model.autoencoder.is_some());
            let frames = (self.decode_chunk, base, bytes);
            needs.extend(StageMemory::decoding(decoder.unwrap_or(stage), frames));
        }
        if let (true, Some(stage)) = (self.interpolations > 0, stack.stage(Stage::Interpolation)) {
            let frames = (FRAMES_AT_ONCE, base, bytes);
            needs.push(StageMemory::sampling(Stage::Interpolation, stage, frames));
        }
        if let (LastStage::Upsampler, Some(stage)) = (self.last, stack.stage(Stage::Upsampler)) {
            let tile = base
                .map(|side| self.upsample.tile.map_or(side, |tile| tile.min(side)) * self.upscale);
            let frames = (self.upsample.chunk, tile, bytes);
            let mut need = StageMemory::sampling(Stage::Upsampler, stage, frames);
            need.activations += self.clip_under_way(stage);
            needs.push(need);
        }
        needs
    }

    /// What the upsampler holds besides a window at work: of frames on the way their latents, the sum of
    /// parts and its weights, and an estimate; of the clip its small pixels, and in the end the frames
    /// in bytes.
    fn clip_under_way(&self, stage: &StageDescription) -> u64 {
        let channels = stage
            .model
            .unet
            .as_ref()
            .map_or(3, |unet| unet.config.out_channels);
        let area = |size: [usize; 2]| size.iter().product::<usize>() as u64;
        let entries = area(self.size()) / (stage.factor() * stage.factor()) as u64;
        let steps = stage.config.usual.steps.unwrap_or(50);
        let held = WavefrontSettings::frames_under_way(self.frames, self.upsample.chunk, steps);
        let of_frame = entries * (3 * channels as u64 + 1) * 4;
        let of_clip = area(self.base_size) * 3 * 4 + area(self.size()) * 3;
        held as u64 * of_frame + self.frames as u64 * of_clip
    }

    fn network_frames_of(&self, stack: &StackDescription) -> Vec<(Stage, usize)> {
        let steps = self.sampler.network_calls(self.steps);
        let mut calls = vec![(
            Stage::KeyFrames,
            self.key_frames * steps * self.guidance.branches(),
        )];
        if let Some(stage) = stack.stage(Stage::Interpolation) {
            let frames = ((self.frames - 1).div_ceil(self.stride()) + 1).min(self.key_frames);
            let windows = windows(frames - 1, self.factor, self.interpolations as u32);
            calls.push((
                Stage::Interpolation,
                windows * (self.factor + 1) * stage.calls_per_frame(),
            ));
        }
        if let (LastStage::Upsampler, Some(stage)) = (self.last, stack.stage(Stage::Upsampler)) {
            calls.push((Stage::Upsampler, self.frames * stage.calls_per_frame()));
        }
        calls
    }
}

impl StageDescription {
    /// Pixels of a picture along one entry of what is denoised.
    pub(crate) fn factor(&self) -> usize {
        let autoencoder = self.model.autoencoder.as_ref();
        autoencoder.map_or(1, |autoencoder| autoencoder.config.factor())
    }

    /// Calls of the network for each frame: steps, and branches of guidance.
    pub(super) fn calls_per_frame(&self) -> usize {
        let usual = &self.config.usual;
        usual.steps.unwrap_or(50) * usual.guidance.as_ref().map_or(1, Guidance::branches)
    }
}

fn check_wishes(request: &GenerateRequest, stage: &StageDescription) -> Result<()> {
    let wishes = request.wishes();
    wishes.as_slice().iter().try_for_each(|wishes| {
        if stage.personal.is_some() {
            wishes.impersonal()?;
        }
        wishes.check_for_clip(&stage.model)
    })
}

/// As far as the stack goes, or as was asked.
fn reached(stack: &StackDescription, asked: Option<LastStage>) -> Result<LastStage> {
    let has = |stage| stack.stage(stage).is_some();
    match asked {
        Some(LastStage::Upsampler) => {
            stack.needed(Stage::Upsampler)?;
        }
        Some(LastStage::Interpolation) => {
            stack.needed(Stage::Interpolation)?;
        }
        _ => {}
    }
    Ok(asked.unwrap_or(match () {
        () if has(Stage::Upsampler) => LastStage::Upsampler,
        () if has(Stage::Interpolation) => LastStage::Interpolation,
        () => LastStage::KeyFrames,
    }))
}

/// How many frames at which rate.
struct Frames {
    key_frames: usize,
    passes: usize,
    factor: usize,
    frames: usize,
    fps: f64,
}

impl Frames {
    fn of(stack: &StackDescription, request: &GenerateRequest, last: LastStage) -> Result<Self> {
        let key = stack.needed(Stage::KeyFrames)?;
        let interpolation = stack
            .stage(Stage::Interpolation)
            .filter(|_| last > LastStage::KeyFrames);
        if let Some(stage) = interpolation {
            check_wishes(request, stage)?;
        }
        let (passes, factor) = match interpolation {
            None => (0, 1),
            Some(stage) => (
                stage.config.frame_rates.len(),
                factor(stage.config.usual.frames)?,
            ),
        };
        let stride = factor.pow(passes as u32);
        let usual = key.config.usual.frames.unwrap_or(KEY_FRAMES);
        let frames = request.frames.unwrap_or((usual - 1) * stride + 1);
        if frames < 2 && passes > 0 {
            return Err(Error::Input(
                "one frame from the whole stack: ask for `--until key-frames` with `--frames 1`, or \
                 for more frames"
                    .into(),
            ));
        }
        let rates = interpolation.map(|stage| stage.config.frame_rates.as_slice());
        let rate = rates.and_then(|rates| rates.last().copied());
        let key_rate = key
            .config
            .frame_rates
            .first()
            .copied()
            .or(key.config.usual.fps);
        Ok(Self {
            key_frames: match frames {
                1 => 1,
                frames => ((frames - 1).div_ceil(stride) + 1).max(usual.min(KEY_FRAMES)),
            },
            passes,
            factor,
            frames,
            fps: rate.or(key_rate).unwrap_or(8.0),
        })
    }
}

/// Width and height before the upsampler, in pixels.
fn base_size(
    key: &StageDescription,
    request: &GenerateRequest,
    upscale: usize,
) -> Result<[usize; 2]> {
    let usual = &key.config.usual;
    let multiple = key.factor() * upscale;
    let side = |name: &str, asked: Option<usize>, usual: Option<usize>| {
        let side = asked.unwrap_or(usual.unwrap_or(64) * upscale);
        if !side.is_multiple_of(multiple) {
            let nearest = ((side + multiple / 2) / multiple).max(1) * multiple;
            return Err(Error::Input(format!(
                "{name} is {side}, expected a multiple of {multiple} for this stack; the nearest is \
                 {nearest}"
            )));
        }
        Ok(side / upscale)
    };
    Ok([
        side("width", request.width, usual.width)?,
        side("height", request.height, usual.height)?,
    ])
}
