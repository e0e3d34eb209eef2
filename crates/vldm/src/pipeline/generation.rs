//! Running a plan, step by step.

use burn::tensor::{Tensor, TensorData};
use vldm_media::{Clip, Filter, Frame};

use super::decode::{DecodeChunks, decode_latents};
use super::inputs::GivenTensors;
use super::picture::{frame_to_pixels, pixels_to_frame};
use super::plan::{Plan, Task};
use super::wishes::unread;
use crate::conditioning::clip_image::clip_image;
use crate::diffusion::{NoiseSchedule, Preconditioning};
use crate::error::{Error, Result};
use crate::layout::{fold_frames, unfold_frames};
use crate::model::{Model, VideoAutoencoder, VideoUNet};
use crate::nn::temporal::TemporalContext;
use crate::rng::{Draw, Stage};
use crate::sampler::{GivenNoise, SampleNoise, Sampler, StepNoise};
use crate::text::input_ids;
use crate::unet::{UNetInput, Vector};

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
    sampler: Box<dyn Sampler>,
    noise: Noise,
    condition: Condition,
    x: Tensor<5>,
    step: usize,
}

#[derive(Debug)]
enum Noise {
    Seeded(SampleNoise),
    Given(GivenNoise),
}

/// What the network is told, and what it is told in the unconditional branch.
#[derive(Debug)]
struct Condition {
    /// `[1, tokens, width]`
    tokens: Tensor<3>,
    unconditional: Tensor<3>,
    picture: Option<PictureCondition>,
}

#[derive(Debug)]
struct PictureCondition {
    /// `[1, frames, channels, height, width]`, not scaled.
    latents: Tensor<5>,
    /// `[1, 3]`: fps − 1, motion bucket, noise augmentation.
    scalars: Tensor<2>,
}

