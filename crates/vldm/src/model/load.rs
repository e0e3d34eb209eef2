//! From a description to a model: building each part and filling it.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, Device};

use super::open::{CONDITIONS, Source};
use super::{Model, ModelDescription, VideoAutoencoder, VideoUNet};
use crate::autoencoder::{Autoencoder, TemporalDecoderLayers};
use crate::checkpoint::key_map::{AutoencoderKeys, ClipTextKeys, Identity, KeyMap, UNetKeys};
use crate::checkpoint::{LoadOptions, LoadReport, Weights, count_parameters, load as fill};
use crate::conditioning::encoders::ConditionEncoders;
use crate::error::{Error, Result};
use crate::nn::{Init, arrange_as};
use crate::text::{ClipTextEncoder, ClipVisionEncoder, PadToken, Tokenizer};
use crate::unet::{TemporalConfig, TemporalLayers, UNet, UNetConfig};

/// How a model is loaded.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// Where the parameters go.
    pub device: Device,
    /// The parameters' data type; f32 or bf16.
    pub dtype: DType,
    /// A file of temporal layers to put onto the U-Net.
    pub temporal: Option<PathBuf>,
}

pub(super) fn parameter_counts(description: &ModelDescription) -> Vec<(&'static str, usize)> {
    let init = Init::new(&Device::flex(), 0);
    let mut counts = Vec::new();
    if let Some(unet) = &description.unet {
        counts.push(("unet", count_parameters(&UNet::new(&unet.config, &init))));
        if let Some(temporal) = &unet.temporal {
            let layers = TemporalLayers::new(&unet.config, temporal, &init);
            counts.push(("unet, temporal layers", count_parameters(&layers)));
        } else if let Some(path) = &description.temporal_file {
            counts.push(("unet, temporal layers", temporal_parameters(path)));
        }
    }
    if let Some(autoencoder) = &description.autoencoder {
        let image = Autoencoder::new(&autoencoder.config, &init);
        counts.push(("autoencoder", count_parameters(&image)));
        if let Some(temporal) = autoencoder.temporal {
            let layers = TemporalDecoderLayers::new(&autoencoder.config, temporal, &init);
            counts.push(("decoder, temporal layers", count_parameters(&layers)));
        }
    }
    if let Some(config) = &description.text_encoder {
        counts.push((
            "text encoder",
            count_parameters(&ClipTextEncoder::new(config, &init)),
        ));
    }
    if let Some(config) = &description.image_encoder {
        counts.push((
            "image encoder",
            count_parameters(&ClipVisionEncoder::new(config, &init)),
        ));
    }
    if let Some(config) = &description.conditions {
        let encoders = ConditionEncoders::new(config, &init);
        counts.push(("encoders of conditions", count_parameters(&encoders)));
    }
    counts
}

pub(super) fn load(description: ModelDescription, settings: &LoadSettings) -> Result<Model> {
    let seed = match description.source {
        Source::Random(seed) => seed,
        _ => 0,
    };
    let mut loader = Loader {
        source: description.source.clone(),
        settings,
        init: Init::new(&settings.device, seed),
        reports: Vec::new(),
    };
    let unet = loader.unet(&description)?;
    let autoencoder = loader.autoencoder(&description)?;
    let text_encoder = loader.text_encoder(&description)?;
    let image_encoder = loader.image_encoder(&description)?;
    let conditions = loader.conditions(&description)?;
    let tokenizer = loader.tokenizer(&description)?;
    if let Source::SingleFile(file, weights) = &description.source {
        weights.finish("model", |name| file.is_ignored(name))?;
    }
    Ok(Model {
        reports: loader.reports,
        unet,
        autoencoder,
        text_encoder,
        tokenizer,
        image_encoder,
        conditions,
        device: settings.device.clone(),
        dtype: settings.dtype,
        description,
    })
}

struct Loader<'a> {
    source: Source,
    settings: &'a LoadSettings,
    init: Init,
    reports: Vec<LoadReport>,
}

