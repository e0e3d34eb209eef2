//! The stages of a stack: which there are, and each of them loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};

use super::personal;
use super::stage::StageModel;
use crate::diffusion::{Guidance, NoiseSchedule};
use crate::error::{Error, Result};
use crate::model::{
    LoadSettings, Model, ModelDescription, StackConfig, StageConfig, UsualSettings,
    VideoAutoencoder, load_temporal, temporal_parameters,
};
use crate::preset::{Preset, Stage};
use crate::sampler::SamplerConfig;

/// A stack before its weights are read.
#[derive(Debug, Clone)]
pub struct StackDescription {
    /// The folder, or the preset's name.
    pub path: PathBuf,
    /// What a user should know before looking at the result.
    pub note: Option<String>,
    stages: BTreeMap<Stage, StageDescription>,
}

/// One stage before its weights are read.
#[derive(Debug, Clone)]
pub struct StageDescription {
    /// The model that serves it.
    pub model: ModelDescription,
    /// A personal model, whose spatial layers and words take the place of that model's.
    pub(crate) personal: Option<ModelDescription>,
    /// What it is run with; paths are whole.
    pub config: StageConfig,
}

impl StackDescription {
    /// Reads `stack.toml` in `folder` and the configurations of its models; `None` where there is no
    /// `stack.toml`.
    ///
    /// # Errors
    /// When the file or a model it names is missing or damaged.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let Some(config) = StackConfig::open(folder)? else {
            return Ok(None);
        };
        let mut stages = BTreeMap::new();
        for (stage, config) in config.stages() {
            let config = StageConfig {
                model: folder.join(&config.model),
                temporal: config.temporal.as_ref().map(|file| folder.join(file)),
                ..config.clone()
            };
            check_there(stage, &config)?;
            let model = ModelDescription::open(&config.model, None)?;
            stages.insert(stage, StageDescription::new(model, config));
        }
        Ok(Some(Self {
            path: folder.to_owned(),
            note: config.note,
            stages,
        }))
    }

    /// A single model, as the stage that makes pictures: for what needs its autoencoder alone.
    ///
    /// # Errors
    /// As [`ModelDescription::open`].
    pub fn of_model(path: &Path) -> Result<Self> {
        let model = ModelDescription::open(path, None)?;
        let config = StageConfig {
            model: path.to_owned(),
            ..StageConfig::default()
        };
        Ok(Self {
            path: path.to_owned(),
            note: None,
            stages: BTreeMap::from([(Stage::Image, StageDescription::new(model, config))]),
        })
    }

    /// A preset's stack with fresh weights from `seed`, for measuring and for trying things out.
    ///
    /// # Errors
    /// [`Error::Config`] when the preset is not a stack's.
    pub fn from_preset(preset: &Preset, seed: u64) -> Result<Self> {
        if !preset.is_stack() {
            return Err(Error::Config(format!(
                "the preset \"{}\" is a model, expected a stack",
                preset.name
            )));
        }
        let mut stages = BTreeMap::new();
        for stage in &preset.stages {
            let model = Preset::load(&stage.preset)?;
            let config = usual(&model);
            let model = ModelDescription::from_preset(&model, seed)?;
            stages.insert(stage.stage, StageDescription::new(model, config));
        }
        Ok(Self {
            path: PathBuf::from(&preset.name),
            note: Some("this stack has random weights: its output means nothing".into()),
            stages,
        })
    }

    /// The same with a personal model's subject in pictures and key frames. Everything else, layers
    /// over time among it, stays.
    ///
    /// # Source
    /// Blattmann et al. 2023, appendix H.3.
    ///
    /// # Errors
    /// [`Error::Input`] when the model cannot stand in for the stack's.
    pub fn with_personal(mut self, personal: &ModelDescription) -> Result<Self> {
        for stage in [Stage::Image, Stage::KeyFrames] {
            if let Some(description) = self.stages.get_mut(&stage) {
                personal::check(personal, &description.model)?;
                description.personal = Some(personal.clone());
            }
        }
        Ok(self)
    }

    /// Whether a personal model makes the pictures.
    pub(crate) fn is_personal(&self) -> bool {
        let mut stages = self.stages.values();
        stages.any(|description| description.personal.is_some())
    }

    /// The same with another number of sampling steps in a stage, if the stack has it.
    #[must_use]
    pub fn with_steps(mut self, stage: Stage, steps: usize) -> Self {
        if let Some(description) = self.stages.get_mut(&stage) {
            description.config.usual.steps = Some(steps);
        }
        self
    }

    /// The same with another guidance in a stage, if the stack has it.
    #[must_use]
    pub fn with_guidance(mut self, stage: Stage, guidance: Guidance) -> Self {
        if let Some(description) = self.stages.get_mut(&stage) {
            description.config.usual.guidance = Some(guidance);
        }
        self
    }

    /// The stages there are.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, &StageDescription)> {
        self.stages.iter().map(|(stage, config)| (*stage, config))
    }

    /// A stage, if the stack has it.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Option<&StageDescription> {
        self.stages.get(&stage)
    }

    /// What the classes of boxes are called, by the stage that reads boxes; empty where none does, or
    /// they have no names.
    #[must_use]
    pub fn box_classes(&self) -> &[String] {
        [Stage::Boxes, Stage::Image]
            .iter()
            .filter_map(|stage| self.stage(*stage))
            .map(|stage| stage.model.box_classes())
            .find(|names| !names.is_empty())
            .unwrap_or_default()
    }

    /// A stage that is needed.
    ///
    /// # Errors
    /// [`Error::Input`] naming the stage and what has it.
    pub fn needed(&self, stage: Stage) -> Result<&StageDescription> {
        self.stage(stage).ok_or_else(|| {
            let there: Vec<&str> = self.stages.keys().map(|stage| stage.title()).collect();
            Error::Input(format!(
                "{} has no stage \"{}\" (it has: {}): choose another stack, or train the stage and \
                 add it to stack.toml",
                self.path.display(),
                stage.title(),
                there.join(", ")
            ))
        })
    }
}

