//! A stack put together from the models that were trained for its stages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};

use super::{
    LoadSettings, Model, ModelDescription, STACK_FORMAT, SaveSettings, StackConfig, StageConfig,
    save, save_temporal,
};
use crate::checkpoint::{CheckpointError, write_atomically};
use crate::error::{Error, Result};
use crate::preset::{Preset, Stage};

/// The folder of the model that all stages in latents share.
const MODEL: &str = "model";

/// Writes a stack to a new folder: the parts that `preset`'s stages name, each from the model that
/// was trained for it.
///
/// The stages in latents share the image model; only their temporal layers are their own. The
/// decoder's model brings the autoencoder. An upsampler is a model of its own.
///
/// # Errors
/// [`Error::Input`] when a stage of the preset has no model, or a model lacks the part it is there for.
pub fn assemble(
    preset: &Preset,
    models: &BTreeMap<Stage, PathBuf>,
    (out, dtype): (&Path, DType),
) -> Result<()> {
    if out.exists() {
        return Err(Error::Input(format!(
            "{} exists; name a new folder",
            out.display()
        )));
    }
    check(preset, models)?;
    let assembly = Assembly {
        models,
        out,
        settings: SaveSettings {
            dtype,
            max_shard_bytes: None,
        },
    };
    let mut config = StackConfig {
        format_version: STACK_FORMAT,
        note: None,
        ..assembly.shared(preset)?
    };
    for stage in &preset.stages {
        let model = Preset::load(&stage.preset)?;
        let usual = crate::pipeline::usual(&model);
        match stage.stage {
            Stage::KeyFrames => config.key_frames = assembly.temporal(stage.stage, usual)?,
            Stage::Prediction => config.prediction = Some(assembly.temporal(stage.stage, usual)?),
            Stage::Interpolation => {
                config.interpolation = Some(assembly.temporal(stage.stage, usual)?);
            }
            Stage::Upsampler => config.upsampler = Some(assembly.whole(stage.stage, usual)?),
            Stage::Image | Stage::Boxes | Stage::Decoder => {}
        }
    }
    write_config(&config, &out.join("stack.toml"))
}

/// Every stage has a model, before any is read.
fn check(preset: &Preset, models: &BTreeMap<Stage, PathBuf>) -> Result<()> {
    let wanted: Vec<Stage> = preset.stages.iter().map(|stage| stage.stage).collect();
    if let Some(missing) = wanted.iter().find(|stage| !models.contains_key(stage)) {
        return Err(Error::Input(format!(
            "the stack \"{}\" has a stage \"{}\", for which no model was named",
            preset.name,
            missing.title()
        )));
    }
    match models.keys().find(|stage| !wanted.contains(stage)) {
        None => Ok(()),
        Some(surplus) => Err(Error::Input(format!(
            "the stack \"{}\" has no stage \"{}\"",
            preset.name,
            surplus.title()
        ))),
    }
}

struct Assembly<'a> {
    models: &'a BTreeMap<Stage, PathBuf>,
    out: &'a Path,
    settings: SaveSettings,
}

impl Assembly<'_> {
    /// The model at a path, or the latest checkpoint of a run.
    fn open(&self, stage: Stage) -> Result<Model> {
        let path = &self.models[&stage];
        let latest = crate::train::latest_model(path)?;
        let settings = LoadSettings {
            device: Device::flex(),
            dtype: DType::F32,
            temporal: None,
        };
        ModelDescription::open(latest.unwrap_or_else(|| path.clone()), None)?.load(&settings)
    }

    /// Writes the image model with the decoder's autoencoder and the interpolation's frame rates.
    fn shared(&self, preset: &Preset) -> Result<StackConfig> {
        let mut model = self.open(Stage::Image)?;
        if self.models.contains_key(&Stage::Decoder) {
            let decoder = self.open(Stage::Decoder)?;
            model.autoencoder = decoder.autoencoder;
            model.description.autoencoder = decoder.description.autoencoder;
        }
        if self.models.contains_key(&Stage::Interpolation) {
            take_frame_rates(&mut model, self.open(Stage::Interpolation)?);
        }
        if let Some(unet) = &mut model.unet {
            unet.temporal = None;
        }
        save(&model, &self.out.join(MODEL), &self.settings)?;
        let image = preset
            .stages
            .iter()
            .find(|stage| stage.stage == Stage::Image);
        let usual = match image {
            Some(stage) => crate::pipeline::usual(&Preset::load(&stage.preset)?),
            None => StageConfig::default(),
        };
        Ok(StackConfig {
            format_version: STACK_FORMAT,
            note: None,
            key_frames: StageConfig::default(),
            image: Some(StageConfig {
                model: MODEL.into(),
                ..usual
            }),
            boxes: None,
            prediction: None,
            interpolation: None,
            upsampler: None,
        })
    }

    /// Writes the temporal layers of a stage on the shared model.
    fn temporal(&self, stage: Stage, usual: StageConfig) -> Result<StageConfig> {
        let model = self.open(stage)?;
        let unet = model.unet.as_ref();
        let layers =
            unet.and_then(|unet| unet.temporal.as_ref().zip(unet.temporal_config.as_ref()));
        let Some((layers, config)) = layers else {
            return Err(Error::Input(format!(
                "{} has no temporal layers, which the stage \"{}\" is made of",
                self.models[&stage].display(),
                stage.title()
            )));
        };
        let file = PathBuf::from(format!("temporal/{}.safetensors", file_name(stage)));
        save_temporal(layers, config, &self.out.join(&file), self.settings.dtype)?;
        Ok(StageConfig {
            model: MODEL.into(),
            temporal: Some(file),
            ..usual
        })
    }

    /// Writes a model of its own.
    fn whole(&self, stage: Stage, usual: StageConfig) -> Result<StageConfig> {
        let name = file_name(stage);
        save(&self.open(stage)?, &self.out.join(name), &self.settings)?;
        Ok(StageConfig {
            model: name.into(),
            ..usual
        })
    }
}

fn take_frame_rates(model: &mut Model, interpolation: Model) {
    let Some((encoders, config)) = interpolation
        .conditions
        .zip(interpolation.description.conditions)
    else {
        return;
    };
    match (&mut model.conditions, &mut model.description.conditions) {
        (Some(ours), Some(our_config)) => {
            ours.frame_rate = encoders.frame_rate;
            our_config.frame_rate = config.frame_rate;
        }
        (ours, our_config) => {
            *ours = Some(encoders);
            *our_config = Some(config);
        }
    }
}

fn file_name(stage: Stage) -> &'static str {
    match stage {
        Stage::KeyFrames => "key_frames",
        Stage::Prediction => "prediction",
        Stage::Interpolation => "interpolation",
        _ => "upsampler",
    }
}

fn write_config(config: &StackConfig, path: &Path) -> Result<()> {
    let text = toml::to_string(config).map_err(|error| Error::Config(error.to_string()))?;
    write_atomically(path, |out| {
        out.write_all(text.as_bytes())
            .map_err(|error| CheckpointError::write(path, error))
    })?;
    Ok(())
}
