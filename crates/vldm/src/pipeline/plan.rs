//! A request resolved against a model: every number that a run will use, before it starts.

use std::path::Path;

use serde::Serialize;
use vldm_media::Fps;

use super::clip_plan::{ATTENTION_DISTANCE, KEY_FRAMES};
use super::memory::{MemoryEstimate, decoder_activations, unet_activations};
use super::personal;
use super::request::GenerateRequest;
use super::wishes::SampleWishes;
use crate::diffusion::{Guidance, NoiseSchedule, StepPlan};
use crate::error::{Error, Result};
use crate::model::{
    AutoencoderDescription, ModelDescription, NoiseDescription, UNetDescription, UsualSettings,
    temporal_parameters,
};
use crate::sampler::SamplerConfig;
use crate::unet::VectorConfig;

/// What a model can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Words, labels or boxes to a picture; with temporal layers, words and labels to a clip.
    TextToVideo,
    /// A picture to a clip (Stable Video Diffusion).
    ImageToVideo,
}

/// Every number of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// What the model makes.
    pub task: Task,
    /// What is shown, where the model starts from no picture.
    #[serde(flatten)]
    pub wishes: SampleWishes,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Number of frames.
    pub frames: usize,
    /// Frames per second of the file.
    #[serde(serialize_with = "fps_as_text")]
    pub fps: Fps,
    /// Channels, height and width of a frame's latents.
    pub latent_shape: [usize; 3],
    /// The stepping rule.
    pub sampler: SamplerConfig,
    /// Sampling steps.
    pub steps: usize,
    /// How strongly the condition is followed.
    pub guidance: Guidance,
    /// Calls of the denoising network for each sample.
    pub network_calls: usize,
    /// How much motion (Stable Video Diffusion).
    pub motion_bucket: f64,
    /// Noise added to the picture (Stable Video Diffusion).
    pub noise_augmentation: f64,
    /// The seed of each sample.
    pub seeds: Vec<u64>,
    /// Frames decoded at a time.
    pub decode_chunk: usize,
    /// Farthest frame that temporal attention looks at.
    pub attention_distance: Option<usize>,
    /// Expected peak memory, in bytes.
    pub memory: MemoryEstimate,
    /// The noise levels of the run.
    #[serde(skip)]
    pub levels: StepPlan,
}

/// Channels of a picture.
const RGB: usize = 3;

/// The parts of a model that every task needs.
struct Parts<'a> {
    unet: &'a UNetDescription,
    /// None where the network diffuses pixels.
    autoencoder: Option<&'a AutoencoderDescription>,
    noise: &'a NoiseDescription,
    task: Task,
    /// Whether the U-Net has temporal layers, its own or from a file.
    temporal: bool,
    /// What the stack says.
    usual: &'a UsualSettings,
}

impl Plan {
    /// Resolves `request` for a model.
    ///
    /// `added_temporal`: the file of temporal layers that will be put onto the U-Net. `bytes_per_value`:
    /// 4 for f32, 2 for bf16.
    ///
    /// # Errors
    /// [`Error::Input`] for what the model cannot do, with what it can.
    pub fn new(
        description: &ModelDescription,
        request: &GenerateRequest,
        added_temporal: Option<&Path>,
        bytes_per_value: u64,
    ) -> Result<Self> {
        request.validate()?;
        let parts = Parts::of(description, added_temporal.is_some())?;
        let frames = parts.frames(request)?;
        parts.check_wishes(description, request, frames)?;
        let (width, height) = parts.size(request)?;
        let factor = parts.factor();
        let latent = [height / factor, width / factor];
        let sampler = request.sampler.or(parts.usual.sampler);
        let sampler = sampler.unwrap_or(parts.noise.sampler);
        let steps = request
            .steps
            .or(parts.usual.steps)
            .unwrap_or(match parts.task {
                Task::TextToVideo => 50,
                Task::ImageToVideo => 25,
            });
        let guidance = parts.guidance(request);
        let schedule = NoiseSchedule::new(parts.noise.schedule)?;
        let levels = sampler.plan(&schedule, &parts.noise.steps_for(&sampler), steps)?;
        let decode_chunk = request.decode_chunk.unwrap_or(14).min(frames);
        let layers = added_temporal.map_or(0, temporal_parameters) as u64;
        let memory = MemoryEstimate {
            weights: description.weight_bytes(bytes_per_value) + layers * bytes_per_value,
            ..parts.activations([frames, decode_chunk], [height, width], bytes_per_value)
        };
        Ok(Self {
            task: parts.task,
            wishes: request.wishes(),
            width,
            height,
            frames,
            fps: parts.fps(request)?,
            latent_shape: [parts.unet.config.out_channels, latent[0], latent[1]],
            network_calls: sampler.network_calls(steps) * guidance.branches(),
            sampler,
            steps,
            guidance,
            motion_bucket: request.motion_bucket.unwrap_or(127.0),
            noise_augmentation: request.noise_augmentation.unwrap_or(0.02),
            seeds: (0..request.count as u64)
                .map(|index| request.seed.wrapping_add(index))
                .collect(),
            decode_chunk,
            attention_distance: request
                .attention_distance
                .or(parts.attention_distance(frames)),
            memory,
            levels,
        })
    }
}

