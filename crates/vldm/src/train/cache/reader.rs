//! Reading a cache.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use safetensors::Dtype;
use sha2::{Digest, Sha256};

use super::index::{self, ClipKey, Held};
use super::made_by::{MadeBy, hexadecimal};
use super::{StoredType, caches_prompts};
use crate::checkpoint::{Weights, for_each_run};
use crate::data::Encoded;
use crate::error::{Error, Result};
use crate::preset::Preset;
use crate::train::networks::Networks;
use crate::train::recipe::Recipe;

/// A cache that suits a recipe. Every file is compared with its SHA-256 when it is first read.
#[derive(Debug)]
pub(crate) struct LatentCache {
    folder: PathBuf,
    held: Held,
    /// One for each file: what is wrong with it, once it was looked at.
    verified: Vec<OnceLock<std::result::Result<(), String>>>,
    /// Whether prompts are read from here.
    with_prompts: bool,
}

impl LatentCache {
    /// The cache that a recipe names, whose networks are in f32 still; nothing where it names none.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no cache, or one that was made with other encoders.
    pub(crate) fn of_recipe(
        recipe: &Recipe,
        preset: &Preset,
        networks: &Networks,
    ) -> Result<Option<Self>> {
        let Some(folder) = &recipe.cache else {
            return Ok(None);
        };
        let refused = |what: String| {
            Err(Error::Input(format!(
                "{}: {what}; make one for this recipe by `vldm data encode`",
                folder.display()
            )))
        };
        let wanted = MadeBy::new(recipe, preset, networks, StoredType::default())?;
        let Some(made_by) = MadeBy::load(folder)? else {
            return refused("there is no cache of latents in it".into());
        };
        if let Some(difference) = made_by.difference(&wanted) {
            return refused(format!("the cache does not suit the recipe: {difference}"));
        }
        let (lines, _) = index::read(folder)?;
        let held = Held::new(lines);
        Ok(Some(Self {
            folder: folder.clone(),
            verified: held.files.iter().map(|_| OnceLock::new()).collect(),
            held,
            with_prompts: caches_prompts(recipe, preset),
        }))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// Whether the recipe's prompts are encoded by an encoder that does not learn.
    pub(crate) fn has_prompts(&self) -> bool {
        self.with_prompts
    }

    /// What the encoder said of frames of a clip.
    pub(super) fn frames(
        &self,
        clip: &ClipKey,
        frames: impl Iterator<Item = usize>,
    ) -> Result<Encoded> {
        let mut encoded: Option<Encoded> = None;
        let mut open: Option<(usize, Weights)> = None;
        for frame in frames {
            let Some((file, tensor, row)) = self.held.frame(clip, frame) else {
                return Err(self.lacks(clip, frame));
            };
            let weights = match open.take() {
                Some((number, weights)) if number == file => weights,
                _ => self.open(file)?,
            };
            let (mean, shape) = self.row(&weights, (&format!("{tensor}.mean"), row))?;
            let logvar = format!("{tensor}.logvar");
            let logvar = match weights.contains(&logvar) {
                true => Some(self.row(&weights, (&logvar, row))?.0),
                false => None,
            };
            let encoded = encoded.get_or_insert_with(|| Encoded {
                shape: [0, shape[0], shape[1], shape[2]],
                mean: Vec::new(),
                logvar: logvar.as_ref().map(|_| Vec::new()),
            });
            encoded.shape[0] += 1;
            encoded.mean.extend(mean);
            if let (Some(all), Some(more)) = (&mut encoded.logvar, logvar) {
                all.extend(more);
            }
            open = Some((file, weights));
        }
        encoded.ok_or_else(|| Error::Input(format!("{}: a window without frames", clip.id)))
    }

    /// Embeddings of prompts, `[prompts, tokens, width]`.
    pub(crate) fn prompts(&self, prompts: &[String]) -> Result<(Vec<f32>, [usize; 3])> {
        let mut all = Vec::new();
        let mut shape = [prompts.len(), 0, 0];
        for prompt in prompts {
            let hash = prompt_hash(prompt);
            let Some(file) = self.held.prompt(&hash) else {
                return Err(Error::Input(format!(
                    "{}: the cache lacks the prompt {prompt:?}; run `vldm data encode` again, \
                     which adds what is missing",
                    self.folder.display()
                )));
            };
            let weights = self.open(file)?;
            let (dtype, [tokens, width]) = self.info(&weights, &hash)?;
            shape = [prompts.len(), tokens, width];
            extend(&mut all, &weights.bytes(&hash)?, dtype);
        }
        match all.len() == shape.iter().product::<usize>() {
            true => Ok((all, shape)),
            false => Err(self.odd("prompts of different lengths")),
        }
    }

    /// One row of a tensor of frames, and its shape.
    fn row(&self, weights: &Weights, (name, row): (&str, usize)) -> Result<(Vec<f32>, [usize; 3])> {
        let (dtype, [frames, c, h, w]) = self.info(weights, name)?;
        if row >= frames {
            return Err(self.odd(&format!("`{name}` has {frames} frames, expected more")));
        }
        let bytes = weights.bytes(name)?;
        let size = bytes.len() / frames;
        let mut values = Vec::with_capacity(c * h * w);
        extend(&mut values, &bytes[row * size..(row + 1) * size], dtype);
        Ok((values, [c, h, w]))
    }

    fn info<const D: usize>(&self, weights: &Weights, name: &str) -> Result<(Dtype, [usize; D])> {
        let odd = || self.odd(&format!("`{name}` is not what the index says"));
        let (dtype, shape) = weights.info(name).ok_or_else(odd)?;
        let is_known = matches!(dtype, Dtype::F32 | Dtype::F16);
        let shape = shape.try_into().ok().filter(|_| is_known);
        Ok((dtype, shape.ok_or_else(odd)?))
    }

    fn open(&self, file: usize) -> Result<Weights> {
        let entry = &self.held.files[file];
        if let Err(reason) = self.verified[file].get_or_init(|| entry.verify(&self.folder)) {
            return Err(Error::Input(format!(
                "{reason}: run `vldm data encode` again, which makes damaged files anew"
            )));
        }
        Ok(Weights::open(self.folder.join(&entry.name))?)
    }

    fn lacks(&self, clip: &ClipKey, frame: usize) -> Error {
        Error::Input(match self.held.broken(clip) {
            Some(reason) => reason.to_owned(),
            None => format!(
                "{}: the cache lacks frame {frame} of {}; run `vldm data encode` again",
                self.folder.display(),
                clip.id
            ),
        })
    }

    fn odd(&self, what: &str) -> Error {
        Error::Input(format!(
            "{}: the cache is damaged ({what}): delete it and run `vldm data encode` again",
            self.folder.display()
        ))
    }
}

fn extend(values: &mut Vec<f32>, bytes: &[u8], dtype: Dtype) {
    for_each_run(bytes, dtype, |run| values.extend_from_slice(run));
}

/// What a prompt's tensor is called.
pub(super) fn prompt_hash(prompt: &str) -> String {
    hexadecimal(&Sha256::digest(prompt.as_bytes()))
}
