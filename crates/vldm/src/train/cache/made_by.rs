//! What a cache was made with: the encoders, and the data types.

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::caches_prompts;
use crate::autoencoder::AutoencoderConfig;
use crate::checkpoint::{CheckpointError, ModulePath, write_atomically};
use crate::error::{Error, Result};
use crate::preset::Preset;
use crate::train::networks::Networks;
use crate::train::recipe::Recipe;
use crate::train::settings::WorkingType;

/// The version of a cache's layout.
const FORMAT: u32 = 1;

/// The data type of the numbers in a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredType {
    /// 32 bits: a run learns from the same numbers as without a cache.
    #[default]
    F32,
    /// 16 bits, half the size: numbers are off by up to a two-thousandth of their size.
    F16,
}

impl StoredType {
    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

/// What a cache was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MadeBy {
    pub(super) format_version: u32,
    /// SHA-256 of the encoder's sizes and weights.
    pub(super) autoencoder: String,
    /// The same of the text encoder, where there is one that does not learn.
    pub(super) text_encoder: Option<String>,
    /// What the encoders computed in.
    pub(super) computed_in: WorkingType,
    /// What the results are stored in.
    pub(super) stored_in: StoredType,
}

impl MadeBy {
    /// For a recipe, whose networks are in f32 still.
    pub(super) fn new(
        recipe: &Recipe,
        preset: &Preset,
        networks: &Networks,
        stored_in: StoredType,
    ) -> Result<Self> {
        let (Some(autoencoder), Some(config)) = (&networks.autoencoder, &preset.autoencoder) else {
            return Err(Error::Config("the model has no autoencoder".into()));
        };
        // Latents are stored before they are scaled.
        let config = AutoencoderConfig {
            scale_factor: 1.0,
            ..config.clone()
        };
        let mut hash = Hash::new(&config)?;
        autoencoder.encoder.visit(&mut hash);
        if let Some(conv) = &autoencoder.quant_conv {
            conv.visit(&mut hash);
        }
        let text_encoder = match (&networks.text_encoder, &preset.text_encoder) {
            (Some(encoder), Some(config)) if caches_prompts(recipe, preset) => {
                let mut hash = Hash::new(config)?;
                encoder.visit(&mut hash);
                Some(hash.finish())
            }
            _ => None,
        };
        Ok(Self {
            format_version: FORMAT,
            autoencoder: hash.finish(),
            text_encoder,
            computed_in: recipe.dtype,
            stored_in,
        })
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("cache.json")
    }

    /// What the cache in a folder was made with; nothing where there is none.
    ///
    /// # Errors
    /// [`Error::Config`] when the file is not one of this format.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>> {
        let path = Self::path(folder);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CheckpointError::read(&path, error).into()),
        };
        let wrong = |what: String| {
            Error::Config(format!(
                "{}: not a cache of this version's `vldm data encode` ({what}): name another \
                 folder, or delete this one",
                path.display()
            ))
        };
        let found: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        match found.format_version {
            FORMAT => Ok(Some(found)),
            other => Err(wrong(format!("format {other}, expected {FORMAT}"))),
        }
    }

    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let path = Self::path(folder);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Config(format!("{}: {error}", path.display())))?;
        write_atomically(&path, |out| {
            writeln!(out, "{text}").map_err(|error| CheckpointError::write(&path, error))
        })?;
        Ok(())
    }

    /// In what a cache that was made with this does not suit a recipe that needs `wanted`.
    pub(super) fn difference(&self, wanted: &Self) -> Option<String> {
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        if self.autoencoder != wanted.autoencoder {
            return Some(format!(
                "its latents are of the autoencoder {}, the recipe's is {}",
                short(&self.autoencoder),
                short(&wanted.autoencoder)
            ));
        }
        if self.computed_in != wanted.computed_in {
            return Some(format!(
                "it was computed in {}, the recipe computes in {}",
                self.computed_in.name(),
                wanted.computed_in.name()
            ));
        }
        match (&self.text_encoder, &wanted.text_encoder) {
            (Some(found), Some(wanted)) if found != wanted => Some(format!(
                "its prompts are of the text encoder {}, the recipe's is {}",
                short(found),
                short(wanted)
            )),
            _ => None,
        }
    }
}

/// A network's sizes and weights.
struct Hash {
    path: ModulePath,
    hasher: Sha256,
}

impl Hash {
    fn new(config: &impl Serialize) -> Result<Self> {
        let config =
            serde_json::to_vec(config).map_err(|error| Error::Config(error.to_string()))?;
        Ok(Self {
            path: ModulePath::default(),
            hasher: Sha256::new_with_prefix(config),
        })
    }

    fn finish(self) -> String {
        hexadecimal(&self.hasher.finalize())
    }
}

impl ModuleVisitor for Hash {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().without_autodiff().cast(DType::F32);
        let name = format!("{} {:?}", self.path.name(), value.dims());
        self.hasher.update(name);
        self.hasher.update(&value.into_data().bytes()[..]);
    }
}

/// A hash as people read it.
pub(super) fn hexadecimal(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
