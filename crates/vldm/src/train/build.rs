//! The networks of a run: fresh by a preset's sizes, or from weights that are already there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::networks::Networks;
use crate::autoencoder::{Autoencoder, TemporalDecoderLayers};
use crate::checkpoint::count_parameters;
use crate::conditioning::encoders::ConditionEncoders;
use crate::error::{Error, Result};
use crate::model::{LoadSettings, Model, ModelDescription};
use crate::nn::{Init, arrange_as};
use crate::preset::{Part, Preset};
use crate::text::{ClipTextEncoder, ClipVisionEncoder};
use crate::unet::{TemporalLayers, UNet};

/// Where a run's weights come from. What is not found anywhere starts fresh.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// A model's folder or file, or the folder of another run: every part it has is taken.
    pub model: Option<PathBuf>,
    /// Single parts from elsewhere; these win over `model`.
    pub parts: BTreeMap<Part, PathBuf>,
    /// A file of temporal layers.
    pub temporal: Option<PathBuf>,
    /// Seed of the parts that start fresh; the run's own where it is absent.
    pub seed: Option<u64>,
}

/// All networks of a preset with fresh values from `seed`, in f32. The values of a part depend on
/// its sizes and the seed alone.
pub fn fresh_networks(preset: &Preset, seed: u64, device: &Device) -> Networks {
    let init = |part: u64| {
        Init::new(
            device,
            seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(part),
        )
    };
    let conditions = preset.conditions();
    let unet = preset.unet.as_ref();
    Networks {
        unet: unet.map(|config| values(UNet::new(config, &init(0)))),
        temporal: unet
            .zip(preset.temporal.as_ref())
            .map(|(config, temporal)| values(TemporalLayers::new(config, temporal, &init(1)))),
        conditions: (!conditions.is_empty())
            .then(|| values(ConditionEncoders::new(&conditions, &init(2)))),
        text_encoder: preset
            .text_encoder
            .as_ref()
            .map(|config| values(ClipTextEncoder::new(config, &init(3)))),
        image_encoder: preset
            .image_encoder
            .as_ref()
            .map(|config| values(ClipVisionEncoder::new(config, &init(4)))),
        autoencoder: preset
            .autoencoder
            .as_ref()
            .map(|config| values(Autoencoder::new(config, &init(5)))),
        temporal_decoder: preset
            .autoencoder
            .as_ref()
            .zip(preset.temporal_decoder)
            .map(|(config, temporal)| {
                values(TemporalDecoderLayers::new(config, temporal, &init(6)))
            }),
        discriminator: None,
    }
}

fn values<M: Module>(module: M) -> M {
    arrange_as(module, DType::F32)
}

/// The networks of a loaded model.
pub fn networks_of(model: Model) -> Networks {
    let (unet, temporal) = match model.unet {
        Some(part) => (Some(part.unet), part.temporal),
        None => (None, None),
    };
    let (autoencoder, temporal_decoder) = match model.autoencoder {
        Some(part) => (Some(part.autoencoder), part.temporal),
        None => (None, None),
    };
    Networks {
        unet,
        temporal,
        conditions: model.conditions,
        text_encoder: model.text_encoder,
        image_encoder: model.image_encoder,
        autoencoder,
        temporal_decoder,
        discriminator: None,
    }
}
