//! From clips to what a stage learns from.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use super::adversarial::Clips;
use super::cache::LatentCache;
use super::draws::{Choice, Draws};
use super::example::{
    Augmentation, Example, Given, LowResolution, TemporalWords, Words, frame_weights,
};
use super::latents::{is_encoded, no_pixels};
use super::learner::Learner;
use super::networks::Networks;
use super::optimizer::OptimizerConfig;
use super::recipe::Recipe;
use super::run::dtype;
use super::schedule::Schedule;
use super::stage::TrainingStage;
use crate::conditioning::labels::LabelConfig;
use crate::data::Sample;
use crate::diffusion::residual::residual;
use crate::diffusion::{NoiseLevel, NoiseLevelSampling, NoiseSchedule, Preconditioning};
use crate::error::{Error, Result};
use crate::pipeline::frame_to_pixels;
use crate::preset::{ContextFrames, Preset};
use crate::text::{Tokenizer, input_ids};

/// Makes examples of samples, as a recipe says.
#[derive(Debug)]
pub(crate) struct Preparation {
    pub(crate) stage: TrainingStage,
    pub(crate) preset: Preset,
    recipe: Recipe,
    pub(super) tokenizer: Option<Tokenizer>,
    /// What the networks predict, and the levels they know; `None` in adversarial stages.
    pub(crate) preconditioning: Option<Preconditioning>,
    pub(super) device: Device,
    pub(super) only_clip: Option<OnlyClip>,
    /// Where prompts have been encoded already.
    pub(crate) prompts: Option<Arc<LatentCache>>,
}

/// The clip that every sample is, where there is but one: it is not read and encoded again and again.
#[derive(Debug)]
pub(super) struct OnlyClip {
    /// `[1, frames, 3, height, width]`
    pixels: Tensor<5>,
    /// Scaled latents, `[1, frames, channels, height, width]`; the pixels without an autoencoder.
    pub(super) latents: Tensor<5>,
}

/// A sample and the random numbers that belong to it.
pub(crate) type Drawn<'a> = (&'a Sample, Draws);

impl Preparation {
    /// For a recipe, whose model is `preset` by now, with the tokenizer of its text encoder.
    pub(crate) fn new(
        recipe: &Recipe,
        (preset, tokenizer): (Preset, Option<Tokenizer>),
        device: &Device,
    ) -> Result<Self> {
        let preconditioning = match &preset.diffusion {
            Some(diffusion) if !recipe.stage.is_adversarial() => Some(Preconditioning {
                parameterization: diffusion.parameterization,
                schedule: NoiseSchedule::new(diffusion.schedule)?,
            }),
            _ => None,
        };
        Ok(Self {
            stage: recipe.stage,
            tokenizer,
            preset,
            recipe: recipe.clone(),
            preconditioning,
            device: device.clone(),
            only_clip: None,
            prompts: None,
        })
    }

    /// From now on every sample is this one, with the posterior's noise as it is drawn now.
    pub(crate) fn keep_only_clip(&mut self, networks: &Networks, drawn: &[Drawn; 1]) -> Result<()> {
        let pixels = self.pixels(drawn)?;
        let latents = self.latents(networks, Some(pixels.clone()), drawn)?;
        self.only_clip = Some(OnlyClip { pixels, latents });
        Ok(())
    }

    /// The networks, with the recipe's parameters learning.
    pub(crate) fn learner(
        &self,
        networks: Networks,
        settings: (OptimizerConfig, Schedule),
    ) -> Learner {
        let learns = self.recipe.learns(&self.preset);
        let learns = |name: &str| learns.iter().any(|part| name.starts_with(part.as_str()));
        Learner::new(networks, &learns, dtype(&self.recipe), settings)
    }

    /// What the diffusion of this model knows.
    pub(crate) fn diffusion(&self) -> Result<&Preconditioning> {
        let missing = || Error::Config("an adversarial stage has no noise levels".into());
        self.preconditioning.as_ref().ok_or_else(missing)
    }

    /// A batch of an adversarial stage.
    pub(crate) fn clips(&self, drawn: &[Drawn]) -> Result<Clips> {
        let pixels = self.pixels(drawn)?;
        let [b, f, _, h, w] = pixels.dims();
        let config = self.preset.autoencoder.as_ref();
        let (channels, factor) = config.map_or((4, 8), |c| (c.latent_channels, c.factor()));
        let shape = [channels, h / factor, w / factor];
        let noise = drawn
            .iter()
            .flat_map(|(_, draws)| draws.posterior(f, shape))
            .collect();
        let noise = self.tensor(noise, [b * f, shape[0], shape[1], shape[2]]);
        Ok(Clips {
            pixels,
            posterior_noise: Some(noise),
        })
    }

