//! One clip, and everything that learning it by heart takes.

use burn::tensor::{Device, Tensor};

use super::super::build;
use super::super::draws::{Choice, Draws};
use super::super::evaluate::HeldOut;
use super::super::example::frame_weights;
use super::super::learner::Learner;
use super::super::networks::Networks;
use super::super::pass::{Pass, denoising_pass};
use super::super::prepare::{Drawn, Preparation};
use super::super::recipe::Recipe;
use super::super::run::dtype;
use super::super::sample::{decoded, sample};
use super::OverfitSettings;
use super::learn::{Budget, CONSTANT, descend, optimizer};
use crate::data::{Loader, Order, Sample};
use crate::diffusion::{NoiseLevel, NoiseScheduleConfig};
use crate::error::{Error, Result};
use crate::preset::Part;
use crate::sampler::SamplerConfig;

/// The clip, and how the stage looks at it.
pub(super) struct OneClip {
    recipe: Recipe,
    preparation: Preparation,
    clip: Sample,
    held_out: HeldOut,
    settings: OverfitSettings,
    /// Clips of a batch.
    copies: usize,
}

impl OneClip {
    /// Nothing is dropped, and the clip is encoded once.
    pub(super) fn prepare(
        recipe: &Recipe,
        device: &Device,
        settings: &OverfitSettings,
    ) -> Result<(Self, Networks)> {
        let mut recipe = recipe.clone();
        recipe.conditioning.drop = 0.0;
        recipe.conditioning.first_frame = 1;
        let (networks, mut preparation) = build::for_recipe(&recipe, device)?;
        let clip = first_clip(&recipe, &preparation)?;
        if !recipe.start.brings(Part::Autoencoder) {
            scale_latents(&mut preparation, &networks, (&recipe, &clip))?;
        }
        let drawn = [(&clip, Draws::validation(recipe.seed, 0))];
        preparation.keep_only_clip(&networks, &drawn)?;
        if let (Some(sampling), Some(diffusion)) = (
            &mut preparation.preset.sampling,
            &preparation.preset.diffusion,
        ) && !matches!(diffusion.schedule, NoiseScheduleConfig::Edm { .. })
        {
            // Noise that is added anew forgives what was wrong early on.
            sampling.sampler = SamplerConfig::Ddim { eta: 1.0 };
        }
        let copies = match recipe.dreambooth {
            // Half of a batch is the subject, half the class.
            Some(_) => settings.copies.next_multiple_of(2),
            None => settings.copies,
        };
        let held_out = HeldOut::of(vec![vec![clip.clone(); copies]], &recipe, &preparation)?;
        let test = Self {
            recipe,
            preparation,
            clip,
            held_out,
            settings: *settings,
            copies,
        };
        Ok((test, networks))
    }

    pub(super) fn clip_id(&self) -> &str {
        &self.clip.id
    }

    /// Whether the stage learns in a frozen image model that nobody has trained.
    pub(super) fn needs_an_image_model(&self) -> bool {
        let learns = self.recipe.learns(&self.preparation.preset);
        let unet_learns = learns
            .iter()
            .any(|part| part.starts_with("unet.") || "unet.".starts_with(part.as_str()));
        !unet_learns && !self.recipe.start.brings(Part::Unet)
    }

    /// Mean loss at the fixed noise levels.
    pub(super) fn loss(&self, networks: &Networks) -> Result<f64> {
        let networks = networks.frozen(dtype(&self.recipe));
        Ok(self.held_out.measure(&self.preparation, &networks, 0)?.mean)
    }

    /// The loss, and how near a sample under the clip's own conditions comes to the clip.
    pub(super) fn look(&self, networks: &Networks) -> Result<super::Look> {
        let networks = networks.frozen(dtype(&self.recipe));
        let drawn = [(&self.clip, Draws::validation(self.recipe.seed, 0))];
        let example = self.preparation.example(&networks, &drawn, None)?;
        let how = (self.settings.sampling_steps, 0);
        let mut made = sample(&self.preparation, &networks, &example, how)?;
        let mut clean = example.clean;
        if self.compares_pixels() {
            made = decoded(&self.preparation, &networks, made)?;
            clean = decoded(&self.preparation, &networks, clean)?;
        }
        Ok(super::Look {
            loss: self.loss(&networks)?,
            psnr: psnr(made, clean),
        })
    }

    fn compares_pixels(&self) -> bool {
        self.preparation.preset.autoencoder.is_none() || self.recipe.start.brings(Part::Autoencoder)
    }

