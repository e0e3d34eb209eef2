//! Making a cache, or what is missing in one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;

use super::existing::{self, Existing};
use super::made_by::{MadeBy, StoredType};
use super::plan::{Wanted, wanted};
use super::work::{Done, Work};
use crate::checkpoint::CheckpointError;
use crate::data::{ClipSource, Order};
use crate::error::{Error, Result};
use crate::train::build;
use crate::train::networks::Networks;
use crate::train::prepare::Preparation;
use crate::train::recipe::Recipe;
use crate::train::run::dtype;

/// How a cache is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeSettings {
    /// The data type of the numbers.
    pub stored: StoredType,
    /// Frames of a file, at least 1: what is lost at most when the work is killed.
    pub frames_per_file: usize,
}

impl Default for EncodeSettings {
    fn default() -> Self {
        Self {
            stored: StoredType::F32,
            frames_per_file: 256,
        }
    }
}

/// What happens while a cache is made.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EncodeEvent {
    /// A file of an earlier run was compared with its hash.
    Verified {
        /// Files behind us.
        done: usize,
        /// Files that were there.
        total: usize,
    },
    /// Frames or prompts were encoded.
    Encoded {
        /// How many are behind us.
        done: usize,
        /// How many were missing.
        total: usize,
    },
    /// A clip cannot be read; a run that draws it takes another in its place.
    Broken {
        /// The clip's name.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The end: the cache holds everything that the recipe asks for.
    Finished(EncodeReport),
}

/// What a cache holds of a recipe, and what it took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EncodeReport {
    /// Clips, counted once for each of their sizes.
    pub clips: usize,
    /// Their frames that windows can take.
    pub frames: usize,
    /// Distinct prompts; none where the text encoder learns.
    pub prompts: usize,
    /// Frames that were encoded now.
    pub new_frames: usize,
    /// Prompts that were encoded now.
    pub new_prompts: usize,
    /// Clips that cannot be read.
    pub broken: usize,
    /// Files of an earlier run that were not what their line in the index says.
    pub damaged: usize,
    /// Size of all files of the cache, those for other recipes included.
    pub bytes: u64,
    /// Time of this run.
    pub seconds: f64,
    /// Where it went.
    pub shares: Shares,
}

/// Seconds by what they were spent on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shares {
    /// Comparing earlier files with their hashes.
    pub verifying: f64,
    /// Reading clips.
    pub reading: f64,
    /// The encoders.
    pub encoding: f64,
    /// Writing files.
    pub writing: f64,
}

/// Everything that encoding needs and that does not change.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) folder: PathBuf,
    pub(super) settings: EncodeSettings,
    pub(super) preparation: Preparation,
    /// For looking only.
    pub(super) networks: Networks,
    /// Sources with what is wanted of them.
    pub(super) sources: Vec<(Arc<dyn ClipSource>, Vec<Wanted>)>,
    pub(super) with_prompts: bool,
    /// How many clips may fail.
    pub(super) ceiling: usize,
}

/// Makes a cache, an event at a time; dropping it leaves what has been written so far.
#[derive(Debug)]
pub struct Encode {
    setting: Setting,
    existing: Option<Existing>,
    work: Option<Work>,
    begin: Instant,
    verifying: f64,
    over: bool,
}

