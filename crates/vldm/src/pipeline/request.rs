//! What can be asked for. One type for the command line and the library.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vldm_media::Fps;

use super::wishes::{SampleWishes, Wishes};
use crate::conditioning::boxes::ObjectBox;
use crate::diffusion::Guidance;
use crate::error::{Error, Result};
use crate::sampler::SamplerConfig;

/// A clip or picture to generate. What is `None` is decided by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateRequest {
    /// What to show; models that read text only.
    pub prompt: Option<String>,
    /// What not to show: takes the place of the empty prompt in guidance.
    pub negative_prompt: Option<String>,
    /// Pixels.
    pub width: Option<usize>,
    /// Pixels.
    pub height: Option<usize>,
    /// Number of frames; 1 is a picture.
    pub frames: Option<usize>,
    /// Frames per second of the file; for Stable Video Diffusion also a condition.
    #[serde(with = "fps_as_text")]
    pub fps: Option<Fps>,
    /// Sampling steps.
    pub steps: Option<usize>,
    /// The stepping rule.
    pub sampler: Option<SamplerConfig>,
    /// How strongly to follow the condition.
    pub guidance: Option<Guidance>,
    /// Stable Video Diffusion: how much motion, 127 is medium.
    pub motion_bucket: Option<f64>,
    /// Stable Video Diffusion: noise added to the picture, as a fraction of its range.
    pub noise_augmentation: Option<f64>,
    /// The seed of the first sample; the next has the next one.
    pub seed: u64,
    /// How many samples.
    pub count: usize,
    /// Frames decoded at a time.
    pub decode_chunk: Option<usize>,
    /// Farthest frame that temporal attention looks at.
    pub attention_distance: Option<usize>,
    /// Labels by name.
    pub labels: BTreeMap<String, usize>,
    /// Boxes on the frame; pictures only.
    pub boxes: Vec<ObjectBox>,
    /// What each of `count` samples should show, in place of what all of them show; none, or one for
    /// each.
    pub each: Vec<Wishes>,
    /// Side of the tiles in which a clip is upsampled, in pixels of the small clip.
    pub tile: Option<usize>,
}

impl Default for GenerateRequest {
    fn default() -> Self {
        Self {
            prompt: None,
            negative_prompt: None,
            width: None,
            height: None,
            frames: None,
            fps: None,
            steps: None,
            sampler: None,
            guidance: None,
            motion_bucket: None,
            noise_augmentation: None,
            seed: 0,
            count: 1,
            decode_chunk: None,
            attention_distance: None,
            labels: BTreeMap::new(),
            boxes: Vec::new(),
            each: Vec::new(),
            tile: None,
        }
    }
}

impl GenerateRequest {
    /// What the samples should show.
    #[must_use]
    pub fn wishes(&self) -> SampleWishes {
        SampleWishes {
            all: Wishes {
                prompt: self.prompt.clone(),
                negative_prompt: self.negative_prompt.clone(),
                labels: self.labels.clone(),
                boxes: self.boxes.clone(),
            },
            each: self.each.clone(),
        }
    }

    /// Refuses what no model can do.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first value out of range.
    pub fn validate(&self) -> Result<()> {
        let at_least_one = [
            ("frames", self.frames),
            ("steps", self.steps),
            ("width", self.width),
            ("height", self.height),
            ("count", Some(self.count)),
            ("decode chunk", self.decode_chunk),
            ("tile", self.tile),
        ];
        for (name, value) in at_least_one {
            if value == Some(0) {
                return Err(Error::Input(format!("{name} is 0, expected at least 1")));
            }
        }
        if !self.each.is_empty() && self.each.len() != self.count {
            return Err(Error::Input(format!(
                "{} samples are told each what to show, expected as many as are made: {}",
                self.each.len(),
                self.count
            )));
        }
        if let Some(strength) = self.noise_augmentation
            && !(0.0..=10.0).contains(&strength)
        {
            return Err(Error::Input(format!(
                "noise augmentation is {strength}, expected between 0 and 10 (0.02 is usual)"
            )));
        }
        if let Some(bucket) = self.motion_bucket
            && !(0.0..=1023.0).contains(&bucket)
        {
            return Err(Error::Input(format!(
                "motion bucket is {bucket}, expected between 0 and 1023 (127 is medium)"
            )));
        }
        self.sampler
            .as_ref()
            .map_or(Ok(()), SamplerConfig::validate)
    }
}

/// "24", "29.97", "30000/1001".
mod fps_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use vldm_media::Fps;

    pub(super) fn serialize<S: Serializer>(fps: &Option<Fps>, to: S) -> Result<S::Ok, S::Error> {
        match fps {
            Some(fps) => to.serialize_some(&fps.to_string()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Fps>, D::Error> {
        let text: Option<String> = Option::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}