impl Loader<'_> {
    /// Fills one part from one file; `part` is judged alone unless `shared` with another part.
    fn fill<M: Module>(
        &mut self,
        module: M,
        (part, shared): (&str, bool),
        weights: &Weights,
        map: &dyn KeyMap,
    ) -> Result<M> {
        let mut options = LoadOptions::new(part).dtype(self.settings.dtype);
        if shared {
            options = options.leave_rest();
        }
        let (module, report) = fill(module, weights, map, &options)?;
        self.reports.push(report);
        Ok(module)
    }

    /// A module that keeps its random weights, as a loaded one holds them.
    fn random<M: Module>(&self, module: M) -> M {
        arrange_as(module, self.settings.dtype)
    }

    /// The weights of a part that has a folder of its own.
    fn folder(&self, names: &[&str]) -> Result<Weights> {
        let path = match &self.source {
            Source::Part(path) => path.clone(),
            Source::Pipeline(folder) => {
                let name = names
                    .iter()
                    .find(|&&name| folder.components.contains_key(name))
                    .unwrap_or(&names[0]);
                folder.part(name)?
            }
            Source::SingleFile(..) | Source::Random(_) => {
                return Err(Error::Config("only a model's folder has folders".into()));
            }
        };
        Ok(Weights::open(path)?)
    }

    fn unet(&mut self, description: &ModelDescription) -> Result<Option<VideoUNet>> {
        let Some(unet) = &description.unet else {
            return Ok(None);
        };
        let config = unet.config.clone();
        let module = UNet::new(&config, &self.init);
        let own = unet.temporal.as_ref();
        let layers = own.map(|temporal| TemporalLayers::new(&config, temporal, &self.init));
        let shared = layers.is_some();
        let (module, mut temporal) = match self.source.clone() {
            Source::Random(_) => (
                self.random(module),
                layers.map(|layers| self.random(layers)),
            ),
            Source::SingleFile(file, weights) => {
                let module = self.fill(module, ("unet", true), &weights, &file.unet_keys())?;
                let keys = file.temporal_keys();
                let part = ("unet, temporal layers", true);
                let layers = layers.map(|layers| self.fill(layers, part, &weights, &keys));
                (module, layers.transpose()?)
            }
            _ => {
                let weights = self.folder(&["unet"])?;
                let keys = UNetKeys::of(&weights);
                let module = self.fill(module, ("unet", shared), &weights, &keys)?;
                let part = ("unet, temporal layers", false);
                let keys = UNetKeys::temporal();
                let layers = layers.map(|layers| self.fill(layers, part, &weights, &keys));
                (module, layers.transpose()?)
            }
        };
        let mut temporal_config = unet.temporal.clone();
        let file = self.settings.temporal.as_ref();
        if let Some(path) = file.or(description.temporal_file.as_ref()).cloned() {
            let onto = (&self.settings.device, self.settings.dtype);
            let (layers, config, report) = temporal_file(&unet.config, &path, onto)?;
            self.reports.push(report);
            (temporal, temporal_config) = (Some(layers), Some(config));
        }
        Ok(Some(VideoUNet {
            config,
            unet: module,
            temporal,
            temporal_config,
        }))
    }

    fn autoencoder(&mut self, description: &ModelDescription) -> Result<Option<VideoAutoencoder>> {
        let Some(from) = &description.autoencoder else {
            return Ok(None);
        };
        let config = from.config.clone();
        let module = Autoencoder::new(&config, &self.init);
        let layers = from
            .temporal
            .map(|temporal| TemporalDecoderLayers::new(&config, temporal, &self.init));
        let names = ("autoencoder", "decoder, temporal layers");
        let (module, temporal) = match self.source.clone() {
            Source::Random(_) => (
                self.random(module),
                layers.map(|layers| self.random(layers)),
            ),
            Source::SingleFile(file, weights) => {
                let keys = file.autoencoder_keys();
                let module = self.fill(module, (names.0, true), &weights, &keys)?;
                let keys = file.temporal_decoder_keys();
                let layers =
                    layers.map(|layers| self.fill(layers, (names.1, true), &weights, &keys));
                (module, layers.transpose()?)
            }
            _ => {
                let weights = self.folder(&["vae", "vqvae"])?;
                let own_file = description.decoder_file.as_ref();
                let shared = layers.is_some() && own_file.is_none();
                let keys = AutoencoderKeys::of(&weights);
                let module = self.fill(module, (names.0, shared), &weights, &keys)?;
                let weights = match own_file {
                    Some(path) => Weights::open(path)?,
                    None => weights,
                };
                let keys = AutoencoderKeys::Temporal;
                let layers =
                    layers.map(|layers| self.fill(layers, (names.1, false), &weights, &keys));
                (module, layers.transpose()?)
            }
        };
        Ok(Some(VideoAutoencoder {
            config,
            autoencoder: module,
            temporal,
        }))
    }

    fn text_encoder(&mut self, description: &ModelDescription) -> Result<Option<ClipTextEncoder>> {
        let Some(config) = &description.text_encoder else {
            return Ok(None);
        };
        let module = ClipTextEncoder::new(config, &self.init);
        let module = match self.source.clone() {
            Source::Random(_) => self.random(module),
            Source::SingleFile(file, weights) => {
                let keys = file.text_keys().unwrap_or_else(|| Box::new(Identity));
                self.fill(module, ("text encoder", true), &weights, &*keys)?
            }
            _ => {
                let weights = self.folder(&["text_encoder"])?;
                let keys = ClipTextKeys::of(&weights);
                self.fill(module, ("text encoder", false), &weights, &keys)?
            }
        };
        Ok(Some(module))
    }

    fn image_encoder(
        &mut self,
        description: &ModelDescription,
    ) -> Result<Option<ClipVisionEncoder>> {
        let Some(config) = &description.image_encoder else {
            return Ok(None);
        };
        let module = ClipVisionEncoder::new(config, &self.init);
        let module = match self.source.clone() {
            Source::Random(_) => self.random(module),
            Source::SingleFile(file, weights) => match file.vision_keys() {
                Some(keys) => self.fill(module, ("image encoder", true), &weights, &keys)?,
                None => return Ok(None),
            },
            _ => {
                let weights = self.folder(&["image_encoder"])?;
                let keys = ClipTextKeys { prefixed: true };
                self.fill(module, ("image encoder", false), &weights, &keys)?
            }
        };
        Ok(Some(module))
    }

    fn conditions(&mut self, description: &ModelDescription) -> Result<Option<ConditionEncoders>> {
        let Some(config) = &description.conditions else {
            return Ok(None);
        };
        let module = ConditionEncoders::new(config, &self.init);
        let module = match &self.source {
            Source::Pipeline(folder) => {
                let path = folder.path.join(CONDITIONS).join("model.safetensors");
                let weights = Weights::open(path)?;
                self.fill(
                    module,
                    ("encoders of conditions", false),
                    &weights,
                    &Identity,
                )?
            }
            _ => self.random(module),
        };
        Ok(Some(module))
    }

    fn tokenizer(&self, description: &ModelDescription) -> Result<Option<Tokenizer>> {
        let Some(config) = &description.text_encoder else {
            return Ok(None);
        };
        let tokenizer = match &self.source {
            Source::Pipeline(folder) if folder.components.contains_key("tokenizer") => {
                Tokenizer::from_folder(Some(&folder.part("tokenizer")?))?
            }
            Source::SingleFile(file, _) => match file.family {
                crate::checkpoint::single_file::Family::StableDiffusion1 => {
                    Tokenizer::builtin(PadToken::EndOfText)
                }
                _ => Tokenizer::builtin(PadToken::ExclamationMark),
            },
            Source::Random(_) => {
                Tokenizer::of_preset(description.pad_token, &description.known_words)?
            }
            _ => Tokenizer::builtin(PadToken::EndOfText),
        };
        Ok(Some(tokenizer.with_max_length(config.max_tokens)?))
    }
}