impl Encode {
    /// Begins a cache of what a recipe's windows can take in a folder, or goes on with one. Prompts that
    /// another text encoder embedded are made anew.
    ///
    /// # Errors
    /// [`Error::Config`] when the recipe learns from more than frozen latents, [`Error::Input`] when
    /// the folder holds something else or a cache of another autoencoder, and whatever keeps the recipe's
    /// networks and clips from being had.
    pub fn start(
        recipe: &Recipe,
        folder: &Path,
        settings: EncodeSettings,
        device: &Device,
    ) -> Result<Self> {
        let begin = Instant::now();
        super::check(recipe, &recipe.preset()?)?;
        if settings.frames_per_file == 0 {
            return Err(Error::Config(
                "a cache with 0 frames per file: at least 1".into(),
            ));
        }
        let (networks, preparation) = build::for_recipe(recipe, device)?;
        let made_by = MadeBy::new(recipe, &preparation.preset, &networks, settings.stored)?;
        let order = recipe.order(&preparation.preset)?;
        let mut sources = Vec::new();
        for config in std::iter::once(&recipe.data).chain(&recipe.held_out) {
            let source = config.open()?;
            let wanted = wanted(&*source, &Order::new(&*source, &order)?)?;
            sources.push((source, wanted));
        }
        open_folder(folder, &made_by)?;
        let clips = sources.iter().map(|(source, _)| source.len()).sum();
        Ok(Self {
            existing: Some(Existing::open(folder)?),
            setting: Setting {
                folder: folder.to_owned(),
                settings,
                networks: networks.frozen(dtype(recipe)),
                sources,
                with_prompts: made_by.text_encoder.is_some(),
                ceiling: recipe.loader.broken.ceiling(clips),
                preparation,
            },
            work: None,
            begin,
            verifying: 0.0,
            over: false,
        })
    }

    fn step(&mut self) -> Result<EncodeEvent> {
        if let Some(existing) = &mut self.existing {
            let begin = Instant::now();
            let looked = existing.step(&self.setting.folder);
            self.verifying += begin.elapsed().as_secs_f64();
            if let Some((done, total)) = looked {
                return Ok(EncodeEvent::Verified { done, total });
            }
        }
        if let Some(existing) = self.existing.take() {
            let found = existing.finish(&self.setting.folder)?;
            self.work = Some(Work::new(&self.setting, found)?);
        }
        let Some(work) = &mut self.work else {
            return Err(Error::Input("the work has ended".into()));
        };
        Ok(match work.step(&self.setting)? {
            Done::Some { done, total } => EncodeEvent::Encoded { done, total },
            Done::Broken { id, reason } => EncodeEvent::Broken { id, reason },
            Done::All(mut report) => {
                report.seconds = self.begin.elapsed().as_secs_f64();
                report.shares.verifying = self.verifying;
                self.over = true;
                EncodeEvent::Finished(report)
            }
        })
    }
}

impl Iterator for Encode {
    type Item = Result<EncodeEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let event = self.step();
        self.over |= event.is_err();
        Some(event)
    }
}

/// Makes the folder of a cache, or sees that the one in it suits.
fn open_folder(folder: &Path, made_by: &MadeBy) -> Result<()> {
    let Some(found) = MadeBy::load(folder)? else {
        std::fs::create_dir_all(folder).map_err(|error| CheckpointError::write(folder, error))?;
        let mut entries =
            std::fs::read_dir(folder).map_err(|error| CheckpointError::read(folder, error))?;
        if entries.next().is_some() {
            return Err(Error::Input(format!(
                "{}: the folder is neither empty nor a cache: name a new one",
                folder.display()
            )));
        }
        return made_by.save(folder);
    };
    // Latents do not depend on the text encoder, which the stage before may have taught.
    let is_other_text =
        made_by.text_encoder.is_some() && found.text_encoder != made_by.text_encoder;
    let but_for_text = MadeBy {
        text_encoder: None,
        ..found.clone()
    };
    let difference = but_for_text.difference(made_by).or_else(|| {
        (found.stored_in != made_by.stored_in).then(|| {
            let [found, asked] = [found.stored_in, made_by.stored_in].map(StoredType::name);
            format!("it stores {found}, {asked} is asked for")
        })
    });
    if let Some(difference) = difference {
        return Err(Error::Input(format!(
            "{}: holds another cache: {difference}; name another folder, or delete this one",
            folder.display()
        )));
    }
    if is_other_text {
        existing::remove_prompts(folder)?;
        made_by.save(folder)?;
    }
    Ok(())
}
