//! Writing a model as a diffusers folder.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::DType;
use serde_json::{Map, Value, json};

use super::open::{CONDITIONS, DECODER, KEY_FRAMES};
use super::{Model, VideoAutoencoder, VideoUNet, to_foreign};
use crate::autoencoder::{
    Autoencoder, AutoencoderConfig, Regularization, TemporalDecoderConfig, TemporalDecoderLayers,
};
use crate::checkpoint::key_map::{
    AttentionNames, AutoencoderKeys, ClipTextKeys, Identity, KeyMap, Projection, Source, UNetKeys,
};
use crate::checkpoint::{
    CheckpointError, Metadata, SaveOptions, save as save_module, write_atomically,
};
use crate::error::{Error, Result};
use crate::nn::temporal::TimeKernel;
use crate::text::Tokenizer;
use crate::unet::{NormEps, ProjectionLayout, TemporalConfig, TemporalLayers};

/// How a model is written.
#[derive(Debug, Clone)]
pub struct SaveSettings {
    /// The files' data type: f32, f16 or bf16.
    pub dtype: DType,
    /// Split larger files, with an index beside the shards.
    pub max_shard_bytes: Option<usize>,
}

/// Image layers and temporal layers in one file, as diffusers keeps Stable Video Diffusion.
#[derive(Module, Debug)]
struct Both<S: Module, T: Module> {
    spatial: S,
    temporal: T,
}

#[derive(Debug)]
struct BothKeys<S, T> {
    spatial: S,
    temporal: T,
}

impl<S: KeyMap, T: KeyMap> KeyMap for BothKeys<S, T> {
    fn source(&self, ours: &str) -> Source {
        match ours.split_once('.') {
            Some(("temporal", rest)) => self.temporal.source(rest),
            Some((_, rest)) => self.spatial.source(rest),
            None => Source::plain(ours),
        }
    }
}

/// Writes `model` to a new folder `out`: one folder per part, and `model_index.json`.
///
/// Temporal layers of an image model go to `temporal/keyframes.safetensors`, those of a decoder to
/// `temporal/decoder.safetensors`; those of Stable Video Diffusion into the part's own file, as
/// diffusers has them.
///
/// # Errors
/// When `out` exists and is not empty, or the disk refuses; nothing is left under `out` then.
pub fn save(model: &Model, out: &Path, settings: &SaveSettings) -> Result<()> {
    save_beside(model, out, (settings, None))
}

/// What of a model has not changed since it was last saved.
pub(crate) struct Unchanged<'a> {
    /// The folder of that time.
    pub(crate) folder: &'a Path,
    /// Whether a network has not changed: `unet`, `temporal`, `autoencoder`, `temporal_decoder`,
    /// `text_encoder`, `image_encoder` or `conditions`.
    pub(crate) is: &'a dyn Fn(&str) -> bool,
}

/// As [`save`]; files of networks that have not changed are another name of the same file (a hard
/// link) where the file system permits, and written anew where it does not.
///
/// # Errors
/// Those of [`save`].
pub(crate) fn save_beside(
    model: &Model,
    out: &Path,
    (settings, unchanged): (&SaveSettings, Option<Unchanged>),
) -> Result<()> {
    if out
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
    {
        return Err(Error::Input(format!(
            "{} exists and is not empty; name a new folder",
            out.display()
        )));
    }
    let failed = |path: &Path, error| Error::from(CheckpointError::write(path, error));
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
    let temporary = tempfile::Builder::new()
        .prefix(".vldm-")
        .suffix(".partial")
        .tempdir_in(parent)
        .map_err(|error| failed(out, error))?;
    Writer {
        root: temporary.path().to_path_buf(),
        settings,
        unchanged,
        index: Map::new(),
    }
    .model(model)?;
    if out.exists() {
        std::fs::remove_dir(out).map_err(|error| failed(out, error))?;
    }
    std::fs::rename(temporary.path(), out).map_err(|error| failed(out, error))?;
    // It carries the final name now: there is nothing left to clean up.
    let _ = temporary.keep();
    Ok(())
}

/// Writes temporal layers alone, with the configuration that they need to be put on a model.
///
/// # Errors
/// When the disk refuses.
pub fn save_temporal(
    layers: &TemporalLayers,
    config: &TemporalConfig,
    path: &Path,
    dtype: DType,
) -> Result<()> {
    let config = serde_json::to_value(config)
        .map_err(|error| Error::Config(format!("temporal layers: {error}")))?;
    let options = SaveOptions {
        dtype,
        metadata: Metadata {
            config: Some(config),
            ..Metadata::default()
        },
        max_shard_bytes: None,
    };
    save_module(layers, path, &UNetKeys::temporal(), &options)?;
    Ok(())
}

