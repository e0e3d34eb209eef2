//! The networks of a run: fresh by a preset's sizes, or from weights that are already there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};

use super::discriminator::{Discriminator, DiscriminatorConfig};
use super::lora::Lora;
use super::networks::Networks;
use super::prepare::Preparation;
use super::recipe::Recipe;
use super::stage::TrainingStage;
use super::start::take;
use crate::autoencoder::{Autoencoder, TemporalDecoderLayers};
use crate::checkpoint::key_map::UNetKeys;
use crate::checkpoint::{LoadOptions, Weights, load};
use crate::conditioning::encoders::ConditionEncoders;
use crate::error::{Error, Result};
use crate::model::{LoadSettings, Model, ModelDescription, VideoAutoencoder, VideoUNet};
use crate::nn::{Init, arrange_as};
use crate::perceptual::Perceptual;
use crate::preset::{Part, Preset};
use crate::text::{ClipTextEncoder, ClipVisionEncoder, Tokenizer};
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
        perceptual: None,
        lora: None,
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
        perceptual: None,
        lora: None,
    }
}

/// The networks of a preset: those that `start` has, and fresh ones. The scale of an autoencoder's
/// latents comes with its weights, into the preset; the tokenizer comes with the text encoder.
///
/// # Errors
/// When a path of `start` cannot be read, or a part there has other sizes than the preset says.
pub fn networks(
    preset: &mut Preset,
    start: &Start,
    seed: u64,
    device: &Device,
) -> Result<(Networks, Option<Tokenizer>)> {
    let mut networks = fresh_networks(preset, start.seed.unwrap_or(seed), device);
    let mut tokenizer = tokenizer(preset)?;
    if let Some(path) = &start.model {
        let found = open(path, device)?;
        for part in Part::ALL {
            let to = (&mut *preset, &mut tokenizer);
            take(&mut networks, to, (&found, path), (part, false))?;
        }
    }
    for (part, path) in &start.parts {
        let to = (&mut *preset, &mut tokenizer);
        let found = open(path, device)?;
        take(&mut networks, to, (&found, path), (*part, true))?;
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
    Ok((networks, tokenizer))
}

/// The networks of a recipe, and how clips become examples for them.
///
/// # Errors
/// As [`networks`].
pub(crate) fn for_recipe(recipe: &Recipe, device: &Device) -> Result<(Networks, Preparation)> {
    let mut preset = recipe.preset()?;
    let (mut networks, tokenizer) = networks(&mut preset, &recipe.start, recipe.seed, device)?;
    fit_stage(&mut networks, &preset, recipe, device)?;
    if let Some(lora) = &recipe.lora {
        let (learns, init) = (
            recipe.adapted(&preset),
            Init::new(device, recipe.seed.wrapping_add(8)),
        );
        let unet = preset.unet.as_ref();
        let unet = unet.ok_or_else(|| Error::Config("[lora] needs a model with a U-Net".into()))?;
        Lora::attach(&mut networks, unet, lora, (&learns, &init))?;
    }
    let preparation = Preparation::new(recipe, (preset, tokenizer), device)?;
    Ok((networks, preparation))
}

/// The tokenizer of a preset's text encoder.
fn tokenizer(preset: &Preset) -> Result<Option<Tokenizer>> {
    let Some(config) = &preset.text_encoder else {
        return Ok(None);
    };
    let tokenizer = Tokenizer::of_preset(preset.pad_token, &preset.words)?;
    tokenizer.with_max_length(config.max_tokens).map(Some)
}

/// Leaves the networks that take part in a recipe's stage, and adds its discriminator.
fn fit_stage(
    networks: &mut Networks,
    preset: &Preset,
    recipe: &Recipe,
    device: &Device,
) -> Result<()> {
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
        networks.discriminator = Some(discriminator(
            &recipe.discriminator(),
            preset,
            (recipe.seed, device),
        ));
        if let Some(config) = &recipe.adversarial.perceptual {
            let autoencoder = preset.autoencoder.as_ref();
            let channels = autoencoder.map_or(3, |config| config.image_channels);
            config.check(&recipe.order(preset)?.buckets, channels)?;
            networks.perceptual = Some(Perceptual::load(&config.weights, device)?);
        }
    }
    Ok(())
}

/// A fresh discriminator of what a preset's autoencoder makes.
pub(crate) fn discriminator(
    config: &DiscriminatorConfig,
    preset: &Preset,
    (seed, device): (u64, &Device),
) -> Discriminator {
    let autoencoder = preset.autoencoder.as_ref();
    let channels = autoencoder.map_or(3, |config| config.image_channels);
    let init = Init::new(device, seed.wrapping_add(7));
    values(Discriminator::new(config, channels, &init))
}

/// The model at a path: a model's folder or file, or the latest checkpoint of a run.
fn open(path: &Path, device: &Device) -> Result<Model> {
    let settings = LoadSettings {
        device: device.clone(),
        dtype: DType::F32,
        temporal: None,
    };
    ModelDescription::open(path, None)?.load(&settings)
}

/// A whole model of these networks and of the tokenizer of its text encoder, as it is saved and sampled
/// from.
///
/// # Errors
/// [`Error::Config`] when the preset is that of a stack.
pub fn model_of(
    networks: Networks,
    preset: &Preset,
    tokenizer: Option<Tokenizer>,
) -> Result<Model> {
    let mut description = ModelDescription::from_preset(preset, 0)?;
    description.note = None;
    let device = Device::flex();
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
