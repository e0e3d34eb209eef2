//! A stack on disk: a folder with `stack.toml`, which says which model serves which stage.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointError;
use crate::diffusion::Guidance;
use crate::error::{Error, Result};
use crate::preset::Stage;
use crate::sampler::SamplerConfig;

/// Version of `stack.toml` that this program writes and reads.
pub const STACK_FORMAT: u32 = 1;

/// A `stack.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig {
    /// Version of this file's form.
    pub format_version: u32,
    /// What a user should know before looking at the result.
    #[serde(default)]
    pub note: Option<String>,
    /// The stage that makes key frames, or the whole clip where there is no other.
    pub key_frames: Option<StageConfig>,
    /// Makes the first frame of a rollout.
    pub image: Option<StageConfig>,
    /// Makes the first frame from boxes.
    pub boxes: Option<StageConfig>,
    /// Continues given key frames.
    pub prediction: Option<StageConfig>,
    /// Makes the frames between, once for each of its rates.
    pub interpolation: Option<StageConfig>,
    /// Turns the clip into a larger one.
    pub upsampler: Option<StageConfig>,
}

/// One stage of a stack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// The model's folder, relative to the stack's.
    pub model: PathBuf,
    /// Temporal layers to put onto the model, relative to the stack's folder.
    #[serde(default)]
    pub temporal: Option<PathBuf>,
    /// Frames per second of what the stage makes, ascending; several where it is run several times.
    #[serde(default)]
    pub frame_rates: Vec<f64>,
    /// Of an upsampler: how many times larger its result is.
    #[serde(default)]
    pub upscale: Option<usize>,
    /// Of an upsampler in pixels that makes what enlarging the clip lacks: the scale of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual_scale: Option<f64>,
    /// Level of the noise on what the stage is given, as a timestep of its schedule.
    #[serde(default)]
    pub noise_augmentation: Option<f64>,
    /// What the stage is run with unless the user says otherwise.
    #[serde(default)]
    pub usual: UsualSettings,
}

/// Settings that a model is usually run with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsualSettings {
    /// Pixels.
    pub width: Option<usize>,
    /// Pixels.
    pub height: Option<usize>,
    /// Number of frames.
    pub frames: Option<usize>,
    /// Frames per second.
    pub fps: Option<f64>,
    /// Sampling steps.
    pub steps: Option<usize>,
    /// The stepping rule; the model's own where it is absent.
    pub sampler: Option<SamplerConfig>,
    /// How strongly the condition is followed.
    pub guidance: Option<Guidance>,
}

impl StackConfig {
    /// Reads `stack.toml` in `folder`; `None` where there is none.
    ///
    /// # Errors
    /// When the file is damaged, of a later version, or leads out of its folder.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("stack.toml");
        if !path.is_file() {
            return Ok(None);
        }
        let text =
            std::fs::read_to_string(&path).map_err(|error| CheckpointError::read(&path, error))?;
        Self::parse(&text)
            .map(Some)
            .map_err(|error| Error::Config(format!("{}: {error}", path.display())))
    }

    /// Reads the text of a `stack.toml`.
    ///
    /// # Errors
    /// As [`StackConfig::open`].
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self =
            toml::from_str(text).map_err(|error| Error::Config(error.to_string()))?;
        if config.format_version != STACK_FORMAT {
            return Err(Error::Config(format!(
                "format_version is {}, this program reads {STACK_FORMAT}",
                config.format_version
            )));
        }
        for (_, stage) in config.stages() {
            stage.validate()?;
        }
        if config.key_frames.is_none() && config.image.is_none() {
            return Err(Error::Config(
                "expected at least one of [key_frames] and [image]".into(),
            ));
        }
        Ok(config)
    }

    /// The stages there are, in the order in which they are run.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, &StageConfig)> {
        let stages = [
            (Stage::Image, self.image.as_ref()),
            (Stage::Boxes, self.boxes.as_ref()),
            (Stage::KeyFrames, self.key_frames.as_ref()),
            (Stage::Prediction, self.prediction.as_ref()),
            (Stage::Interpolation, self.interpolation.as_ref()),
            (Stage::Upsampler, self.upsampler.as_ref()),
        ];
        stages
            .into_iter()
            .filter_map(|(stage, config)| config.map(|config| (stage, config)))
    }
}

impl StageConfig {
    /// How many times larger an upsampler's result is: 4, as the paper's, unless the file says otherwise.
    pub(crate) fn upscaling(&self) -> usize {
        self.upscale.unwrap_or(4)
    }

    fn validate(&self) -> Result<()> {
        for path in [Some(&self.model), self.temporal.as_ref()]
            .into_iter()
            .flatten()
        {
            let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            if !path.components().all(inside) {
                return Err(Error::Config(format!(
                    "{} leads out of the stack's folder; expected a path inside it",
                    path.display()
                )));
            }
        }
        let ascending = self.frame_rates.is_sorted_by(|a, b| a < b);
        let positive = |rate: &f64| rate.is_finite() && *rate > 0.0;
        if !ascending || !self.frame_rates.iter().all(positive) {
            return Err(Error::Config(format!(
                "frame_rates is {:?}, expected ascending numbers above 0",
                self.frame_rates
            )));
        }
        if self.upscale == Some(0) {
            return Err(Error::Config("upscale is 0, expected at least 1".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let message = match StackConfig::parse(text) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn damage_is_named() {
        check(
            "format_version = 1\n[key_frames]\nmodel = \"model\"",
            "StackConfig",
        );
        check(
            "format_version = 2\n[key_frames]\nmodel = \"model\"",
            "this program reads 1",
        );
        check(
            "format_version = 1\n[key_frames]\nmodel = \"../x\"",
            "leads out",
        );
        check(
            "format_version = 1\n[key_frames]\nmodel = \"/x\"",
            "leads out",
        );
        check(
            "format_version = 1\nsurplus = 1\n[key_frames]\nmodel = \"m\"",
            "surplus",
        );
        check("format_version = 1", "key_frames");
    }
}
