//! What a run is: a TOML file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::adversarial::AdversarialConfig;
use super::build::Start;
use super::discriminator::DiscriminatorConfig;
use super::lora::LoraConfig;
use super::optimizer::OptimizerConfig;
use super::schedule::Schedule;
use super::settings::{
    ActivationCheckpointing, BatchConfig, CheckpointConfig, ConditioningConfig, DreamboothConfig,
    EvaluationConfig, SamplesConfig, WorkingType,
};
use super::stage::TrainingStage;
use crate::checkpoint::CheckpointError;
use crate::data::{DataConfig, LoaderSettings, OrderSettings};
use crate::error::{Error, Result};
use crate::preset::Preset;

/// A recipe. Everything that decides what is learnt stands in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is trained; the command's stage must be the same.
    pub stage: TrainingStage,
    /// What every random choice is drawn from.
    #[serde(default)]
    pub seed: u64,
    /// Steps of the optimiser.
    pub steps: u64,
    /// The data type of the arithmetic; parameters that learn are kept in f32.
    #[serde(default)]
    pub dtype: WorkingType,
    /// Whether activations are kept for the way back, or computed again block by block.
    #[serde(default, skip_serializing_if = "ActivationCheckpointing::is_default")]
    pub activation_checkpointing: ActivationCheckpointing,
    /// The model: a preset file's contents, mostly `base = "…"`.
    pub model: toml::Table,
    /// Where weights come from that are already there.
    #[serde(default)]
    pub start: Start,
    /// What is learnt from.
    pub data: DataConfig,
    /// What is never learnt from, for measuring.
    pub held_out: Option<DataConfig>,
    /// A folder of latents that `vldm data encode` made of `data` and `held_out`.
    pub cache: Option<PathBuf>,
    /// How clips become batches.
    pub batch: BatchConfig,
    /// How batches are read ahead.
    #[serde(default)]
    pub loader: LoaderSettings,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// What the networks are told.
    #[serde(default)]
    pub conditioning: ConditioningConfig,
    /// The losses of an adversarial stage.
    #[serde(default)]
    pub adversarial: AdversarialConfig,
    /// Whether a new autoencoder, as it is saved, gets latents without correlation between channels.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whiten: bool,
    /// Its discriminator; the stage's own where it is absent.
    pub discriminator: Option<DiscriminatorConfig>,
    /// What DreamBooth needs to know.
    pub dreambooth: Option<DreamboothConfig>,
    /// Low-rank adapters that learn in place of the parameters themselves.
    pub lora: Option<LoraConfig>,
    /// Parameters that learn, by the beginnings of their names (`"unet."`), in place of the
    /// stage's own.
    pub learns: Option<Vec<String>>,
    /// When the run is saved.
    #[serde(default)]
    pub checkpoints: CheckpointConfig,
    /// When it is measured.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// When it is looked at.
    #[serde(default)]
    pub samples: SamplesConfig,
}

