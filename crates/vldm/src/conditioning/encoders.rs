//! The encoders of labels, boxes and frame rates that belong to one model.

use burn::module::Module;
use serde::{Deserialize, Serialize};

use super::boxes::{BoxEncoder, BoxEncoderConfig};
use super::frame_rate::{FrameRateConfig, FrameRateEncoder};
use super::labels::{LabelEncoder, LabelEncoderConfig};
use crate::error::Result;
use crate::nn::Init;

/// The sizes of a model's [`ConditionEncoders`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionEncodersConfig {
    /// Reads labels.
    pub labels: Option<LabelEncoderConfig>,
    /// Reads boxes.
    pub boxes: Option<BoxEncoderConfig>,
    /// Reads frame rates.
    pub frame_rate: Option<FrameRateConfig>,
}

impl ConditionEncodersConfig {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks each.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) names what is wrong.
    pub fn validate(&self) -> Result<()> {
        self.labels
            .as_ref()
            .map_or(Ok(()), LabelEncoderConfig::validate)?;
        self.boxes
            .as_ref()
            .map_or(Ok(()), BoxEncoderConfig::validate)?;
        self.frame_rate
            .as_ref()
            .map_or(Ok(()), FrameRateConfig::validate)
    }
}

/// What turns labels, boxes and frame rates into tokens.
#[derive(Module, Debug)]
pub struct ConditionEncoders {
    /// Reads labels.
    pub labels: Option<LabelEncoder>,
    /// Reads boxes.
    pub boxes: Option<BoxEncoder>,
    /// Reads frame rates.
    pub frame_rate: Option<FrameRateEncoder>,
}

impl ConditionEncoders {
    /// Encoders with fresh parameters; `config` has been validated.
    pub fn new(config: &ConditionEncodersConfig, init: &Init) -> Self {
        Self {
            labels: config
                .labels
                .as_ref()
                .map(|config| LabelEncoder::new(config, init)),
            boxes: config
                .boxes
                .as_ref()
                .map(|config| BoxEncoder::new(config, init)),
            frame_rate: config
                .frame_rate
                .as_ref()
                .map(|config| FrameRateEncoder::new(config, init)),
        }
    }
}