    /// A batch of a diffusion stage; `level` overrides the drawn noise level.
    pub(crate) fn example(
        &self,
        networks: &Networks,
        drawn: &[Drawn],
        level: Option<NoiseLevel>,
    ) -> Result<Example> {
        let schedule = &self.diffusion()?.schedule;
        let pixels = match is_encoded(drawn) {
            true => None,
            false => Some(self.pixels(drawn)?),
        };
        let low = self.low_resolution(drawn, pixels.as_ref())?;
        let clean = self.latents(networks, pixels.clone(), drawn)?;
        let clean = match (self.residual_scale(), &low) {
            (Some(scale), Some(low)) => residual(clean, low.pixels.clone(), scale),
            _ => clean,
        };
        let [batch, frames, channels, height, width] = clean.dims();
        let shape = [channels, height, width];
        let noise = drawn
            .iter()
            .flat_map(|(_, draws)| draws.noise(frames, shape))
            .collect();
        let sampling = self.level_sampling();
        let levels = drawn.iter().map(|(_, draws)| match level {
            Some(level) => Ok(level),
            None => draws.level(Choice::Level, &sampling, schedule),
        });
        let given = self.given_frames(drawn, frames);
        let (words, image, scalars) = self.words(networks, drawn, pixels.as_ref())?;
        Ok(Example {
            noise: self.tensor(noise, [batch, frames, channels, height, width]),
            levels: levels.collect::<Result<_>>()?,
            weights: self.weights(&given, frames, drawn.len()),
            context: words,
            temporal_context: self.temporal_words(drawn),
            given: match given.iter().any(|given| *given) || self.takes_given_frames() {
                false => None,
                true => Some(Given {
                    mask: self.tensor(
                        given
                            .iter()
                            .map(|&given| f32::from(u8::from(given)))
                            .collect(),
                        [batch, frames],
                    ),
                    augmentation: self.augmentation(drawn, frames, shape)?,
                }),
            },
            low,
            image,
            scalars,
            first_frame: self.first_frame(drawn),
            max_distance: None,
            clean,
        })
    }

    /// Clips as numbers in \[−1, 1\], `[batch, frames, 3, height, width]`.
    pub(super) fn pixels(&self, drawn: &[Drawn]) -> Result<Tensor<5>> {
        if let Some(only) = &self.only_clip {
            return Ok(only.pixels.clone().repeat_dim(0, drawn.len()));
        }
        let clips: Vec<Tensor<5>> = drawn
            .iter()
            .map(|(sample, _)| {
                let frames = sample
                    .frames
                    .iter()
                    .map(|frame| frame_to_pixels(frame, &self.device));
                Tensor::cat(frames.collect(), 0).unsqueeze_dim(0)
            })
            .collect();
        match clips.is_empty() {
            true => Err(Error::Input("a batch without samples".into())),
            false => Ok(Tensor::cat(clips, 0)),
        }
    }

    /// The law of the noise levels.
    pub(crate) fn level_sampling(&self) -> NoiseLevelSampling {
        let own = self
            .preset
            .diffusion
            .as_ref()
            .and_then(|diffusion| diffusion.noise_levels);
        own.unwrap_or(NoiseLevelSampling::Uniform {
            first: 0,
            end: None,
        })
    }

    fn takes_given_frames(&self) -> bool {
        matches!(
            self.stage,
            TrainingStage::Prediction | TrainingStage::Interpolation
        )
    }

    /// Which frames are given, clip after clip.
    fn given_frames(&self, drawn: &[Drawn], frames: usize) -> Vec<bool> {
        let given = |draws: &Draws, frame: usize| match &self.preset.context_frames {
            _ if !self.takes_given_frames() => false,
            Some(ContextFrames::First { probabilities }) => {
                frame < chosen(probabilities, draws.uniform(Choice::GivenFrames)).min(frames - 1)
            }
            Some(ContextFrames::Ends { each }) => frame < *each || frame + each >= frames,
            _ => false,
        };
        drawn
            .iter()
            .flat_map(|(_, draws)| (0..frames).map(move |frame| given(draws, frame)))
            .collect()
    }

    fn weights(&self, given: &[bool], frames: usize, batch: usize) -> Vec<f64> {
        let Some(dreambooth) = &self.recipe.dreambooth else {
            return frame_weights(given);
        };
        // The first half of a batch is the subject, the second the class.
        let half = (batch / 2 * frames).max(1) as f64;
        let weight = |index: usize| match index < batch / 2 {
            true => 1.0 / half,
            false => dreambooth.prior_weight / half,
        };
        (0..batch * frames)
            .map(|frame| weight(frame / frames))
            .collect()
    }