impl Recipe {
    /// Reads a recipe file. Paths in it are relative to the working directory.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Recipe::parse`].
    pub fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).map_err(|error| CheckpointError::read(path, error))?;
        Self::parse(&text).map_err(|error| Error::Config(format!("{}: {error}", path.display())))
    }

    /// Reads the text of a recipe.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key that is unknown, missing or out of range.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: Self =
            toml::from_str(text).map_err(|error| Error::Config(error.to_string()))?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe as TOML, with everything it left unsaid.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Config(error.to_string()))
    }

    /// The model.
    ///
    /// # Errors
    /// [`Error::Config`] when `[model]` is not a preset, or lacks what the stage needs.
    pub fn preset(&self) -> Result<Preset> {
        let mut table = self.model.clone();
        let base = table
            .get("base")
            .and_then(toml::Value::as_str)
            .unwrap_or("model");
        let name = base.to_owned();
        for (key, text) in [
            ("name", name.as_str()),
            ("summary", "a model under training"),
        ] {
            table.entry(key).or_insert_with(|| text.into());
        }
        let text = toml::to_string(&table).map_err(|error| Error::Config(error.to_string()))?;
        let preset = Preset::parse(&text, "[model]")?;
        self.stage.check(&preset)?;
        Ok(preset)
    }

    /// How the learning rate moves.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule {
            warmup: self.optimizer.warmup_steps,
            decay: self.optimizer.decay,
            steps: self.steps,
        }
    }

    /// The parameters that learn, by the beginnings of their names: adapters alone, where there
    /// are any.
    #[must_use]
    pub fn learns(&self, preset: &Preset) -> Vec<String> {
        match self.lora {
            Some(_) => vec!["lora.".into()],
            None => self.adapted(preset),
        }
    }

    /// The parameters that would learn without adapters.
    pub(crate) fn adapted(&self, preset: &Preset) -> Vec<String> {
        let own = || {
            self.stage
                .learns(preset)
                .into_iter()
                .map(String::from)
                .collect()
        };
        self.learns.clone().unwrap_or_else(own)
    }

    /// The discriminator of an adversarial stage.
    #[must_use]
    pub fn discriminator(&self) -> DiscriminatorConfig {
        self.discriminator.unwrap_or(match self.stage {
            TrainingStage::Decoder => DiscriminatorConfig::video(),
            _ => DiscriminatorConfig::default(),
        })
    }

    /// What batches are made of.
    ///
    /// # Errors
    /// [`Error::Config`] when neither the recipe nor the model says a size.
    pub fn order(&self, preset: &Preset) -> Result<OrderSettings> {
        let clip = preset.clip.as_ref();
        let pictures = self.stage.reads_pictures(preset);
        let batch = &self.batch;
        let own_size = clip.map(|clip| [clip.height as u32, clip.width as u32]);
        let sizes = match batch.sizes.is_empty() {
            true => own_size.into_iter().collect(),
            false => batch.sizes.clone(),
        };
        if sizes.is_empty() {
            return Err(Error::Config(
                "batch.sizes is empty and the model has no [clip]: say [[height, width]]".into(),
            ));
        }
        let lengths = match (pictures, batch.frames.is_empty()) {
            (true, _) => vec![1],
            (false, true) => vec![clip.map_or(8, |clip| clip.num_frames)],
            (false, false) => batch.frames.clone(),
        };
        if let Some(temporal) = &preset.temporal
            && !pictures
        {
            lengths
                .iter()
                .try_for_each(|&frames| temporal.check_frames(frames))?;
        }
        let rates = match (pictures, batch.fps.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => clip.map(|clip| clip.fps.clone()).unwrap_or_default(),
            (false, false) => batch.fps.clone(),
        };
        Ok(OrderSettings {
            seed: self.seed,
            batch: batch.size,
            buckets: sizes,
            lengths,
            rates,
            fit: batch.fit,
        })
    }

    fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::Config(message));
        if self.steps == 0 || self.batch.size == 0 || self.batch.accumulate == 0 {
            return fail("steps, batch.size and batch.accumulate must be at least 1".into());
        }
        self.conditioning.validate()?;
        if self.checkpoints.every == 0 || self.checkpoints.keep_last == 0 {
            return fail("checkpoints.every and checkpoints.keep_last must be at least 1".into());
        }
        let shares = &self.evaluation.levels;
        if shares.is_empty() || !shares.iter().all(|share| (0.0..=1.0).contains(share)) {
            return fail(format!(
                "evaluation.levels is {shares:?}, expected shares of the noise from 0 to 1"
            ));
        }
        if self.stage.is_adversarial() && !self.activation_checkpointing.is_default() {
            return fail(format!(
                "activation_checkpointing is for stages with a U-Net: leave it out of \"{}\"",
                self.stage.name()
            ));
        }
        if self.whiten && self.stage != TrainingStage::Autoencoder {
            return fail(format!(
                "whiten is for the stage \"autoencoder\": leave it out of \"{}\"",
                self.stage.name()
            ));
        }
        if let Some(lora) = &self.lora {
            lora.validate()?;
            if self.stage.is_adversarial() {
                return fail("[lora] is for stages with a U-Net".into());
            }
        }
        if (self.stage == TrainingStage::Dreambooth) != self.dreambooth.is_some() {
            return fail(
                "[dreambooth] with its prompts belongs to the stage \"dreambooth\", and only to it"
                    .into(),
            );
        }
        if self
            .batch
            .fps
            .iter()
            .any(|fps| !(fps.is_finite() && *fps > 0.0))
        {
            return fail("batch.fps: expected rates above 0".into());
        }
        self.optimizer.validate()?;
        self.schedule().validate()?;
        self.discriminator().validate()?;
        let preset = self.preset()?;
        match self.cache {
            Some(_) => super::cache::check(self, &preset),
            None => Ok(()),
        }
    }
}
