//! The self-test of the decoder over time: is it better than a decoder that sees one frame?
//!
//! From one autoencoder two decoders go on, for equally many steps on the same clips and the same
//! losses: one on single frames, with the discriminator of pictures, one with temporal layers and
//! the discriminator of clips. Both are measured on clips that neither has seen.
//!
//! # Source
//! Blattmann et al. 2023, section 3.1.1 and table 3: why the decoder is trained on video.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::{DType, Device, Tensor};

use super::super::adversarial::{
    AdversarialConfig, AdversarialStage, adversarial_pass, made_clips,
};
use super::super::build;
use super::super::discriminator::DiscriminatorConfig;
use super::super::draws::Draws;
use super::super::learner::Learner;
use super::super::networks::Networks;
use super::super::pass::Pass;
use super::super::prepare::{Drawn, Preparation};
use super::super::recipe::Recipe;
use super::super::run::dtype;
use super::decoded::{Decoded, Sums, blurred};
use super::learn::{Budget, CONSTANT, descend, optimizer};
use crate::data::{DataConfig, Loader, Order, Sample};
use crate::error::{Error, Result};
use crate::preset::Part;

/// How the decoders are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecoderSettings {
    /// Steps at most, of the autoencoder and of the decoders together.
    pub steps: u64,
    /// Learning ends after this time.
    pub time: Duration,
    /// The learning rate at its highest; it falls to a hundredth of it.
    pub learning_rate: f64,
    /// The part of steps and time in which a fresh autoencoder learns first.
    pub autoencoder_share: f64,
}

impl Default for DecoderSettings {
    fn default() -> Self {
        Self {
            steps: 1000,
            time: Duration::from_secs(105),
            learning_rate: 2e-3,
            autoencoder_share: 0.4,
        }
    }
}

/// What the comparison found, all on held-out clips.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecoderReport {
    /// Steps that each of the decoders took.
    pub steps: u64,
    /// Clips that were measured.
    pub clips: usize,
    /// The decoder on single frames.
    pub single: Decoded,
    /// The decoder with temporal layers.
    pub temporal: Decoded,
    /// What the first made, blurred over three frames, and over three by three pixels: neither may
    /// pass for an improvement.
    pub blurred: [Decoded; 2],
}

impl DecoderReport {
    /// Whether temporal layers make a better decoder, and the measure is not taken in by blur.
    #[must_use]
    pub fn passed(&self) -> bool {
        let is_fooled = self
            .blurred
            .iter()
            .any(|blurred| blurred.improves_on(&self.single));
        self.temporal.improves_on(&self.single) && !is_fooled
    }
}

/// Compares the decoders; `watch` is told every step and its loss, and may end the test by an error.
///
/// # Errors
/// Those of a run, of `watch`, and [`Error::Config`] for another stage than the decoder's or a recipe
/// without held-out clips.
pub fn compare_decoders(
    recipe: &Recipe,
    device: &Device,
    settings: &DecoderSettings,
    watch: &mut dyn FnMut(u64, f64) -> Result<()>,
) -> Result<DecoderReport> {
    let (Some(AdversarialStage::Decoder), Some(held_out)) =
        (recipe.stage.adversarial(), &recipe.held_out)
    else {
        return Err(Error::Config(
            "decoders are compared in a recipe of the stage \"decoder\" that has [held_out] clips"
                .into(),
        ));
    };
    let (networks, preparation) = build::for_recipe(recipe, device)?;
    let test = Comparison {
        recipe,
        preparation,
        settings,
    };
    let mut budget = Budget::new(settings.steps, settings.time);
    let mut before = 0;
    let mut networks = networks;
    if !recipe.start.brings(Part::Autoencoder) {
        let share = settings.autoencoder_share;
        let learner = test.autoencoder(networks.clone(), budget.share(share), watch)?;
        before = learner.steps();
        networks.autoencoder = learner.networks().frozen(DType::F32).autoencoder;
        budget = budget.share(1.0 - share);
    }
    let learners = test.decoders(networks, (budget, device), &mut |step, loss| {
        watch(before + step, loss)
    })?;
    test.measure(learners, held_out)
}

struct Comparison<'a> {
    recipe: &'a Recipe,
    preparation: Preparation,
    settings: &'a DecoderSettings,
}