    fn augmentation(
        &self,
        drawn: &[Drawn],
        frames: usize,
        shape: [usize; 3],
    ) -> Result<Augmentation> {
        let config = self
            .preset
            .diffusion
            .as_ref()
            .and_then(|config| config.noise_augmentation);
        let schedule = &self.diffusion()?.schedule;
        let levels = drawn.iter().map(|(_, draws)| match config {
            Some(config) => draws.level(Choice::AugmentationLevel, &config.training, schedule),
            None => Ok(NoiseLevel::CLEAN),
        });
        let noise = drawn
            .iter()
            .flat_map(|(_, draws)| draws.augmentation(frames, shape))
            .collect();
        Ok(Augmentation {
            levels: levels.collect::<Result<_>>()?,
            noise: self.tensor(noise, [drawn.len(), frames, shape[0], shape[1], shape[2]]),
        })
    }

    /// See [`crate::diffusion::residual`].
    pub(crate) fn residual_scale(&self) -> Option<f64> {
        self.preset.diffusion.as_ref()?.residual_scale
    }

    fn low_resolution(
        &self,
        drawn: &[Drawn],
        pixels: Option<&Tensor<5>>,
    ) -> Result<Option<LowResolution>> {
        if self.stage != TrainingStage::Upsampler {
            return Ok(None);
        }
        let factor = self
            .preset
            .clip
            .as_ref()
            .and_then(|clip| clip.upscale)
            .unwrap_or(4);
        let low = reduced(pixels.ok_or_else(no_pixels)?.clone(), factor)?;
        let [_, frames, c, h, w] = low.dims();
        Ok(Some(LowResolution {
            augmentation: self.augmentation(drawn, frames, [c, h, w])?,
            pixels: low,
        }))
    }

    /// What cross-attention reads; of Stable Video Diffusion also the picture and the scalars.
    fn words(
        &self,
        networks: &Networks,
        drawn: &[Drawn],
        pixels: Option<&Tensor<5>>,
    ) -> Result<(Words, Option<Tensor<4>>, Option<Tensor<2>>)> {
        if self.stage == TrainingStage::Svd {
            let pixels = pixels.ok_or_else(no_pixels)?;
            let picture = super::picture::condition(self, networks, drawn, pixels)?;
            return Ok((
                Words::Tokens(picture.tokens),
                Some(picture.latents),
                Some(picture.scalars),
            ));
        }
        let mut all = Vec::new();
        if let Some(tokenizer) = &self.tokenizer {
            let prompts: Vec<String> = drawn
                .iter()
                .enumerate()
                .map(|(index, (sample, draws))| self.prompt(index, drawn.len(), sample, draws))
                .collect();
            all.push(self.prompt_words(tokenizer, &prompts)?);
        }
        if let Some(config) = &self.preset.labels {
            let labels: Vec<Vec<Option<usize>>> = drawn
                .iter()
                .map(|(sample, draws)| {
                    let dropped = self.drops(draws, Choice::DropLabels);
                    let value = |label: &LabelConfig| {
                        let known = sample.labels.get(&label.name).filter(|_| !dropped)?;
                        Some(label.nearest(*known))
                    };
                    config.labels.iter().map(value).collect()
                })
                .collect();
            all.push(Words::Labels(config.batch(&labels, &self.device)?));
        }
        if let Some(config) = &self.preset.boxes {
            let boxes: Vec<_> = drawn
                .iter()
                .map(
                    |(sample, draws)| match self.drops(draws, Choice::DropBoxes) {
                        true => Vec::new(),
                        false => sample
                            .boxes
                            .first()
                            .map_or_else(Vec::new, |boxes| config.largest(boxes)),
                    },
                )
                .collect();
            all.push(Words::Boxes(config.batch(&boxes, &self.device)?));
        }
        let words = match all.len() {
            0 => Words::None,
            1 => all.remove(0),
            _ => Words::All(all),
        };
        Ok((words, None, None))
    }

    /// Prompts as tokens where they are cached, else as what the text encoder reads.
    pub(super) fn prompt_words(&self, tokenizer: &Tokenizer, prompts: &[String]) -> Result<Words> {
        if let Some(cache) = &self.prompts {
            let (values, shape) = cache.prompts(prompts)?;
            return Ok(Words::Tokens(self.tensor(values, shape)));
        }
        let ids: Vec<_> = prompts
            .iter()
            .map(|prompt| tokenizer.encode(prompt))
            .collect();
        Ok(Words::Text(input_ids(&ids, &self.device)?))
    }

