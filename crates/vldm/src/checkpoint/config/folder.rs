//! What a model's path leads to: a diffusers pipeline, one part of one, or a single file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Json;
use crate::checkpoint::CheckpointError;

type Result<T> = std::result::Result<T, CheckpointError>;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelSource {
    /// A folder with a `model_index.json`.
    Pipeline(ModelFolder),
    /// A folder with the `config.json` of one part.
    Part {
        /// The folder.
        path: PathBuf,
        /// diffusers' `_class_name`, or transformers' first architecture.
        class_name: String,
    },
    /// A `.safetensors` file: a single-file checkpoint or one part's weights.
    File(PathBuf),
}

/// A diffusers pipeline's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFolder {
    /// The folder.
    pub path: PathBuf,
    /// The pipeline's class ("StableVideoDiffusionPipeline").
    pub class_name: String,
    /// The parts that are there, by the name of their folder.
    pub components: BTreeMap<String, Component>,
    /// The pipeline's own settings.
    pub settings: Map<String, Value>,
}

/// One part of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The Python library of its class ("diffusers", "transformers").
    pub library: String,
    /// Its class ("UNet2DConditionModel").
    pub class_name: String,
}

impl ModelSource {
    /// Looks at a path.
    ///
    /// # Errors
    ///
    /// When it does not exist, is a folder that is no model, or a file of another kind; the
    /// message says what was looked for.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let kind = std::fs::metadata(path).map_err(|error| CheckpointError::read(path, error))?;
        if !kind.is_dir() {
            return match path.extension().and_then(|extension| extension.to_str()) {
                Some("safetensors") => Ok(Self::File(path.to_path_buf())),
                _ => Err(CheckpointError::unsupported(
                    path,
                    "not a model: expected a .safetensors file or a model's folder (PyTorch's \
                     .ckpt, .pt and .bin have to be converted to safetensors first)",
                )),
            };
        }
        if path.join("model_index.json").is_file() {
            return ModelFolder::open(path).map(Self::Pipeline);
        }
        if path.join("config.json").is_file() {
            let json = Json::read(&path.join("config.json"))?;
            return Ok(Self::Part {
                class_name: class_name(&json)?,
                path: path.to_path_buf(),
            });
        }
        Err(CheckpointError::NotFound {
            path: path.to_path_buf(),
            what: "model",
            looked_for: vec!["model_index.json".into(), "config.json".into()],
            hint: "; name a diffusers folder, or a .safetensors file".into(),
        })
    }
}

fn class_name(json: &Json) -> Result<String> {
    let architecture = json
        .get("architectures")
        .and_then(|list| list.get(0))
        .and_then(Value::as_str);
    match (json.get("_class_name"), architecture) {
        (Some(_), _) => json.text("_class_name", "").map(str::to_owned),
        (None, Some(name)) => Ok(name.to_owned()),
        (None, None) => Err(json.wrong("_class_name", "the name of the model's class")),
    }
}

impl ModelFolder {
    /// Reads a pipeline's `model_index.json`.
    ///
    /// # Errors
    ///
    /// When it is missing or damaged, or lists a part whose folder is not there.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let json = Json::read(&path.join("model_index.json"))?;
        let mut folder = Self {
            path: path.to_path_buf(),
            class_name: class_name(&json)?,
            components: BTreeMap::new(),
            settings: Map::new(),
        };
        for (name, value) in json.object() {
            match value.as_array().map(Vec::as_slice) {
                _ if name.starts_with('_') => {}
                // Parts that a pipeline can do without are `[null, null]`.
                Some([Value::Null, Value::Null]) => {}
                Some([Value::String(library), Value::String(class_name)]) => {
                    folder.add(&json, name, library, class_name)?;
                }
                _ => {
                    folder.settings.insert(name.clone(), value.clone());
                }
            }
        }
        Ok(folder)
    }

    fn add(&mut self, json: &Json, name: &str, library: &str, class_name: &str) -> Result<()> {
        // A part lies in its pipeline's folder: a path could lead anywhere on this machine.
        if name.is_empty() || name == ".." || name.contains(['/', '\\', ':', '\0']) {
            return Err(json.wrong(name, "a plain folder name as key"));
        }
        let component = Component {
            library: library.to_owned(),
            class_name: class_name.to_owned(),
        };
        self.components.insert(name.to_owned(), component);
        Ok(())
    }

    /// The folder of a part.
    ///
    /// # Errors
    ///
    /// When the pipeline has no such part, or its folder is missing.
    pub fn part(&self, name: &str) -> Result<PathBuf> {
        if !self.components.contains_key(name) {
            let names: Vec<&str> = self.components.keys().map(String::as_str).collect();
            return Err(CheckpointError::unsupported(
                &self.path,
                format!(
                    "a {} with the parts {}; it has no `{name}`",
                    self.class_name,
                    names.join(", ")
                ),
            ));
        }
        let path = self.path.join(name);
        if path.is_dir() {
            Ok(path)
        } else {
            Err(CheckpointError::read(
                &path,
                std::io::Error::new(
                    std::io::ErrorKind::NotFound,
                    "listed in model_index.json, but the folder is missing: download it too",
                ),
            ))
        }
    }

    /// The configuration of a part, under any of the names that diffusers and transformers use.
    ///
    /// # Errors
    ///
    /// When the part or its configuration is missing or damaged.
    pub fn config(&self, name: &str) -> Result<Json> {
        const NAMES: [&str; 3] = [
            "config.json",
            "scheduler_config.json",
            "preprocessor_config.json",
        ];
        let folder = self.part(name)?;
        for file in NAMES {
            let path = folder.join(file);
            if path.is_file() {
                return Json::read(&path);
            }
        }
        Err(CheckpointError::NotFound {
            path: folder,
            what: "configuration",
            looked_for: NAMES.map(str::to_owned).to_vec(),
            hint: String::new(),
        })
    }
}
