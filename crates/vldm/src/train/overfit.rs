//! The self-test of a diffusion stage: can its networks learn one clip by heart?
//!
//! A stage that cannot does not learn at all, whatever its loss curve looks like. Everything is as
//! in a run of the recipe, except that there is one clip, that nothing is left out of what the
//! networks are told, and that the learning rate is that of the test.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};

use super::build;
use super::draws::Draws;
use super::evaluate::HeldOut;
use super::learner::Learner;
use super::networks::Networks;
use super::optimizer::OptimizerConfig;
use super::pass::denoising_pass;
use super::prepare::{Drawn, Preparation};
use super::recipe::Recipe;
use super::run::dtype;
use super::sample::sample;
use super::schedule::{Decay, Schedule};
use crate::data::{Loader, Order, Sample};
use crate::diffusion::NoiseScheduleConfig;
use crate::error::{Error, Result};
use crate::preset::Part;
use crate::sampler::SamplerConfig;

/// How a self-test is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverfitSettings {
    /// Steps at most.
    pub steps: u64,
    /// The test ends after this time, whatever it has reached.
    pub time: Duration,
    /// The learning rate at the start; it falls to a hundredth of it.
    pub learning_rate: f64,
    /// How often the clip stands in a batch, each time with other noise.
    pub copies: usize,
    /// Steps of the sampler for the last look.
    pub sampling_steps: usize,
}

impl Default for OverfitSettings {
    fn default() -> Self {
        Self {
            steps: 4000,
            time: Duration::from_secs(100),
            learning_rate: 4e-3,
            copies: 4,
            sampling_steps: 100,
        }
    }
}

/// What a self-test found.
#[derive(Debug, Clone, PartialEq)]
pub struct OverfitReport {
    /// The clip.
    pub clip: String,
    /// Steps taken.
    pub steps: u64,
    /// Mean loss at the fixed noise levels before and after.
    pub losses: [f64; 2],
    /// Peak signal-to-noise ratio of a sample against the clip, in dB, measured on what is
    /// diffused (latents or pixels), whose own range is the peak.
    pub psnr: f64,
}

impl OverfitReport {
    /// The share of its start that the loss may keep.
    pub const LOSS_SHARE: f64 = 0.05;
    /// What a sample must reach, in dB.
    pub const PSNR: f64 = 25.0;

    /// Whether the stage learns.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.losses[1] <= Self::LOSS_SHARE * self.losses[0] && self.psnr >= Self::PSNR
    }
}

/// Runs the self-test; `watch` is told every step and its loss, and may end the test by an error.
///
/// # Errors
/// Those of a run, of `watch`, and [`Error::Config`] for an adversarial stage.
pub fn overfit_one_clip(
    recipe: &Recipe,
    device: &Device,
    settings: &OverfitSettings,
    watch: &mut dyn FnMut(u64, f64) -> Result<()>,
) -> Result<OverfitReport> {
    if recipe.stage.is_adversarial() {
        return Err(Error::Config(format!(
            "the stage \"{}\" has no noise levels to measure at: the self-test is for diffusion \
             stages",
            recipe.stage.name()
        )));
    }
    let (recipe, preparation, networks, clip) = prepare(recipe, device)?;
    let copies = match recipe.dreambooth {
        // Half of a batch is the subject, half the class.
        Some(_) => settings.copies.next_multiple_of(2),
        None => settings.copies,
    };
    let pass = |learner: &Learner, number: u64| {
        let draws =
            |copy: usize| Draws::training(recipe.seed, number * copies as u64 + copy as u64);
        let drawn: Vec<Drawn> = (0..copies).map(|copy| (&clip, draws(copy))).collect();
        let example = preparation.example(learner.networks(), &drawn, None)?;
        let how = (dtype(&recipe), 1.0);
        denoising_pass(learner.networks(), preparation.diffusion()?, example, how)
    };
    let steps = affordable_steps(settings, || {
        let mut rehearsal = learner(networks.clone(), &recipe, (&preparation, settings, 10));
        for number in 0..3 {
            rehearsal.step(vec![pass(&rehearsal, number)?]);
        }
        Ok(())
    })?;
    let mut learner = learner(networks, &recipe, (&preparation, settings, steps));
    let held_out = HeldOut::of(vec![vec![clip.clone(); copies]], &recipe, &preparation)?;
    let measure = |learner: &Learner, step| {
        let networks = learner.networks().frozen(dtype(&recipe));
        Ok::<_, Error>(held_out.measure(&preparation, &networks, step)?.mean)
    };
    let before = measure(&learner, 0)?;
    let begin = Instant::now();
    while learner.steps() < steps && begin.elapsed() < settings.time {
        let passed = pass(&learner, learner.steps())?;
        let outcome = learner.step(vec![passed]);
        watch(learner.steps(), outcome.loss)?;
    }
    Ok(OverfitReport {
        clip: clip.id.clone(),
        steps: learner.steps(),
        losses: [before, measure(&learner, learner.steps())?],
        psnr: sample_psnr(&preparation, &learner, (&recipe, &clip, settings))?,
    })
}