    fn prompt(&self, index: usize, batch: usize, sample: &Sample, draws: &Draws) -> String {
        match &self.recipe.dreambooth {
            Some(dreambooth) if index < batch / 2 => dreambooth.prompt.clone(),
            Some(dreambooth) => dreambooth.class_prompt.clone(),
            None if self.drops(draws, Choice::DropText) => String::new(),
            None => sample.caption.clone().unwrap_or_default(),
        }
    }

    pub(crate) fn drops(&self, draws: &Draws, choice: Choice) -> bool {
        let told = &self.recipe.conditioning;
        let own = match choice {
            Choice::DropLabels => told.drop_labels,
            Choice::DropBoxes => told.drop_boxes,
            _ => None,
        };
        draws.uniform(choice) < own.unwrap_or(told.drop)
    }

    pub(crate) fn motion_bucket(&self) -> f64 {
        self.recipe.conditioning.motion_bucket
    }

    fn temporal_words(&self, drawn: &[Drawn]) -> TemporalWords {
        let Some(config) = &self.preset.frame_rate else {
            return TemporalWords::Spatial;
        };
        let mut rates = self
            .preset
            .clip
            .as_ref()
            .map(|clip| clip.fps.clone())
            .unwrap_or_default();
        rates.sort_by(f64::total_cmp);
        let regime = |fps: f64| {
            let nearest = (0..rates.len()).min_by(|&a, &b| {
                let distance = |i: usize| (rates[i] / fps).ln().abs();
                distance(a).total_cmp(&distance(b))
            });
            nearest.unwrap_or(0).min(config.regimes - 1) as i64
        };
        let regimes: Vec<i64> = drawn.iter().map(|(sample, _)| regime(sample.fps)).collect();
        let fps = drawn.iter().map(|(sample, _)| sample.fps as f32).collect();
        let batch = drawn.len();
        TemporalWords::FrameRate {
            regime: Tensor::from_data(TensorData::new(regimes, [batch]), &self.device),
            fps: self.tensor(fps, [batch]),
        }
    }

    /// One place in time for the whole batch, drawn with its first sample.
    fn first_frame(&self, drawn: &[Drawn]) -> usize {
        let most = self.recipe.conditioning.first_frame;
        match drawn.first() {
            Some((_, draws)) if self.stage != TrainingStage::Svd => {
                (draws.uniform(Choice::FirstFrame) * most as f64) as usize
            }
            _ => 0,
        }
    }

    pub(crate) fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }
}

/// The index that a number in [0, 1) falls to.
fn chosen(probabilities: &[f64], draw: f64) -> usize {
    let total: f64 = probabilities.iter().sum();
    let mut rest = draw * total;
    for (index, probability) in probabilities.iter().enumerate() {
        rest -= probability;
        if rest < 0.0 {
            return index;
        }
    }
    probabilities.len().saturating_sub(1)
}

pub(super) fn check_multiple([height, width]: [usize; 2], factor: usize) -> Result<()> {
    if height % factor == 0 && width % factor == 0 {
        return Ok(());
    }
    Err(Error::Input(format!(
        "clips of {width}x{height} pixels: the autoencoder needs multiples of {factor}, the nearest \
         are {}x{}",
        (width / factor).max(1) * factor,
        (height / factor).max(1) * factor
    )))
}

/// Means over squares of `factor` pixels.
fn reduced(pixels: Tensor<5>, factor: usize) -> Result<Tensor<5>> {
    let [b, f, c, h, w] = pixels.dims();
    check_multiple([h, w], factor)?;
    let (low_h, low_w) = (h / factor, w / factor);
    Ok(pixels
        .reshape([b * f * c * low_h, factor, low_w, factor])
        .mean_dim(3)
        .mean_dim(1)
        .reshape([b, f, c, low_h, low_w]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_fall_to_their_probabilities() {
        let probabilities = [0.1, 0.3, 0.6];
        let at = |draw| chosen(&probabilities, draw);
        assert_eq!(
            [at(0.0), at(0.09), at(0.11), at(0.39), at(0.41), at(0.999)],
            [0, 0, 1, 1, 2, 2]
        );
        assert_eq!(chosen(&[2.0, 2.0], 0.6), 1);
    }

    #[test]
    fn reducing_takes_means() {
        let device = Device::flex();
        let pixels = Tensor::<1>::from_floats([1.0, 3.0, 5.0, 7.0, 1.0, 1.0, 1.0, 9.0], &device);
        let low = reduced(pixels.reshape([1, 1, 1, 2, 4]), 2).unwrap();
        let values: Vec<f32> = low.into_data().try_to_vec().unwrap();
        assert_eq!(values, [1.5, 5.5]);
        let odd = Tensor::<5>::zeros([1, 1, 1, 3, 4], &device);
        assert!(
            reduced(odd, 2)
                .unwrap_err()
                .to_string()
                .contains("multiples of 2")
        );
    }
}
