//! The networks of a run: fresh by a preset's sizes, or from weights that are already there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::discriminator::Discriminator;
use super::networks::Networks;
use super::recipe::Recipe;
use super::stage::TrainingStage;
use crate::autoencoder::{Autoencoder, AutoencoderConfig, TemporalDecoderLayers};
use crate::checkpoint::key_map::UNetKeys;
use crate::checkpoint::{LoadOptions, Weights, load};
use crate::conditioning::encoders::ConditionEncoders;
use crate::error::{Error, Result};
use crate::model::{LoadSettings, Model, ModelDescription, VideoAutoencoder, VideoUNet};
use crate::nn::{Init, arrange_as};
use crate::preset::{Part, Preset};
use crate::text::{ClipTextEncoder, ClipVisionEncoder, PadToken, Tokenizer};
use crate::unet::{TemporalLayers, UNet, UNetConfig};

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

impl Start {
    /// Whether a part is looked for somewhere.
    pub(crate) fn brings(&self, part: Part) -> bool {
        self.model.is_some() || self.parts.contains_key(&part)
    }
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

/// The networks of a preset: those that `start` has, and fresh ones. The scale of an autoencoder's
/// latents comes with its weights, into the preset.
///
/// # Errors
/// When a path of `start` cannot be read, or a part there has other sizes than the preset says.
pub fn networks(
    preset: &mut Preset,
    start: &Start,
    seed: u64,
    device: &Device,
) -> Result<Networks> {
    let mut networks = fresh_networks(preset, start.seed.unwrap_or(seed), device);
    if let Some(path) = &start.model {
        let found = open(path, device)?;
        for part in Part::ALL {
            take(&mut networks, preset, (&found, path), (part, false))?;
        }
    }
    for (part, path) in &start.parts {
        take(
            &mut networks,
            preset,
            (&open(path, device)?, path),
            (*part, true),
        )?;
    }
    if let Some(path) = &start.temporal {
        let (Some(unet), Some(config)) = (&preset.unet, &preset.temporal) else {
            return Err(Error::Config(
                "start.temporal needs a model with [temporal]".into(),
            ));
        };
        let layers = TemporalLayers::new(unet, config, &Init::new(device, 0));
        let weights = Weights::open(path)?;
        let options = LoadOptions::new("temporal layers");
        networks.temporal = Some(load(layers, &weights, &UNetKeys::temporal(), &options)?.0);
    }
    Ok(networks)
}

/// Leaves the networks that take part in a recipe's stage, and adds its discriminator.
pub(crate) fn fit_stage(
    networks: &mut Networks,
    preset: &Preset,
    recipe: &Recipe,
    device: &Device,
) {
    let stage = recipe.stage;
    if !stage.uses_temporal_layers() {
        networks.temporal = None;
    }
    if stage != TrainingStage::Svd {
        networks.image_encoder = None;
    }
    if stage != TrainingStage::Decoder {
        networks.temporal_decoder = None;
    }
    if stage.is_adversarial() {
        (networks.unet, networks.temporal) = (None, None);
        (networks.text_encoder, networks.conditions) = (None, None);
        let channels = preset
            .autoencoder
            .as_ref()
            .map_or(3, |config| config.image_channels);
        let init = Init::new(device, recipe.seed.wrapping_add(7));
        let config = recipe.discriminator();
        networks.discriminator = Some(values(Discriminator::new(&config, channels, &init)));
    }
}

/// The model at a path: a model's folder or file, or the latest checkpoint of a run.
fn open(path: &Path, device: &Device) -> Result<Model> {
    let settings = LoadSettings {
        device: device.clone(),
        dtype: DType::F32,
        temporal: None,
    };
    let folder = super::checkpoint::latest_model(path)?.unwrap_or_else(|| path.to_owned());
    ModelDescription::open(folder, None)?.load(&settings)
}

/// Takes one part of a model; `wanted` makes it an error that the model lacks it.
fn take(
    networks: &mut Networks,
    preset: &mut Preset,
    (model, path): (&Model, &Path),
    (part, wanted): (Part, bool),
) -> Result<()> {
    let description = &model.description;
    let found = match part {
        Part::Unet => match (&model.unet, &preset.unet) {
            (Some(found), Some(config)) => {
                networks.unet = Some(fitted(found, config, path)?);
                true
            }
            _ => false,
        },
        Part::Temporal => match (model.unet.as_ref(), &preset.temporal) {
            (Some(found), Some(config)) => match &found.temporal {
                Some(layers) => {
                    same(
                        "temporal layers",
                        path,
                        found.temporal_config.as_ref(),
                        Some(config),
                    )?;
                    networks.temporal = Some(layers.clone());
                    true
                }
                None => false,
            },
            _ => false,
        },
        Part::Autoencoder => match (&model.autoencoder, &mut preset.autoencoder) {
            (Some(found), Some(config)) => {
                // The scale was measured when the autoencoder was finished; sizes are what counts.
                let unscaled = |config: &AutoencoderConfig| AutoencoderConfig {
                    scale_factor: 1.0,
                    ..config.clone()
                };
                same(
                    "autoencoder",
                    path,
                    Some(&unscaled(&found.config)),
                    Some(&unscaled(&*config)),
                )?;
                config.scale_factor = found.config.scale_factor;
                networks.autoencoder = Some(found.autoencoder.clone());
                true
            }
            _ => false,
        },
        Part::TemporalDecoder => match &model.autoencoder {
            Some(found) if found.temporal.is_some() && preset.temporal_decoder.is_some() => {
                networks.temporal_decoder = found.temporal.clone();
                true
            }
            _ => false,
        },
        Part::TextEncoder => match (&model.text_encoder, &preset.text_encoder) {
            (Some(found), Some(config)) => {
                same(
                    "text encoder",
                    path,
                    description.text_encoder.as_ref(),
                    Some(config),
                )?;
                networks.text_encoder = Some(found.clone());
                true
            }
            _ => false,
        },
        Part::ImageEncoder => match (&model.image_encoder, &preset.image_encoder) {
            (Some(found), Some(config)) => {
                same(
                    "image encoder",
                    path,
                    description.image_encoder.as_ref(),
                    Some(config),
                )?;
                networks.image_encoder = Some(found.clone());
                true
            }
            _ => false,
        },
        Part::Labels | Part::Boxes | Part::FrameRate => {
            condition_encoder(networks, preset, (model, path), part)?
        }
        Part::Decoder | Part::VideoUnet => false,
    };
    match wanted && !found {
        true => Err(Error::Input(format!(
            "{}: it has no {}, or the model under training needs none",
            path.display(),
            part.title()
        ))),
        false => Ok(()),
    }
}

fn condition_encoder(
    networks: &mut Networks,
    preset: &Preset,
    (model, path): (&Model, &Path),
    part: Part,
) -> Result<bool> {
    let (Some(found), Some(config), Some(ours)) = (
        &model.conditions,
        &model.description.conditions,
        &mut networks.conditions,
    ) else {
        return Ok(false);
    };
    let wanted = preset.conditions();
    Ok(match part {
        Part::Labels if found.labels.is_some() && wanted.labels.is_some() => {
            same(
                "label encoder",
                path,
                config.labels.as_ref(),
                wanted.labels.as_ref(),
            )?;
            ours.labels = found.labels.clone();
            true
        }
        Part::Boxes if found.boxes.is_some() && wanted.boxes.is_some() => {
            same(
                "box encoder",
                path,
                config.boxes.as_ref(),
                wanted.boxes.as_ref(),
            )?;
            ours.boxes = found.boxes.clone();
            true
        }
        Part::FrameRate if found.frame_rate.is_some() && wanted.frame_rate.is_some() => {
            same(
                "frame-rate tokens",
                path,
                config.frame_rate.as_ref(),
                wanted.frame_rate.as_ref(),
            )?;
            ours.frame_rate = found.frame_rate.clone();
            true
        }
        _ => false,
    })
}

/// A U-Net that fits the preset. One with fewer input channels gets zeros for the new ones, so
/// that it computes at first what it did (as the text-to-video interpolation starts).
fn fitted(found: &VideoUNet, config: &UNetConfig, path: &Path) -> Result<UNet> {
    let narrow = UNetConfig {
        in_channels: found.config.in_channels,
        ..config.clone()
    };
    // How a file stores projections is no size.
    let found_config = UNetConfig {
        projection: config.projection,
        ..found.config.clone()
    };
    same("U-Net", path, Some(&found_config), Some(&narrow))?;
    let mut unet = found.unet.clone();
    let new = config.in_channels.checked_sub(found.config.in_channels);
    match new {
        Some(0) => {}
        Some(new) => {
            unet.conv_in.weight = unet.conv_in.weight.map(|weight: Tensor<4>| {
                let [out, _, h, w] = weight.dims();
                let zeros = Tensor::zeros([out, new, h, w], (&weight.device(), weight.dtype()));
                vldm_kernels::arrange(Tensor::cat(vec![weight, zeros], 1))
            });
        }
        None => {
            return Err(Error::Config(format!(
                "{}: its U-Net reads {} channels, more than the {} of the model under training",
                path.display(),
                found.config.in_channels,
                config.in_channels
            )));
        }
    }
    Ok(unet)
}

fn same<T: PartialEq + std::fmt::Debug>(
    part: &str,
    path: &Path,
    found: Option<&T>,
    wanted: Option<&T>,
) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::Config(format!(
        "{}: its {part} has other sizes than the model under training\nfound    {found:?}\nexpected \
         {wanted:?}",
        path.display()
    )))
}

