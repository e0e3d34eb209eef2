//! From a path to a description.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    AutoencoderDescription, ModelDescription, NoiseDescription, StackConfig, UNetDescription,
    UsualSettings, foreign, noise,
};
use crate::autoencoder::{AutoencoderConfig, TemporalDecoderConfig};
use crate::checkpoint::config::{
    ClipTextConfig, ClipVisionConfig, DiffusersAutoencoderConfig, DiffusersNoiseConfig,
    DiffusersUNetConfig, Json, ModelFolder, ModelSource,
};
use crate::checkpoint::single_file::{Family, SingleFile};
use crate::checkpoint::{CheckpointError, Metadata, Weights};
use crate::conditioning::encoders::ConditionEncodersConfig;
use crate::diffusion::Parameterization;
use crate::error::{Error, Result};
use crate::preset::Preset;
use crate::text::PadToken;

/// The folder of the encoders of labels, boxes and frame rates in a model's folder.
pub(super) const CONDITIONS: &str = "conditions";
/// The file of an image model's temporal layers in a model's folder.
pub(super) const KEY_FRAMES: &str = "temporal/keyframes.safetensors";
/// The file of a decoder's temporal layers in a model's folder.
pub(super) const DECODER: &str = "temporal/decoder.safetensors";

/// Where the weights are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// One folder per part.
    Pipeline(ModelFolder),
    /// The folder of one part.
    Part(PathBuf),
    /// Nowhere: fresh values from a seed.
    Random(u64),
    /// All parts in one file.
    SingleFile(Box<SingleFile>, Arc<Weights>),
}

pub(super) fn open(
    path: PathBuf,
    parameterization: Option<Parameterization>,
) -> Result<ModelDescription> {
    if let Some(stack) = StackConfig::open(&path)? {
        let Some(stage) = stack.key_frames.or(stack.image) else {
            return Err(Error::Config(format!(
                "{}: no stage at all",
                path.display()
            )));
        };
        let description = open(path.join(stage.model), parameterization)?;
        return Ok(ModelDescription {
            temporal_file: stage
                .temporal
                .map(|file| path.join(file))
                .or(description.temporal_file),
            usual: stage.usual,
            note: stack.note,
            path,
            ..description
        });
    }
    match ModelSource::open(&path)? {
        ModelSource::Pipeline(folder) => pipeline(path, folder),
        ModelSource::Part { path, class_name } => part(path, class_name),
        ModelSource::File(path) => single_file(path, parameterization),
    }
}

fn empty(path: PathBuf, kind: String, source: Source) -> ModelDescription {
    ModelDescription {
        path,
        kind,
        unet: None,
        autoencoder: None,
        text_encoder: None,
        known_words: Vec::new(),
        pad_token: PadToken::default(),
        image_encoder: None,
        conditions: None,
        noise: None,
        temporal_file: None,
        decoder_file: None,
        usual: UsualSettings::default(),
        note: None,
        source,
    }
}

/// A preset's model with random weights.
pub(super) fn preset(preset: &Preset, seed: u64) -> Result<ModelDescription> {
    let path = PathBuf::from(&preset.name);
    let kind = format!("{} (random weights)", preset.summary);
    let noise = match (&preset.diffusion, &preset.sampling) {
        (Some(diffusion), Some(sampling)) => Some(NoiseDescription {
            schedule: diffusion.schedule,
            parameterization: diffusion.parameterization,
            steps: sampling.spacing,
            ddim_final_sigma: sampling.spacing.final_sigma,
            sampler: sampling.sampler,
        }),
        _ => None,
    };
    let frames = preset.clip.as_ref().map(|clip| clip.num_frames);
    let factor = preset
        .autoencoder
        .as_ref()
        .map_or(1, AutoencoderConfig::factor);
    let clip = preset.clip.as_ref();
    let sample_size = clip.map(|clip| [clip.height / factor, clip.width / factor]);
    Ok(ModelDescription {
        unet: preset.unet.clone().map(|config| UNetDescription {
            config,
            temporal: preset.temporal.clone(),
            sample_size,
            num_frames: frames,
        }),
        autoencoder: preset
            .autoencoder
            .clone()
            .map(|config| AutoencoderDescription {
                config,
                temporal: preset.temporal_decoder,
            }),
        text_encoder: preset.text_encoder.clone(),
        known_words: preset.words.clone(),
        pad_token: preset.pad_token,
        image_encoder: preset.image_encoder.clone(),
        conditions: Some(preset.conditions()).filter(|config| !config.is_empty()),
        noise,
        note: Some("this model has random weights: its output means nothing".into()),
        ..empty(path, kind, Source::Random(seed))
    })
}

fn pipeline(path: PathBuf, folder: ModelFolder) -> Result<ModelDescription> {
    let source = Source::Pipeline(folder.clone());
    let mut description = empty(path, folder.class_name.clone(), source);
    for name in [
        "unet",
        "vae",
        "vqvae",
        "text_encoder",
        "image_encoder",
        "scheduler",
    ] {
        if let Some(component) = folder.components.get(name) {
            add_part(
                &mut description,
                &component.class_name,
                &folder.config(name)?,
            )?;
        }
    }
    description.conditions = conditions(&description.path)?;
    let there = |name| Some(description.path.join(name)).filter(|path: &PathBuf| path.is_file());
    description.temporal_file = there(KEY_FRAMES);
    description.decoder_file = there(DECODER);
    if let (Some(path), Some(autoencoder)) =
        (&description.decoder_file, &mut description.autoencoder)
    {
        autoencoder.temporal = Some(temporal_decoder(path)?);
    }
    Ok(description)
}