impl Comparison<'_> {
    fn loader(&self, data: &DataConfig) -> Result<Loader> {
        let source = data.open()?;
        let order = Order::new(&*source, &self.recipe.order(&self.preparation.preset)?)?;
        Loader::start(source, Arc::new(order), 0, &self.recipe.loader)
    }

    fn learner(&self, networks: Networks, learns: &[String]) -> Learner {
        let learns = |name: &str| learns.iter().any(|part| name.starts_with(part.as_str()));
        let config = optimizer(self.recipe.optimizer, self.settings.learning_rate);
        Learner::new(networks, &learns, dtype(self.recipe), (config, CONSTANT))
    }

    fn pass(
        &self,
        networks: &Networks,
        samples: &[Sample],
        (stage, config, number): (AdversarialStage, &AdversarialConfig, u64),
    ) -> Result<Pass> {
        let drawn: Vec<Drawn> = samples
            .iter()
            .zip(number * samples.len() as u64..)
            .map(|(sample, number)| (sample, Draws::training(self.recipe.seed, number)))
            .collect();
        let clips = self.preparation.clips(&drawn)?;
        let how = (dtype(self.recipe), 1.0, true);
        adversarial_pass(networks, clips, (stage, config), how)
    }

    /// A fresh autoencoder learns the pictures of the clips, without a discriminator.
    fn autoencoder(
        &self,
        mut networks: Networks,
        budget: Budget,
        watch: &mut dyn FnMut(u64, f64) -> Result<()>,
    ) -> Result<Learner> {
        (networks.discriminator, networks.temporal_decoder) = (None, None);
        let mut learner = self.learner(networks, &["autoencoder.".into()]);
        let mut loader = self.loader(&self.recipe.data)?;
        let how = (AdversarialStage::Autoencoder, &self.recipe.adversarial);
        let pass = |learner: &Learner, number| {
            let samples = loader.next_batch()?.samples;
            self.pass(learner.networks(), &samples, (how.0, how.1, number))
        };
        let rate = self.settings.learning_rate;
        descend(&mut learner, (budget, rate), pass, watch)?;
        Ok(learner)
    }

    /// The decoder on single frames and the one with temporal layers, step by step in turn.
    fn decoders(
        &self,
        networks: Networks,
        (budget, device): (Budget, &Device),
        watch: &mut dyn FnMut(u64, f64) -> Result<()>,
    ) -> Result<[Learner; 2]> {
        let pictures = DiscriminatorConfig {
            channels: self.recipe.discriminator().channels,
            ..DiscriminatorConfig::default()
        };
        let single = Networks {
            temporal_decoder: None,
            discriminator: Some(build::discriminator(
                &pictures,
                &self.preparation.preset,
                (self.recipe.seed, device),
            )),
            ..networks.clone()
        };
        let learns = self.recipe.learns(&self.preparation.preset);
        let mut single = self.learner(single, &learns);
        let mut temporal = self.learner(networks, &learns);
        let mut loader = self.loader(&self.recipe.data)?;
        let how = (AdversarialStage::Decoder, &self.recipe.adversarial);
        let rate = self.settings.learning_rate;
        let pass = |learner: &Learner, number| {
            let samples = loader.next_batch()?.samples;
            let passed = self.pass(single.networks(), &samples, (how.0, how.1, number))?;
            single.set_learning_rate(learner.learning_rate());
            single.step(vec![passed]);
            self.pass(learner.networks(), &samples, (how.0, how.1, number))
        };
        descend(&mut temporal, (budget, rate), pass, watch)?;
        Ok([single, temporal])
    }

    fn measure(&self, learners: [Learner; 2], held_out: &DataConfig) -> Result<DecoderReport> {
        let steps = learners[0].steps();
        let networks = learners.map(|learner| learner.networks().frozen(dtype(self.recipe)));
        let mut loader = self.loader(held_out)?;
        let mut sums = [Sums::default(); 4];
        let mut count = 0u64;
        for _ in 0..self.recipe.evaluation.batches.max(1) {
            let samples = loader.next_batch()?.samples;
            // Noise on the latents, as a decoder meets it: sampled, each frame has its own.
            let drawn: Vec<Drawn> = (samples.iter().zip(count..))
                .map(|(sample, number)| (sample, Draws::validation(self.recipe.seed, number)))
                .collect();
            let clips = self.preparation.clips(&drawn)?;
            let made = |networks: &Networks| -> Result<Tensor<5>> {
                Ok(made_clips(networks, &clips, AdversarialStage::Decoder)?.cast(DType::F32))
            };
            let single = made(&networks[0])?;
            let smeared = blurred(single.clone(), 1);
            let soft = blurred(blurred(single.clone(), 3), 4);
            let all = [single, made(&networks[1])?, smeared, soft];
            for (sums, made) in sums.iter_mut().zip(&all) {
                sums.add(made, &clips.pixels);
            }
            count += samples.len() as u64;
        }
        let [single, temporal, smeared, soft] = sums.map(|sums| sums.decoded());
        Ok(DecoderReport {
            steps,
            clips: count as usize,
            single,
            temporal,
            blurred: [smeared, soft],
        })
    }
}