impl StageDescription {
    fn new(model: ModelDescription, config: StageConfig) -> Self {
        Self {
            model,
            personal: None,
            config,
        }
    }

    /// Whether the stage's sampler, or the one asked for, can take so many steps.
    ///
    /// # Errors
    /// [`Error::Input`] or [`Error::Config`] naming the stage when it cannot.
    pub(crate) fn check_steps(
        &self,
        stage: Stage,
        asked: Option<(SamplerConfig, usize)>,
    ) -> Result<()> {
        let Some(noise) = &self.model.noise else {
            return Ok(());
        };
        let usual = &self.config.usual;
        let own = (
            usual.sampler.unwrap_or(noise.sampler),
            usual.steps.unwrap_or(50),
        );
        let (sampler, steps) = asked.unwrap_or(own);
        let schedule = NoiseSchedule::new(noise.schedule)?;
        let plan = sampler.plan(&schedule, &noise.steps_for(&sampler), steps);
        plan.map(drop)
            .map_err(|error| Error::Input(format!("the stage \"{}\": {error}", stage.title())))
    }

    /// Bytes of all parameters that are read for the stage, at so many for each.
    pub(crate) fn weight_bytes(&self, bytes_per_value: u64) -> u64 {
        let models = [Some(&self.model), self.personal.as_ref()];
        let bytes = models.into_iter().flatten();
        let bytes = bytes.map(|model| model.weight_bytes(bytes_per_value));
        let layers = self
            .config
            .temporal
            .as_deref()
            .map_or(0, temporal_parameters);
        bytes.sum::<u64>() + layers as u64 * bytes_per_value
    }
}

/// The missing part is named before anything is opened.
fn check_there(stage: Stage, config: &StageConfig) -> Result<()> {
    let missing = [Some(&config.model), config.temporal.as_ref()]
        .into_iter()
        .flatten()
        .find(|path| !path.exists());
    match missing {
        None => Ok(()),
        Some(path) => Err(Error::Input(format!(
            "{} is not there, which stack.toml names for the stage \"{}\": copy it into the stack, or \
             take the stage out of stack.toml",
            path.display(),
            stage.title()
        ))),
    }
}