/// The configuration of a decoder's temporal layers, from their file's header.
fn temporal_decoder(path: &Path) -> Result<TemporalDecoderConfig> {
    let metadata = Metadata::of(&Weights::open(path)?)?;
    let config = metadata.config.unwrap_or_default();
    serde_json::from_value(config).map_err(|error| {
        Error::Config(format!(
            "{}: the configuration in the metadata is not one of a decoder's temporal layers: {error}",
            path.display()
        ))
    })
}

/// The configuration of the encoders of labels, boxes and frame rates, where a folder has them.
fn conditions(folder: &Path) -> Result<Option<ConditionEncodersConfig>> {
    let path = folder.join(CONDITIONS).join("config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text =
        std::fs::read_to_string(&path).map_err(|error| CheckpointError::read(&path, error))?;
    let wrong =
        |error: &dyn std::fmt::Display| Error::Config(format!("{}: {error}", path.display()));
    let config: ConditionEncodersConfig =
        serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    config.validate().map_err(|error| wrong(&error))?;
    Ok(Some(config))
}

fn part(path: PathBuf, class_name: String) -> Result<ModelDescription> {
    let json = Json::read(&path.join("config.json"))?;
    let mut description = empty(path.clone(), class_name.clone(), Source::Part(path.clone()));
    if !add_part(&mut description, &class_name, &json)? {
        return Err(Error::Input(format!(
            "{}: a {class_name}, which is not a part that vldm knows; expected a pipeline's folder \
             or one of its U-Net, autoencoder, text encoder and image encoder",
            path.display()
        )));
    }
    Ok(description)
}

/// Reads one part's configuration; `false` where its class is not one of ours.
fn add_part(description: &mut ModelDescription, class_name: &str, json: &Json) -> Result<bool> {
    match class_name {
        "UNet2DConditionModel" | "UNetSpatioTemporalConditionModel" => {
            description.unet = Some(foreign::unet(&DiffusersUNetConfig::from_json(json)?)?);
        }
        "AutoencoderKL" | "AutoencoderKLTemporalDecoder" | "VQModel" => {
            let config = DiffusersAutoencoderConfig::from_json(json)?;
            description.autoencoder = Some(foreign::autoencoder(&config)?);
        }
        "CLIPTextModel" => {
            let config = ClipTextConfig::from_json(json)?;
            description.text_encoder = Some(foreign::clip_text(&config)?);
        }
        "CLIPVisionModelWithProjection" => {
            let config = ClipVisionConfig::from_json(json)?;
            description.image_encoder = Some(foreign::clip_vision(&config)?);
        }
        name if name.ends_with("Scheduler") => {
            let config = DiffusersNoiseConfig::from_json(json)?;
            description.noise = Some(NoiseDescription::from_diffusers(&config)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn single_file(
    path: PathBuf,
    parameterization: Option<Parameterization>,
) -> Result<ModelDescription> {
    let weights = Arc::new(Weights::open(&path)?);
    let file = SingleFile::detect(&weights)?;
    let predicted = parameterization.or(file.prediction.map(noise::parameterization));
    let Some(predicted) = predicted else {
        return Err(Error::Input(format!(
            "{}: a Stable Diffusion 2.x file does not say what the model predicts; add \
             `--prediction-type epsilon` (the 512-pixel base models) or `--prediction-type v` (the \
             768-pixel ones)",
            path.display()
        )));
    };
    let noise = match file.family {
        Family::StableDiffusion1 | Family::StableDiffusion2 => {
            NoiseDescription::stable_diffusion([0.00085, 0.012], predicted)
        }
        Family::Upscaler4x => NoiseDescription::stable_diffusion([0.0001, 0.02], predicted),
        Family::StableVideoDiffusion => NoiseDescription::stable_video_diffusion(),
    };
    let kind = match file.family {
        Family::StableDiffusion1 => "Stable Diffusion 1.x (single file)",
        Family::StableDiffusion2 => "Stable Diffusion 2.x (single file)",
        Family::Upscaler4x => "Stable Diffusion x4-upscaler (single file)",
        Family::StableVideoDiffusion => "Stable Video Diffusion (single file)",
    };
    let unet = foreign::detected_unet(&file.unet)?;
    let autoencoder = foreign::detected_autoencoder(&file.autoencoder)?;
    let text_encoder = file.text.as_ref().map(foreign::clip_text).transpose()?;
    let image_encoder = file.vision.as_ref().map(foreign::clip_vision).transpose()?;
    Ok(ModelDescription {
        unet: Some(unet),
        autoencoder: Some(autoencoder),
        text_encoder,
        image_encoder,
        noise: Some(noise),
        ..empty(
            path,
            kind.into(),
            Source::SingleFile(Box::new(file), weights),
        )
    })
}