impl Plan {
    /// The same with a personal model in the place of the one that the plan is for.
    ///
    /// # Errors
    /// [`Error::Input`] when it cannot stand in, or a prompt's parentheses do not pair.
    pub fn with_personal(
        mut self,
        personal: &ModelDescription,
        original: &ModelDescription,
        bytes_per_value: u64,
    ) -> Result<Self> {
        personal::check(personal, original)?;
        for wishes in self.wishes.as_slice() {
            wishes.impersonal()?;
        }
        self.memory.weights += personal.weight_bytes(bytes_per_value);
        Ok(self)
    }
}

impl<'a> Parts<'a> {
    fn of(description: &'a ModelDescription, added_temporal: bool) -> Result<Self> {
        let parts = (
            &description.unet,
            &description.autoencoder,
            &description.noise,
        );
        let (Some(unet), autoencoder, Some(noise)) = parts else {
            return Err(not_whole(description));
        };
        if autoencoder.is_none() && unet.config.out_channels != RGB {
            return Err(not_whole(description));
        }
        let latents = match autoencoder {
            Some(autoencoder) => autoencoder.config.latent_channels,
            None => RGB,
        };
        let channels = unet.config.in_channels;
        let has_picture = description.image_encoder.is_some();
        let reads = description.text_encoder.is_some() || description.conditions.is_some();
        let told = reads || unet.config.context_width.is_none();
        let task = if has_picture && channels == 2 * latents {
            Task::ImageToVideo
        } else if told && channels == latents {
            if unet.config.vector != VectorConfig::None {
                return Err(Error::Input(format!(
                    "{}: its U-Net is told numbers or a class beside the noise level, which `generate` \
                     has not for a model of words",
                    description.path.display()
                )));
            }
            Task::TextToVideo
        } else {
            return Err(Error::Input(format!(
                "{} ({}): a U-Net of {channels} input channels for latents of {latents} is neither \
                 that of an image model whose conditions vldm reads nor Stable Video Diffusion's, \
                 which `generate` runs",
                description.path.display(),
                description.kind
            )));
        };
        let temporal =
            unet.temporal.is_some() || added_temporal || description.temporal_file.is_some();
        Ok(Self {
            usual: &description.usual,
            unet,
            autoencoder: autoencoder.as_ref(),
            noise,
            task,
            temporal,
        })
    }

    fn check_wishes(
        &self,
        model: &ModelDescription,
        request: &GenerateRequest,
        frames: usize,
    ) -> Result<()> {
        let wishes = request.wishes();
        let mut wishes = wishes.as_slice().iter();
        match (self.task, frames) {
            (Task::ImageToVideo, _) => Ok(()),
            (Task::TextToVideo, 1) => wishes.try_for_each(|wishes| wishes.check(model)),
            (Task::TextToVideo, _) => wishes.try_for_each(|wishes| wishes.check_for_clip(model)),
        }
    }

