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
use crate::preset::{Part, Preset, Stage};

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
    let base = base(preset)?;
    let assembly = Assembly {
        models,
        out,
        settings: SaveSettings {
            dtype,
            max_shard_bytes: None,
        },
    };
    assembly.shared(preset, base)?;
    let mut stages = BTreeMap::new();
    for part in &preset.stages {
        let usual = crate::pipeline::usual(&Preset::load(&part.preset)?);
        let config = match part.stage {
            Stage::Decoder => continue,
            Stage::Image => StageConfig {
                model: MODEL.into(),
                ..usual
            },
            stage if stage != base && part.parts.contains(&Part::Unet) => {
                assembly.whole(stage, usual)?
            }
            stage => assembly.temporal(stage, usual)?,
        };
        stages.insert(part.stage, config);
    }
    let config = StackConfig {
        format_version: STACK_FORMAT,
        note: None,
        key_frames: stages.remove(&Stage::KeyFrames),
        image: stages.remove(&Stage::Image),
        boxes: stages.remove(&Stage::Boxes),
        prediction: stages.remove(&Stage::Prediction),
        interpolation: stages.remove(&Stage::Interpolation),
        upsampler: stages.remove(&Stage::Upsampler),
    };
    write_config(&config, &out.join("stack.toml"))
}

/// The stage whose image model the others share.
fn base(preset: &Preset) -> Result<Stage> {
    [Stage::Image, Stage::KeyFrames]
        .into_iter()
        .find(|base| preset.stages.iter().any(|part| part.stage == *base))
        .ok_or_else(|| {
            Error::Input(format!(
                "the stack \"{}\" has neither an image stage nor key frames",
                preset.name
            ))
        })
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
    fn open(&self, stage: Stage) -> Result<Model> {
        let path = &self.models[&stage];
        let settings = LoadSettings {
            device: Device::flex(),
            dtype: DType::F32,
            temporal: None,
        };
        ModelDescription::open(path, None)?.load(&settings)
    }

    /// Writes the image model with the decoder's autoencoder and the interpolation's frame rates.
    fn shared(&self, preset: &Preset, base: Stage) -> Result<()> {
        let mut model = self.open(base)?;
        if self.models.contains_key(&Stage::Decoder) {
            let decoder = self.open(Stage::Decoder)?;
            model.autoencoder = decoder.autoencoder;
            model.description.autoencoder = decoder.description.autoencoder;
        }
        let shares = |part: &crate::preset::StageConfig| {
            part.stage == Stage::Interpolation && !part.parts.contains(&Part::Unet)
        };
        if preset.stages.iter().any(shares) {
            take_frame_rates(&mut model, self.open(Stage::Interpolation)?);
        }
        if let Some(unet) = &mut model.unet {
            unet.temporal = None;
        }
        save(&model, &self.out.join(MODEL), &self.settings)
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
        Stage::Boxes => "boxes",
        Stage::Image => "image",
        Stage::Decoder => "decoder",
        Stage::Upsampler => "upsampler",
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
