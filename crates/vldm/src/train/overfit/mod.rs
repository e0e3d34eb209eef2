//! The self-test of a stage: does it learn at all?
//!
//! A diffusion stage learns one clip by heart ([`overfit_one_clip`]): a stage that cannot does not
//! learn, whatever its loss curve looks like. Everything is as in a run of the recipe, except that
//! there is one clip, that nothing is left out of what the networks are told, that the noise levels
//! of a batch are spread evenly over their law, and that the learning rate is that of the test.
//!
//! Temporal layers that learn in a frozen image model need one that knows something. Where the
//! recipe starts from none, the test first teaches a fresh one the clip's frames, as pictures.
//!
//! The decoder has no noise levels: [`compare_decoders`] tests it against one without temporal
//! layers.

mod decoded;
mod decoder;
mod learn;
mod one_clip;

use std::time::Duration;

use burn::tensor::Device;

use super::recipe::Recipe;
use crate::error::{Error, Result};

pub use decoded::Decoded;
pub use decoder::{DecoderReport, DecoderSettings, compare_decoders};
use learn::Budget;
use one_clip::OneClip;

/// How a self-test is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverfitSettings {
    /// Steps at most.
    pub steps: u64,
    /// Learning ends after this time, whatever it has reached.
    pub time: Duration,
    /// The learning rate at its highest; it falls to a hundredth of it.
    pub learning_rate: f64,
    /// How often the clip stands in a batch, each time with other noise.
    pub copies: usize,
    /// The part of steps and time in which a fresh image model learns the frames, where the stage
    /// needs one.
    pub image_share: f64,
    /// Steps of the sampler for the last look.
    pub sampling_steps: usize,
}

impl Default for OverfitSettings {
    fn default() -> Self {
        Self {
            steps: 2000,
            time: Duration::from_secs(100),
            learning_rate: 4e-3,
            copies: 4,
            image_share: 0.2,
            sampling_steps: 50,
        }
    }
}

/// How well the clip is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Mean loss at the fixed noise levels.
    pub loss: f64,
    /// Peak signal-to-noise ratio of a sample against the clip, in dB.
    pub psnr: f64,
}

/// What a self-test found.
#[derive(Debug, Clone, PartialEq)]
pub struct OverfitReport {
    /// The clip.
    pub clip: String,
    /// Steps taken, those of the image model included.
    pub steps: u64,
    /// Mean loss at the fixed noise levels of the fresh networks.
    pub fresh: f64,
    /// What the image model knew by itself, where the test taught it the frames.
    pub image: Option<Look>,
    /// What the networks know in the end.
    pub learnt: Look,
    /// What was compared: `"pixels"`, or `"latents"` where the autoencoder is a fresh one. The range
    /// of the clip's own values is the peak.
    pub compared: &'static str,
}

impl OverfitReport {
    /// The share of its start that the loss may keep.
    pub const LOSS_SHARE: f64 = 0.05;
    /// What a sample must reach, in dB.
    pub const PSNR: f64 = 25.0;

    /// Whether the stage learns.
    #[must_use]
    pub fn passed(&self) -> bool {
        let knows =
            |look: &Look| look.loss <= Self::LOSS_SHARE * self.fresh && look.psnr >= Self::PSNR;
        // What the image model can do alone proves nothing about temporal layers.
        knows(&self.learnt) && !self.image.as_ref().is_some_and(knows)
    }
}

/// Runs the self-test of a diffusion stage; `watch` is told every step and its loss, and may end the
/// test by an error.
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
             stages and the decoder",
            recipe.stage.name()
        )));
    }
    let (test, mut networks) = OneClip::prepare(recipe, device, settings)?;
    let fresh = test.loss(&networks)?;
    let mut budget = Budget::new(settings.steps, settings.time);
    let mut image = None;
    let mut steps = 0;
    if test.needs_an_image_model() {
        let temporal = networks.temporal.take();
        let taught = test.teach_frames(networks, budget.share(settings.image_share), watch)?;
        steps = taught.steps();
        networks = taught.networks().frozen(burn::tensor::DType::F32);
        image = Some(test.look(&networks)?);
        networks.temporal = temporal;
        budget = budget.share(1.0 - settings.image_share);
    }
    let learner = test.learn(networks, budget, &mut |step, loss| {
        watch(steps + step, loss)
    })?;
    Ok(OverfitReport {
        clip: test.clip_id().to_owned(),
        steps: steps + learner.steps(),
        fresh,
        image,
        learnt: test.look(learner.networks())?,
        compared: test.compared(),
    })
}