/// A whole model of these networks, as it is saved and sampled from.
///
/// # Errors
/// [`Error::Config`] when the preset is that of a stack.
pub fn model_of(networks: Networks, preset: &Preset) -> Result<Model> {
    let mut description = ModelDescription::from_preset(preset, 0)?;
    description.note = None;
    let device = Device::flex();
    let tokenizer = match &preset.text_encoder {
        Some(config) => {
            let tokenizer = Tokenizer::builtin(PadToken::EndOfText);
            Some(tokenizer.with_max_length(config.max_tokens)?)
        }
        None => None,
    };
    Ok(Model {
        unet: networks
            .unet
            .zip(preset.unet.clone())
            .map(|(unet, config)| VideoUNet {
                config,
                unet,
                temporal: networks.temporal,
                temporal_config: preset.temporal.clone(),
            }),
        autoencoder: networks.autoencoder.zip(preset.autoencoder.clone()).map(
            |(autoencoder, config)| VideoAutoencoder {
                config,
                autoencoder,
                temporal: networks.temporal_decoder,
            },
        ),
        text_encoder: networks.text_encoder,
        tokenizer,
        image_encoder: networks.image_encoder,
        conditions: networks.conditions,
        reports: Vec::new(),
        device,
        dtype: DType::F32,
        description,
    })
}
