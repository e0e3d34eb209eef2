//! A cache of what frozen encoders make of training data: latents of frames, and embeddings of
//! prompts.
//!
//! An image autoencoder encodes each frame by itself, so the cache holds frames, not windows: every
//! frame of a clip that a window of the recipe can take, at the window's size. What is kept is the
//! posterior's mean and log-variance; a run draws its latents from them as it would from the
//! encoder, and learns from the same numbers.
//!
//! ```text
//! CACHE/cache.json                   what everything in it was made with
//! CACHE/index.jsonl                  a line per file: what is in it, its size and its SHA-256
//! CACHE/latents-00000.safetensors    N.mean and N.logvar, [frames, channels, height, width]: the
//!                                    frames of the N-th part of the file's line
//! CACHE/prompts-00000.safetensors    [tokens, width] each, by the SHA-256 of the prompt
//! ```
//!
//! A file has its name when it is complete and synced, and its line after that. So whenever the work
//! is killed it goes on where it was; files that are not what their line says are made anew.

mod encode;
mod existing;
mod index;
mod made_by;
mod plan;
mod reader;
mod shard;
mod source;
mod work;

pub use encode::{Encode, EncodeEvent, EncodeReport, EncodeSettings, Shares};
pub use made_by::StoredType;
pub(crate) use reader::LatentCache;
pub(crate) use source::open_source;

use super::recipe::Recipe;
use super::stage::TrainingStage;
use crate::data::Fit;
use crate::error::{Error, Result};
use crate::preset::Preset;

/// Whether a recipe learns nothing but from latents that stay the same all through a run.
///
/// # Errors
/// [`Error::Config`] says why not.
pub(crate) fn check(recipe: &Recipe, preset: &Preset) -> Result<()> {
    let stage = recipe.stage.name();
    let reason = match recipe.stage {
        TrainingStage::Autoencoder | TrainingStage::Decoder => {
            format!("the stage \"{stage}\" learns to make pictures")
        }
        TrainingStage::Upsampler | TrainingStage::Svd => {
            format!("the stage \"{stage}\" reads the pictures themselves, with noise on them")
        }
        TrainingStage::Dreambooth => {
            format!("the stage \"{stage}\" makes pictures of its class in the run")
        }
        _ if preset.autoencoder.is_none() => {
            "the model has no [autoencoder]: it diffuses pixels".to_owned()
        }
        _ if learns(recipe, preset, "autoencoder.") => {
            "`learns` names the autoencoder, whose latents then change".to_owned()
        }
        _ if recipe.batch.fit != Fit::Crop => {
            "`batch.fit` cuts patches at random places".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Error::Config(format!(
        "latents cannot be cached for this recipe: {reason}; train it without `cache`"
    )))
}

/// Whether a recipe trains any parameter whose name begins with `part`.
fn learns(recipe: &Recipe, preset: &Preset, part: &str) -> bool {
    recipe
        .learns(preset)
        .iter()
        .any(|name| name.starts_with(part) || part.starts_with(name.as_str()))
}

/// Whether prompts are encoded by an encoder that does not learn.
fn caches_prompts(recipe: &Recipe, preset: &Preset) -> bool {
    preset.text_encoder.is_some() && !learns(recipe, preset, "text_encoder.")
}

#[cfg(test)]
mod tests;