/// Reads a file of temporal layers for an image network of these sizes, with the configuration in
/// its metadata.
///
/// # Errors
/// When the file is no such file, or its layers do not fit the network.
pub fn load_temporal(
    unet: &UNetConfig,
    path: &Path,
    onto: (&Device, DType),
) -> Result<(TemporalLayers, TemporalConfig)> {
    temporal_file(unet, path, onto).map(|(layers, config, _)| (layers, config))
}

/// How many parameters a file of temporal layers holds; none where it cannot be read, of which loading it
/// will tell.
pub(crate) fn temporal_parameters(path: &Path) -> usize {
    let Ok(weights) = Weights::open(path) else {
        return 0;
    };
    let shapes = weights.names().filter_map(|name| weights.shape(name));
    shapes.map(|shape| shape.iter().product::<usize>()).sum()
}

fn temporal_file(
    unet: &UNetConfig,
    path: &Path,
    (device, dtype): (&Device, DType),
) -> Result<(TemporalLayers, TemporalConfig, LoadReport)> {
    let weights = Weights::open(path)?;
    let config = temporal_config(&weights, path)?;
    config
        .validate(unet)
        .map_err(|error| Error::Config(format!("{}: {error}", path.display())))?;
    let layers = TemporalLayers::new(unet, &config, &Init::new(device, 0));
    let options = LoadOptions::new("temporal layers").dtype(dtype);
    let (layers, report) = fill(layers, &weights, &UNetKeys::temporal(), &options)?;
    Ok((layers, config, report))
}

/// The configuration that a file of temporal layers carries.
fn temporal_config(weights: &Weights, path: &Path) -> Result<TemporalConfig> {
    let metadata = crate::checkpoint::Metadata::of(weights)?;
    let Some(config) = metadata.config else {
        return Err(Error::Input(format!(
            "{}: no configuration in the file's metadata; expected temporal layers written by \
             `vldm train` or `vldm model convert --temporal-only`",
            path.display()
        )));
    };
    serde_json::from_value(config).map_err(|error| {
        Error::Config(format!(
            "{}: the configuration in the metadata is not one of temporal layers: {error}",
            path.display()
        ))
    })
}