/// What a preset's model is run with.
pub(crate) fn usual(preset: &Preset) -> StageConfig {
    let clip = preset.clip.as_ref();
    let sampling = preset.sampling.as_ref();
    let diffusion = preset.diffusion.as_ref();
    let augmentation = diffusion.and_then(|config| config.noise_augmentation);
    StageConfig {
        frame_rates: clip.map(|clip| clip.fps.clone()).unwrap_or_default(),
        upscale: clip.and_then(|clip| clip.upscale),
        residual_scale: diffusion.and_then(|config| config.residual_scale),
        noise_augmentation: augmentation.and_then(|config| config.level),
        usual: UsualSettings {
            width: clip.map(|clip| clip.width),
            height: clip.map(|clip| clip.height),
            frames: clip.map(|clip| clip.num_frames),
            fps: clip.and_then(|clip| clip.fps.first().copied()),
            steps: sampling.map(|sampling| sampling.steps),
            guidance: sampling.map(|sampling| sampling.guidance),
            sampler: sampling.map(|sampling| sampling.sampler),
        },
        ..StageConfig::default()
    }
}

/// Loads stages one at a time. Stages that share a model's folder, one after the other, share its
/// weights too.
#[derive(Debug)]
pub struct StageLoader {
    device: Device,
    dtype: DType,
    /// The model that was loaded last.
    last: Option<(PathBuf, Model)>,
}

impl StageLoader {
    /// A loader of parameters onto `device`, as `dtype` (f32 or bf16).
    #[must_use]
    pub fn new(device: Device, dtype: DType) -> Self {
        Self {
            device,
            dtype,
            last: None,
        }
    }

    /// The parameters' data type.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// The autoencoder of a stack's latents: that of its decoder stage, where it has one of its own.
    ///
    /// # Errors
    /// As [`StageLoader::load`]; [`Error::Input`] when there is no autoencoder.
    pub fn autoencoder(&mut self, stack: &StackDescription) -> Result<VideoAutoencoder> {
        let latents = [
            Stage::Decoder,
            Stage::KeyFrames,
            Stage::Prediction,
            Stage::Image,
        ];
        let description = latents.into_iter().find_map(|stage| {
            let description = stack.stage(stage)?;
            description.model.autoencoder.as_ref().map(|_| description)
        });
        let missing = || Error::Input(format!("{} has no autoencoder", stack.path.display()));
        let model = self.model(&description.ok_or_else(missing)?.model)?;
        model.autoencoder.clone().ok_or_else(missing)
    }

    /// Reads the weights of a stage.
    ///
    /// # Errors
    /// When weights are missing, surplus, misshapen or damaged.
    pub fn load(&mut self, description: &StageDescription) -> Result<StageModel> {
        let onto = (self.device.clone(), self.dtype);
        let model = self.model(&description.model)?;
        let mut stage = StageModel::new(model, &description.config)?;
        if let Some(path) = &description.config.temporal {
            let unet = &model.unet.as_ref().ok_or_else(|| no_unet(path))?.config;
            let (layers, config) = load_temporal(unet, path, (&onto.0, onto.1))?;
            config.check_width([unet.context_width, model.description.frame_rate_width()])?;
            if let Some(frames) = description.config.usual.frames {
                config.check_frames(frames)?;
            }
            stage.networks.temporal = Some(layers);
        }
        Ok(match &description.personal {
            None => stage,
            Some(personal) => stage.with_personal(self.model(personal)?),
        })
    }

    fn model(&mut self, description: &ModelDescription) -> Result<&Model> {
        let path = &description.path;
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            self.last = None;
            let settings = LoadSettings {
                device: self.device.clone(),
                dtype: self.dtype,
                temporal: None,
            };
            let model = description.clone().load(&settings)?;
            self.last = Some((path.clone(), model));
        }
        match &self.last {
            Some((_, model)) => Ok(model),
            None => Err(Error::Config("no model was loaded".into())),
        }
    }
}

fn no_unet(path: &Path) -> Error {
    Error::Config(format!(
        "{}: temporal layers for a model without a U-Net",
        path.display()
    ))
}