    fn guidance(&self, request: &GenerateRequest) -> Guidance {
        let asked = request.guidance.or(self.usual.guidance);
        asked.unwrap_or(match self.task {
            Task::TextToVideo => Guidance::ClassifierFree { scale: 7.5 },
            Task::ImageToVideo => Guidance::PerFrame {
                first: 1.0,
                last: 3.0,
            },
        })
    }

    /// Memory of a network call and of decoding one chunk; no weights.
    fn activations(
        &self,
        [frames, decode_chunk]: [usize; 2],
        [height, width]: [usize; 2],
        bytes_per_value: u64,
    ) -> MemoryEstimate {
        let factor = self.factor();
        let latent = [height / factor, width / factor];
        let unet = &self.unet.config;
        MemoryEstimate {
            weights: 0,
            sampling: unet_activations(unet, frames, latent, bytes_per_value),
            decoding: self.autoencoder.map_or(0, |autoencoder| {
                let size = [height, width];
                decoder_activations(&autoencoder.config, decode_chunk, size, bytes_per_value)
            }),
        }
    }

    /// Pixels of a picture along one entry of what is denoised.
    fn factor(&self) -> usize {
        self.autoencoder
            .map_or(1, |autoencoder| autoencoder.config.factor())
    }

    fn fps(&self, request: &GenerateRequest) -> Result<Fps> {
        match (request.fps, self.usual.fps, self.task) {
            (Some(fps), ..) => Ok(fps),
            (None, Some(fps), _) => Ok(Fps::from_f64(fps)?),
            (None, None, Task::ImageToVideo) => Ok(Fps::new(7, 1)?),
            (None, None, Task::TextToVideo) => Ok(Fps::new(8, 1)?),
        }
    }

    /// Of more frames than the layers over time have learnt from, they see as many as then: the clip is
    /// made convolutionally in time (Blattmann et al. 2023, appendix D).
    fn attention_distance(&self, frames: usize) -> Option<usize> {
        let is_longer = self.task == Task::TextToVideo && frames > self.learnt_frames();
        is_longer.then_some(ATTENTION_DISTANCE)
    }

    fn learnt_frames(&self) -> usize {
        self.unet.num_frames.unwrap_or(KEY_FRAMES)
    }

    fn frames(&self, request: &GenerateRequest) -> Result<usize> {
        let usual = match self.temporal {
            true => self.learnt_frames(),
            false => 1,
        };
        let frames = request.frames.or(self.usual.frames).unwrap_or(usual);
        if frames > 1 && !self.temporal {
            return Err(Error::Input(format!(
                "{frames} frames from an image model: add temporal layers (`--temporal FILE`), or \
                 ask for `--frames 1`"
            )));
        }
        Ok(frames)
    }

    fn size(&self, request: &GenerateRequest) -> Result<(usize, usize)> {
        let factor = self.factor();
        let [height, width] = self.unet.sample_size.unwrap_or([64; 2]);
        let (width, height) = match self.task {
            Task::TextToVideo => (width * factor, height * factor),
            Task::ImageToVideo => (1024, 576),
        };
        let size = (
            request.width.or(self.usual.width).unwrap_or(width),
            request.height.or(self.usual.height).unwrap_or(height),
        );
        for (name, value) in [("width", size.0), ("height", size.1)] {
            if value % factor != 0 {
                let below = value / factor * factor;
                let nearest = if value - below <= factor / 2 && below > 0 {
                    below
                } else {
                    below + factor
                };
                return Err(Error::Input(format!(
                    "{name} is {value}, expected a multiple of {factor} for this model; the nearest \
                     is {nearest}"
                )));
            }
        }
        Ok(size)
    }
}

fn not_whole(description: &ModelDescription) -> Error {
    Error::Input(format!(
        "{} ({}) is not a whole model: generating needs a U-Net, an autoencoder (unless it diffuses \
         pixels) and a scheduler_config.json",
        description.path.display(),
        description.kind
    ))
}

fn fps_as_text<S: serde::Serializer>(fps: &Fps, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(&fps.to_string())
}