    /// What is compared with the clip.
    pub(super) fn compared(&self) -> &'static str {
        match self.compares_pixels() {
            true => "pixels",
            false => "latents",
        }
    }

    /// The image model alone learns the frames, each by itself.
    pub(super) fn teach_frames(
        &self,
        networks: Networks,
        budget: Budget,
        watch: &mut dyn FnMut(u64, f64) -> Result<()>,
    ) -> Result<Learner> {
        let learns = |name: &str| name.starts_with("unet.");
        let config = optimizer(self.recipe.optimizer, self.settings.learning_rate);
        let mut learner = Learner::new(networks, &learns, dtype(&self.recipe), (config, CONSTANT));
        self.descend(&mut learner, (budget, true), watch)?;
        Ok(learner)
    }

    /// The stage's own parameters learn the clip.
    pub(super) fn learn(
        &self,
        networks: Networks,
        budget: Budget,
        watch: &mut dyn FnMut(u64, f64) -> Result<()>,
    ) -> Result<Learner> {
        let config = optimizer(self.recipe.optimizer, self.settings.learning_rate);
        let mut learner = self.preparation.learner(networks, (config, CONSTANT));
        self.descend(&mut learner, (budget, false), watch)?;
        Ok(learner)
    }

    fn descend(
        &self,
        learner: &mut Learner,
        (budget, all_frames): (Budget, bool),
        watch: &mut dyn FnMut(u64, f64) -> Result<()>,
    ) -> Result<()> {
        let rate = self.settings.learning_rate;
        let pass = |learner: &Learner, number| self.pass(learner, (number, all_frames));
        descend(learner, (budget, rate), pass, watch)
    }

    /// A pass over a batch of the clip.
    fn pass(&self, learner: &Learner, (number, all_frames): (u64, bool)) -> Result<Pass> {
        let networks = learner.networks();
        let first = number * self.copies as u64;
        let drawn: Vec<Drawn> = (first..first + self.copies as u64)
            .map(|number| (&self.clip, Draws::training(self.recipe.seed, number)))
            .collect();
        let mut example = self.preparation.example(networks, &drawn, None)?;
        example.levels = self.levels(number)?;
        if all_frames {
            example.weights = frame_weights(&vec![false; example.weights.len()]);
        }
        let how = (dtype(&self.recipe), 1.0);
        denoising_pass(networks, self.preparation.diffusion()?, example, how)
    }

    /// The levels of a batch: one in each of as many equally likely parts of their law.
    fn levels(&self, number: u64) -> Result<Vec<NoiseLevel>> {
        let schedule = &self.preparation.diffusion()?.schedule;
        let law = self.preparation.level_sampling();
        let draws = Draws::training(self.recipe.seed, number);
        let offset = draws.uniform(Choice::Level);
        (0..self.copies)
            .map(|copy| law.quantile(schedule, (copy as f64 + offset) / self.copies as f64))
            .collect()
    }
}

/// A fresh autoencoder's latents get a deviation of one, as those of a trained one have.
fn scale_latents(
    preparation: &mut Preparation,
    networks: &Networks,
    (recipe, clip): (&Recipe, &Sample),
) -> Result<()> {
    if preparation.preset.autoencoder.is_none() {
        return Ok(());
    }
    let probe = HeldOut::of(vec![vec![clip.clone()]], recipe, preparation)?;
    let scale = probe.latent_scale(preparation, networks)?;
    if let Some(config) = &mut preparation.preset.autoencoder {
        config.scale_factor = scale;
    }
    Ok(())
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

/// Against `clean`, whose own range is the peak, in dB.
fn psnr(made: Tensor<5>, clean: Tensor<5>) -> f64 {
    let number = |tensor: Tensor<1>| f64::from(tensor.into_scalar::<f32>());
    let range = number(clean.clone().max()) - number(clean.clone().min());
    let error = number((made - clean).powi_scalar(2).mean());
    10.0 * libm::log10(range.powi(2) / error.max(1e-12))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
stage = "temporal"
steps = 1
[model]
base = "tiny-sd15-video"
[data]
type = "world"
clips = 1
seconds = 2.0
[batch]
size = 1
frames = [2]
sizes = [[32, 32]]
[evaluation]
levels = [0.5]
"#;

    #[test]
    fn levels_of_a_batch_are_spread_over_their_law() {
        let recipe = Recipe::parse(RECIPE).unwrap();
        let settings = OverfitSettings::default();
        let (test, _) = OneClip::prepare(&recipe, &Device::flex(), &settings).unwrap();
        for number in 0..3 {
            let levels = test.levels(number).unwrap();
            let timesteps: Vec<f64> = levels.iter().filter_map(|level| level.timestep).collect();
            assert_eq!(timesteps.len(), 4);
            for (quarter, timestep) in timesteps.iter().enumerate() {
                let range = 250.0 * quarter as f64..250.0 * (quarter + 1) as f64;
                assert!(range.contains(timestep), "{timesteps:?}");
            }
        }
    }

    #[test]
    fn a_frozen_image_model_is_taught_unless_there_is_one() {
        let recipe = Recipe::parse(RECIPE).unwrap();
        let needs = |recipe: &Recipe| {
            let settings = OverfitSettings::default();
            let (test, _) = OneClip::prepare(recipe, &Device::flex(), &settings).unwrap();
            test.needs_an_image_model()
        };
        assert!(needs(&recipe));
        let everything = Recipe {
            learns: Some(vec!["unet.conv_in.".into(), "temporal.".into()]),
            ..recipe
        };
        assert!(!needs(&everything));
    }
}