/// Everything that the test needs: nothing is dropped, and the one clip is encoded once.
fn prepare(recipe: &Recipe, device: &Device) -> Result<(Recipe, Preparation, Networks, Sample)> {
    let mut recipe = recipe.clone();
    recipe.conditioning.drop = 0.0;
    recipe.conditioning.first_frame = 1;
    let (networks, mut preparation) = build::for_recipe(&recipe, device)?;
    let clip = first_clip(&recipe, &preparation)?;
    if !recipe.start.brings(Part::Autoencoder) {
        scale_latents(&mut preparation, &networks, (&recipe, &clip))?;
    }
    let drawn = [(&clip, Draws::validation(recipe.seed, 0))];
    preparation.only_clip = match preparation.preset.autoencoder {
        Some(_) => Some(preparation.example(&networks, &drawn, None)?.clean),
        None => None,
    };
    if let (Some(sampling), Some(diffusion)) = (
        &mut preparation.preset.sampling,
        &preparation.preset.diffusion,
    ) && !matches!(diffusion.schedule, NoiseScheduleConfig::Edm { .. })
    {
        // Noise that is added anew forgives what was wrong early on.
        sampling.sampler = SamplerConfig::Ddim { eta: 1.0 };
    }
    Ok((recipe, preparation, networks, clip))
}

/// A fresh autoencoder's latents get a deviation of one, as those of a trained one have.
fn scale_latents(
    preparation: &mut Preparation,
    networks: &Networks,
    (recipe, clip): (&Recipe, &Sample),
) -> Result<()> {
    let probe = HeldOut::of(vec![vec![clip.clone()]], recipe, preparation)?;
    if preparation.preset.autoencoder.is_none() {
        return Ok(());
    }
    let scale = probe.latent_scale(preparation, networks)?;
    if let Some(config) = &mut preparation.preset.autoencoder {
        config.scale_factor = scale;
    }
    Ok(())
}

/// How many steps fit into the time, so that the learning rate has fallen when it is over;
/// `rehearse` takes three.
fn affordable_steps(
    settings: &OverfitSettings,
    mut rehearse: impl FnMut() -> Result<()>,
) -> Result<u64> {
    rehearse()?;
    let begin = Instant::now();
    rehearse()?;
    let step = begin.elapsed().as_secs_f64() / 3.0;
    let steps = 0.9 * settings.time.as_secs_f64() / step;
    Ok((steps as u64).clamp(50, settings.steps.max(50)))
}

fn first_clip(recipe: &Recipe, preparation: &Preparation) -> Result<Sample> {
    let source = recipe.data.open()?;
    let order = Order::new(&*source, &recipe.order(&preparation.preset)?)?;
    let mut loader = Loader::start(source, std::sync::Arc::new(order), 0, &recipe.loader)?;
    let mut samples = loader.next_batch()?.samples;
    match samples.is_empty() {
        true => Err(Error::Input("the data has no clip".into())),
        false => Ok(samples.swap_remove(0)),
    }
}

fn learner(
    networks: Networks,
    recipe: &Recipe,
    (preparation, settings, steps): (&Preparation, &OverfitSettings, u64),
) -> Learner {
    let config = OptimizerConfig {
        learning_rate: settings.learning_rate,
        weight_decay: 0.0,
        ema: 0.0,
        warmup_steps: 20,
        decay: Decay::Cosine { end: 0.01 },
        ..recipe.optimizer
    };
    let schedule = Schedule {
        warmup: config.warmup_steps,
        decay: config.decay,
        steps,
    };
    preparation.learner(networks, (config, schedule))
}

/// How near a sample under the clip's own conditions comes to the clip.
fn sample_psnr(
    preparation: &Preparation,
    learner: &Learner,
    (recipe, clip, settings): (&Recipe, &Sample, &OverfitSettings),
) -> Result<f64> {
    let networks = learner.networks().frozen(dtype(recipe));
    let drawn = [(clip, Draws::validation(recipe.seed, 0))];
    let example = preparation.example(&networks, &drawn, None)?;
    let made = sample(
        preparation,
        &networks,
        &example,
        (settings.sampling_steps, 0),
    )?;
    let number = |tensor: Tensor<1>| f64::from(tensor.into_scalar::<f32>());
    let range = number(example.clean.clone().max()) - number(example.clean.clone().min());
    let error = number((made - example.clean).powi_scalar(2).mean());
    Ok(10.0 * libm::log10(range.powi(2) / error.max(1e-12)))
}