/// Whether diffusers has a class for this decoder with these layers.
fn is_svd_decoder(config: &AutoencoderConfig, temporal: &TemporalDecoderConfig) -> bool {
    config.regularization == Regularization::Kl
        && config.norm_groups == 32
        && config.quant_conv
        && !config.post_quant_conv
        && temporal.kernel == TimeKernel::Time
}

struct Writer<'a> {
    root: PathBuf,
    settings: &'a SaveSettings,
    unchanged: Option<Unchanged<'a>>,
    index: Map<String, Value>,
}

impl Writer<'_> {
    fn model(mut self, model: &Model) -> Result<()> {
        if let Some(unet) = &model.unet {
            self.unet(unet, model)?;
        }
        if let Some(autoencoder) = &model.autoencoder {
            self.autoencoder(autoencoder, model)?;
        }
        self.encoders(model)?;
        if let Some(noise) = &model.description.noise {
            let config = to_foreign::noise(noise);
            self.index.insert(
                "scheduler".into(),
                json!(["diffusers", config["_class_name"]]),
            );
            self.json("scheduler/scheduler_config.json", &config)?;
        }
        let class = match model.image_encoder {
            Some(_) => "StableVideoDiffusionPipeline",
            None => "StableDiffusionPipeline",
        };
        let mut index = Map::new();
        index.insert("_class_name".into(), json!(class));
        index.append(&mut self.index);
        self.json("model_index.json", &Value::Object(index))
    }

    /// The encoders of text, pictures and other conditions.
    fn encoders(&mut self, model: &Model) -> Result<()> {
        let name = "model.safetensors";
        if let (Some(encoder), Some(config)) =
            (&model.text_encoder, &model.description.text_encoder)
        {
            let keys = ClipTextKeys { prefixed: true };
            self.part(
                ("text_encoder", name, &["text_encoder"]),
                to_foreign::clip_text(config),
                encoder,
                &keys,
            )?;
            self.index.insert(
                "text_encoder".into(),
                json!(["transformers", "CLIPTextModel"]),
            );
            self.index
                .insert("tokenizer".into(), json!(["transformers", "CLIPTokenizer"]));
            match model.tokenizer.as_ref().and_then(Tokenizer::files) {
                Some(files) => {
                    for (name, text) in files.named() {
                        self.text(&format!("tokenizer/{name}"), text)?;
                    }
                }
                None => {
                    let own = to_foreign::tokenizer(config.max_tokens, model.tokenizer.as_ref());
                    self.json("tokenizer/tokenizer_config.json", &own)?;
                }
            }
        }
        if let (Some(encoder), Some(config)) =
            (&model.image_encoder, &model.description.image_encoder)
        {
            let class = "CLIPVisionModelWithProjection";
            let keys = ClipTextKeys { prefixed: true };
            self.part(
                ("image_encoder", name, &["image_encoder"]),
                to_foreign::clip_vision(config),
                encoder,
                &keys,
            )?;
            self.index
                .insert("image_encoder".into(), json!(["transformers", class]));
        }
        if let (Some(encoders), Some(config)) = (&model.conditions, &model.description.conditions) {
            let config = serde_json::to_value(config)
                .map_err(|error| Error::Config(format!("encoders of conditions: {error}")))?;
            let networks = &["conditions"];
            self.part((CONDITIONS, name, networks), config, encoders, &Identity)?;
        }
        Ok(())
    }

    fn unet(&mut self, part: &VideoUNet, model: &Model) -> Result<()> {
        let described = model.description.unet.as_ref();
        let name = "diffusion_pytorch_model.safetensors";
        // diffusers keeps both kinds of layers in one file for this family only.
        let own_temporal = match part.config.norm_eps {
            NormEps::StableVideoDiffusion => described.and_then(|unet| unet.temporal.as_ref()),
            NormEps::Uniform { .. } => None,
        };
        let frames = described.and_then(|unet| unet.num_frames);
        let sample_size = described.and_then(|unet| unet.sample_size);
        let config = to_foreign::unet(
            &part.config,
            sample_size,
            own_temporal.and(frames.or(Some(14))),
        )?;
        self.index
            .insert("unet".into(), json!(["diffusers", config["_class_name"]]));
        match (&part.temporal, own_temporal) {
            (Some(layers), Some(_)) => {
                let both = Both {
                    spatial: part.unet.clone(),
                    temporal: layers.clone(),
                };
                let keys = BothKeys {
                    spatial: UNetKeys::spatial(),
                    temporal: UNetKeys::temporal(),
                };
                let networks = &["unet", "temporal"];
                self.part(("unet", name, networks), config, &both, &keys)
            }
            (layers, _) => {
                let keys = UNetKeys::image(match part.config.projection {
                    ProjectionLayout::Linear => Projection::Linear,
                    ProjectionLayout::Convolution => Projection::Convolution,
                });
                self.part(("unet", name, &["unet"]), config, &part.unet, &keys)?;
                if let (Some(layers), Some(config)) = (layers, &part.temporal_config)
                    && !self.linked(KEY_FRAMES, &["temporal"])?
                {
                    let path = self.root.join(KEY_FRAMES);
                    save_temporal(layers, config, &path, self.settings.dtype)?;
                }
                Ok(())
            }
        }
    }

    fn autoencoder(&mut self, part: &VideoAutoencoder, model: &Model) -> Result<()> {
        let name = "diffusion_pytorch_model.safetensors";
        let described = model.description.autoencoder.as_ref();
        let temporal = described.and_then(|part| part.temporal);
        let one_file = temporal.is_some_and(|temporal| is_svd_decoder(&part.config, &temporal));
        let layers = part.temporal.as_ref().filter(|_| one_file);
        let config = to_foreign::autoencoder(&part.config, layers.is_some());
        self.index
            .insert("vae".into(), json!(["diffusers", config["_class_name"]]));
        if let (Some(layers), Some(temporal), false) = (&part.temporal, temporal, one_file) {
            self.temporal_decoder(layers, &temporal)?;
        }
        match layers {
            Some(layers) => {
                let both: Both<Autoencoder, TemporalDecoderLayers> = Both {
                    spatial: part.autoencoder.clone(),
                    temporal: layers.clone(),
                };
                let keys = BothKeys {
                    spatial: AutoencoderKeys::Spatial,
                    temporal: AutoencoderKeys::Temporal,
                };
                let networks = &["autoencoder", "temporal_decoder"];
                self.part(("vae", name, networks), config, &both, &keys)
            }
            None => {
                let keys = AutoencoderKeys::Image(AttentionNames::Current);
                let networks = &["autoencoder"];
                self.part(("vae", name, networks), config, &part.autoencoder, &keys)
            }
        }
    }

    fn temporal_decoder(
        &self,
        layers: &TemporalDecoderLayers,
        config: &TemporalDecoderConfig,
    ) -> Result<()> {
        let config = serde_json::to_value(config)
            .map_err(|error| Error::Config(format!("the decoder's temporal layers: {error}")))?;
        let options = SaveOptions {
            dtype: self.settings.dtype,
            metadata: Metadata {
                config: Some(config),
                ..Metadata::default()
            },
            max_shard_bytes: None,
        };
        let path = self.root.join(DECODER);
        save_module(layers, &path, &AutoencoderKeys::Temporal, &options)?;
        Ok(())
    }

    fn part<M: Module>(
        &mut self,
        (folder, name, networks): (&str, &str, &[&str]),
        config: Value,
        module: &M,
        keys: &dyn KeyMap,
    ) -> Result<()> {
        self.json(&format!("{folder}/config.json"), &config)?;
        if self.linked(&format!("{folder}/{name}"), networks)? {
            return Ok(());
        }
        let options = SaveOptions {
            dtype: self.settings.dtype,
            metadata: Metadata::default(),
            max_shard_bytes: self.settings.max_shard_bytes,
        };
        save_module(module, &self.root.join(folder).join(name), keys, &options)?;
        Ok(())
    }

    /// Links a file that holds these networks, if none of them has changed.
    fn linked(&self, name: &str, networks: &[&str]) -> Result<bool> {
        let Some(unchanged) = &self.unchanged else {
            return Ok(false);
        };
        if !networks.iter().all(|network| (unchanged.is)(network)) {
            return Ok(false);
        }
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        let failed = |error| CheckpointError::write(folder, error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        if std::fs::hard_link(unchanged.folder.join(name), &path).is_err() {
            return Ok(false);
        }
        // The new name must survive a power cut.
        #[cfg(unix)]
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(true)
    }

    fn json(&self, name: &str, value: &Value) -> Result<()> {
        self.text(name, &format!("{value:#}\n"))
    }

    fn text(&self, name: &str, text: &str) -> Result<()> {
        let path = self.root.join(name);
        write_atomically(&path, |out| {
            out.write_all(text.as_bytes())
                .map_err(|error| CheckpointError::write(&path, error))
        })?;
        Ok(())
    }
}
