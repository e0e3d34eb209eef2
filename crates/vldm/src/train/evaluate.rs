//! The loss on clips that are never learnt from, at fixed noise levels.

use burn::tensor::{DType, Tensor};

use super::adversarial::{AdversarialStage, made_clips};
use super::denoising::predict;
use super::draws::Draws;
use super::networks::Networks;
use super::prepare::{Drawn, Preparation};
use super::recipe::Recipe;
use super::report::EvaluationRecord;
use super::whiten::moments;
use crate::data::{ClipSource, Loader, Order, OrderSettings, Sample};
use crate::diffusion::{NoiseLevel, NoiseLevelSampling, NoiseSchedule};
use crate::error::Result;
use crate::layout::fold_frames;
use crate::metrics::FeatureMoments;

/// The seed of held-out batches and their noise: the same whatever the recipe's is, so that runs which
/// differ in it alone can be compared.
const SEED: u64 = 0;

/// Held-out batches, read once.
#[derive(Debug)]
pub(crate) struct HeldOut {
    batches: Vec<Vec<Sample>>,
    levels: Vec<NoiseLevel>,
    seed: u64,
}

impl HeldOut {
    /// The first batches of `source`: as many as the recipe says, or more, so that they hold `samples`.
    pub(crate) fn read(
        source: std::sync::Arc<dyn ClipSource>,
        samples: usize,
        (recipe, preparation): (&Recipe, &Preparation),
    ) -> Result<Self> {
        let settings = OrderSettings {
            seed: SEED,
            ..recipe.order(&preparation.preset)?
        };
        let order = Order::new(&*source, &settings)?;
        let mut loader = Loader::start(source, std::sync::Arc::new(order), 0, &recipe.loader)?;
        let count = samples.div_ceil(recipe.batch.size.max(1)) as u64;
        let batches = (0..recipe.evaluation.batches.max(count).max(1))
            .map(|_| Ok(loader.next_batch()?.samples))
            .collect::<Result<_>>()?;
        Ok(Self {
            seed: SEED,
            ..Self::of(batches, recipe, preparation)?
        })
    }

    /// These samples, always with the same noise, which the recipe's seed decides.
    pub(crate) fn of(
        batches: Vec<Vec<Sample>>,
        recipe: &Recipe,
        preparation: &Preparation,
    ) -> Result<Self> {
        let levels = match &preparation.preconditioning {
            None => Vec::new(),
            Some(preconditioning) => {
                let law = preparation
                    .preset
                    .diffusion
                    .as_ref()
                    .and_then(|d| d.noise_levels);
                let shares = recipe.evaluation.levels.iter();
                shares
                    .map(|&share| level_at(&preconditioning.schedule, law, share))
                    .collect()
            }
        };
        Ok(Self {
            batches,
            levels,
            seed: recipe.seed,
        })
    }

    /// The first samples with their random numbers.
    pub(crate) fn first(&self, count: usize) -> Vec<Drawn<'_>> {
        let samples = self.batches.iter().flatten().take(count);
        samples
            .enumerate()
            .map(|(number, sample)| (sample, Draws::validation(self.seed, number as u64)))
            .collect()
    }

    /// The losses; `networks` are for looking only.
    pub(crate) fn measure(
        &self,
        preparation: &Preparation,
        networks: &Networks,
        step: u64,
    ) -> Result<EvaluationRecord> {
        let losses = match preparation.stage.adversarial() {
            Some(stage) => vec![(0.0, self.pixel_error(preparation, networks, stage)?)],
            None => self.losses(preparation, networks)?,
        };
        let mean = losses.iter().map(|(_, loss)| loss).sum::<f64>() / losses.len().max(1) as f64;
        Ok(EvaluationRecord { step, losses, mean })
    }

    /// 1 over the standard deviation of the latents of these clips, about zero.
    pub(crate) fn latent_scale(
        &self,
        preparation: &Preparation,
        networks: &Networks,
    ) -> Result<f64> {
        let (mut squares, mut sum, mut count) = (0.0, 0.0, 0.0);
        for batch in 0..self.batches.len() {
            let latents = preparation.unscaled_latents(networks, &self.drawn(batch))?;
            let values: Vec<f32> = latents.into_data().iter::<f32>().collect();
            count += values.len() as f64;
            sum += values.iter().map(|&value| f64::from(value)).sum::<f64>();
            squares += values
                .iter()
                .map(|&value| f64::from(value).powi(2))
                .sum::<f64>();
        }
        let variance = squares / count - (sum / count).powi(2);
        Ok(1.0 / variance.max(1e-12).sqrt())
    }

    /// Mean and covariance of the latents of these clips over their channels.
    pub(super) fn latent_moments(
        &self,
        preparation: &Preparation,
        networks: &Networks,
    ) -> Result<FeatureMoments> {
        let latents = (0..self.batches.len())
            .map(|batch| preparation.unscaled_latents(networks, &self.drawn(batch)))
            .map(|latents| latents.map(fold_frames))
            .collect::<Result<Vec<_>>>()?;
        moments(&latents)
    }

    fn drawn(&self, batch: usize) -> Vec<Drawn<'_>> {
        let before: usize = self.batches[..batch].iter().map(Vec::len).sum();
        let numbered = self.batches[batch].iter().enumerate();
        numbered
            .map(|(index, sample)| {
                (
                    sample,
                    Draws::validation(self.seed, (before + index) as u64),
                )
            })
            .collect()
    }

    fn losses(&self, preparation: &Preparation, networks: &Networks) -> Result<Vec<(f64, f64)>> {
        let mut losses = Vec::new();
        for &level in &self.levels {
            let mut total = 0.0;
            for batch in 0..self.batches.len() {
                let example = preparation.example(networks, &self.drawn(batch), Some(level))?;
                total += predict(networks, preparation.diffusion()?, &example)?
                    .loss()
                    .0;
            }
            losses.push((level.sigma, total / self.batches.len() as f64));
        }
        Ok(losses)
    }

    /// Mean absolute error of what the decoder makes.
    fn pixel_error(
        &self,
        preparation: &Preparation,
        networks: &Networks,
        stage: AdversarialStage,
    ) -> Result<f64> {
        let mut total = 0.0;
        for batch in 0..self.batches.len() {
            let clips = preparation.clips(&self.drawn(batch))?.at_mode();
            let truth: Tensor<5> = clips.pixels.clone();
            let made = made_clips(networks, &clips, stage)?.cast(DType::F32);
            let error: f32 = (made - truth).abs().mean().into_scalar();
            total += f64::from(error);
        }
        Ok(total / self.batches.len() as f64)
    }
}

/// The level at a share of a model's range: of the table, or two deviations around the mean of
/// its law.
fn level_at(schedule: &NoiseSchedule, law: Option<NoiseLevelSampling>, share: f64) -> NoiseLevel {
    match law {
        Some(NoiseLevelSampling::LogNormal { mean, std }) => {
            let sigma = libm::exp(mean + std * 4.0 * (share - 0.5));
            NoiseLevel {
                sigma,
                timestep: Some(schedule.timestep_at(sigma)),
            }
        }
        _ => {
            let last = schedule.sigmas().len().saturating_sub(1) as f64;
            schedule.level((share * last).round())
        }
    }
}