/// The model with the parts that the plan needs.
#[derive(Debug)]
struct Runner<'m> {
    model: &'m Model,
    unet: &'m VideoUNet,
    autoencoder: &'m VideoAutoencoder,
    preconditioning: Preconditioning,
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
        let missing = || Error::Input("the model lacks a U-Net, autoencoder or schedule".into());
        match (plan.task, &picture) {
            (Task::ImageToVideo, None) => {
                return Err(Error::Input(
                    "this model turns a picture into a clip: give one with `--image`".into(),
                ));
            }
            (Task::TextToVideo, Some(_)) => {
                return Err(Error::Input(
                    "this model reads text only: leave out `--image`, or choose an image-to-video \
                     model"
                        .into(),
                ));
            }
            _ => {}
        }
        let noise = model.description.noise.as_ref().ok_or_else(missing)?;
        let preconditioning = Preconditioning {
            parameterization: noise.parameterization,
            schedule: NoiseSchedule::new(noise.schedule)?,
        };
        let unet = model.unet.as_ref().ok_or_else(missing)?;
        if plan.frames > 1 {
            unet.check_frames(plan.frames)?;
        }
        let runner = Runner {
            model,
            unet,
            autoencoder: model.autoencoder.as_ref().ok_or_else(missing)?,
            preconditioning,
            plan,
        };
        let warnings = runner.warnings();
        Ok(Self {
            runner,
            given,
            picture,
            next_sample: 0,
            state: State::BetweenSamples,
            warnings,
        })
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

    fn sample_step(&mut self, mut run: SamplingState) -> Result<(Progress, State)> {
        let sample = self.next_sample;
        let steps = self.runner.plan.levels.num_steps();
        if run.step == steps {
            let last = self.runner.plan.levels.levels()[steps];
            // In the variable that the autoencoder reads; the same where no noise is left.
            let latents = match last.sigma == 0.0 {
                true => run.x,
                false => run.x.mul_scalar(last.alpha()),
            };
            let run = DecodingState {
                latents: latents.clone(),
                chunk: 0,
                pixels: Vec::new(),
            };
            let state = State::Decoding(Box::new(run));
            return Ok((Progress::Latents { sample, latents }, state));
        }
        let denoised = self.runner.step(&mut run)?;
        run.step += 1;
        let progress = Progress::Sampled {
            sample,
            step: run.step,
            steps,
            denoised,
        };
        Ok((progress, State::Sampling(Box::new(run))))
    }

    fn decode_step(&mut self, mut run: DecodingState) -> Result<(Progress, State)> {
        let Plan {
            frames,
            decode_chunk,
            ..
        } = self.runner.plan;
        let part = self.runner.autoencoder;
        let chunks = DecodeChunks::new(frames, decode_chunk, part.temporal.is_some());
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
        let pixels = decode_latents(part, &latents, ranges)?;
        run.pixels.push(pixels.cast(burn::tensor::DType::F32));
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
    fn warnings(&self) -> Vec<String> {
        let texts = [self.plan.prompt.as_str(), &self.plan.negative_prompt];
        match &self.model.tokenizer {
            Some(tokenizer) => unread(tokenizer, texts),
            None => Vec::new(),
        }
    }

    /// Everything that a sample needs before its first step.
    fn start(
        &self,
        sample: usize,
        picture: Option<&Frame>,
        given: &GivenTensors,
    ) -> Result<SamplingState> {
        let stage = match self.plan.frames {
            1 => Stage::Image,
            _ => Stage::KeyFrames,
        };
        let [c, h, w] = self.plan.latent_shape;
        let frames = self.plan.frames;
        let seeded = SampleNoise::single(self.plan.seeds[sample], stage);
        let noise = match given.latents_of(sample, [frames, c, h, w])? {
            Some(latents) => latents.unsqueeze_dim(0),
            None => seeded.tensor(Draw::Initial, [1, frames, c, h, w], &self.model.device)?,
        };
        let condition = match picture {
            None => self.text_condition()?,
            Some(picture) => self.picture_condition(picture, &seeded, given)?,
        };
        Ok(SamplingState {
            sampler: self.plan.sampler.build(),
            noise: match given.steps_of(sample, frames)? {
                Some(steps) => Noise::Given(GivenNoise { steps }),
                None => Noise::Seeded(seeded),
            },
            condition,
            x: noise.mul_scalar(self.plan.levels.init_scale()),
            step: 0,
        })
    }

    fn text_condition(&self) -> Result<Condition> {
        let (Some(encoder), Some(tokenizer)) = (&self.model.text_encoder, &self.model.tokenizer)
        else {
            return Err(Error::Input("the model has no text encoder".into()));
        };
        let encode = |text: &str| -> Result<Tensor<3>> {
            let ids = input_ids(&[tokenizer.encode(text)], &self.model.device)?;
            Ok(encoder.forward(ids))
        };
        Ok(Condition {
            tokens: encode(&self.plan.prompt)?,
            unconditional: encode(&self.plan.negative_prompt)?,
            picture: None,
        })
    }

    /// The picture's embedding, its latents with augmentation noise, and the micro-conditioning.
    /// Without the picture, embedding and latents are zero and the scalars stay.
    ///
    /// Source: Stable Video Diffusion (arXiv:2311.15127), appendix D.3.
    fn picture_condition(
        &self,
        picture: &Frame,
        seeded: &SampleNoise,
        given: &GivenTensors,
    ) -> Result<Condition> {
        let Some(encoder) = &self.model.image_encoder else {
            return Err(Error::Input("the model has no image encoder".into()));
        };
        let (device, dtype) = (&self.model.device, self.model.dtype);
        let frames = self.plan.frames;
        let size = self
            .model
            .description
            .image_encoder
            .as_ref()
            .map_or(224, |c| c.image_size);
        let sides = [picture.height() as usize, picture.width() as usize];
        let values: Vec<f32> = frame_to_pixels(picture, device)
            .into_data()
            .try_to_vec()
            .map_err(|error| Error::Backend(format!("the picture cannot be read: {error:?}")))?;
        let values = clip_image(&values, sides, size)?;
        let pixels = TensorData::new(values, [1, 3, size, size]);
        let embedding = encoder.forward(Tensor::<4>::from_data(pixels, device).cast(dtype));

        let latents = self.picture_latents(picture, seeded, given)?;
        let [_, c, h, w] = latents.dims();
        let scalars = [
            self.plan.fps.as_f64() - 1.0,
            self.plan.motion_bucket,
            self.plan.noise_augmentation,
        ];
        let tokens: Tensor<3> = embedding.unsqueeze_dim(1); // [1, 1, width]
        Ok(Condition {
            unconditional: tokens.zeros_like(),
            tokens,
            picture: Some(PictureCondition {
                latents: latents
                    .reshape([1, 1, c, h, w])
                    .expand([1, frames, c, h, w]),
                scalars: Tensor::<1>::from_floats(scalars.map(|v| v as f32), device).unsqueeze(),
            }),
        })
    }

    /// The latents of the picture with its augmentation noise, not scaled.
    fn picture_latents(
        &self,
        picture: &Frame,
        seeded: &SampleNoise,
        given: &GivenTensors,
    ) -> Result<Tensor<4>> {
        let (device, dtype) = (&self.model.device, self.model.dtype);
        let Plan { width, height, .. } = self.plan;
        let resized = vldm_media::resize(picture, width as u32, height as u32, Filter::Lanczos)?;
        let noise = match &given.image_noise {
            Some(noise) if noise.dims() == [1, 3, height, width] => noise.clone(),
            Some(noise) => {
                return Err(Error::Input(format!(
                    "the given image noise has the shape {:?}, expected [1, 3, {height}, {width}]",
                    noise.dims()
                )));
            }
            None => seeded
                .tensor(Draw::Augmentation, [1, 1, 3, height, width], device)?
                .squeeze_dim(1),
        };
        let strength = self.plan.noise_augmentation;
        let pixels = frame_to_pixels(&resized, device) + noise.mul_scalar(strength);
        Ok(self
            .autoencoder
            .autoencoder
            .encode(pixels.cast(dtype))
            .mode())
    }

    /// One step of the sampler; returns the clean estimate.
    fn step(&self, run: &mut SamplingState) -> Result<Tensor<5>> {
        let Some(step) = self.plan.levels.step(run.step) else {
            return Err(Error::Input("the sampling run is already over".into()));
        };
        let condition = &run.condition;
        let denoiser = self
            .preconditioning
            .wrap(|x, c_noise| self.predict(condition, x, c_noise));
        let noise: &mut dyn StepNoise = match &mut run.noise {
            Noise::Seeded(noise) => noise,
            Noise::Given(noise) => noise,
        };
        let stepped = run.sampler.step(&denoiser, run.x.clone(), step, noise)?;
        let finite: bool = stepped.x.clone().is_finite().all().into_scalar();
        if !finite {
            return Err(Error::NonFinite { step: step.index });
        }
        run.x = stepped.x;
        Ok(stepped.denoised)
    }

    /// The guided prediction of the network. The branches run one after the other: the result is
    /// the same as in one batch, at half the memory.
    fn predict(&self, condition: &Condition, x: Tensor<5>, c_noise: f64) -> Result<Tensor<5>> {
        let guidance = &self.plan.guidance;
        let conditional = self.network(condition, true, x.clone(), c_noise);
        if !guidance.needs_unconditional() {
            return Ok(conditional);
        }
        let unconditional = self.network(condition, false, x, c_noise);
        Ok(guidance.combine(unconditional, conditional))
    }

    fn network(&self, condition: &Condition, given: bool, x: Tensor<5>, c_noise: f64) -> Tensor<5> {
        let dtype = self.model.dtype;
        let frames = self.plan.frames;
        let tokens = match given {
            true => condition.tokens.clone(),
            false => condition.unconditional.clone(),
        };
        let (x, vector) = match &condition.picture {
            None => (x, Vector::None),
            Some(picture) => {
                let latents = match given {
                    true => picture.latents.clone(),
                    false => picture.latents.zeros_like(),
                };
                let x = Tensor::cat(vec![x, latents.cast(burn::tensor::DType::F32)], 2);
                (x, Vector::Scalars(picture.scalars.clone()))
            }
        };
        let input = UNetInput {
            sample: fold_frames(x.cast(dtype)),
            timestep: Tensor::from_floats([c_noise as f32], &self.model.device),
            context: Some(tokens.clone()),
            vector,
        };
        let output = match &self.unet.temporal {
            Some(layers) if frames > 1 || condition.picture.is_some() => {
                let time = TemporalContext {
                    frames,
                    first_frame: 0,
                    tokens: Some(tokens),
                    max_distance: self.plan.attention_distance,
                    observed: None,
                };
                self.unet.unet.forward_video(input, layers, &time)
            }
            _ => self.unet.unet.forward(input),
        };
        unfold_frames(output, frames).cast(burn::tensor::DType::F32)
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
