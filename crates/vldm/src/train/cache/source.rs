//! A source whose clips are read from a cache.

use std::collections::HashMap;
use std::sync::Arc;

use super::index::ClipKey;
use super::plan::{Wanted, wanted};
use super::reader::LatentCache;
use crate::data::{
    ClipInfo, ClipSource, DataConfig, Order, OrderSettings, Placement, Sample, Skipped, Window,
};
use crate::error::{Error, Result};

/// Opens the clips of a recipe; where it has a cache their latents come from there.
///
/// # Errors
/// Those of the source, and [`Error::Input`] when the cache lacks frames that the order can ask for.
pub(crate) fn open_source(
    cache: Option<&Arc<LatentCache>>,
    config: &DataConfig,
    order: &OrderSettings,
) -> Result<Arc<dyn ClipSource>> {
    let source = config.open()?;
    match cache {
        None => Ok(source),
        Some(cache) => Ok(Arc::new(CachedSource::new(source, cache, order)?)),
    }
}

/// Clips with latents in place of pictures; everything else is as the source says it.
#[derive(Debug)]
struct CachedSource {
    source: Arc<dyn ClipSource>,
    cache: Arc<LatentCache>,
    /// By the clip's index and its size.
    keys: HashMap<(usize, [u32; 2]), ClipKey>,
}

impl CachedSource {
    fn new(
        source: Arc<dyn ClipSource>,
        cache: &Arc<LatentCache>,
        order: &OrderSettings,
    ) -> Result<Self> {
        let order = Order::new(&*source, order)?;
        let wanted = wanted(&*source, &order)?;
        let lacking: Vec<&Wanted> = wanted.iter().filter(|clip| lacks(cache, clip)).collect();
        if let Some(first) = lacking.first() {
            return Err(incomplete(cache, (first, lacking.len(), wanted.len())));
        }
        let keys = wanted.into_iter();
        Ok(Self {
            keys: keys
                .map(|clip| ((clip.clip, clip.key.size), clip.key))
                .collect(),
            cache: Arc::clone(cache),
            source,
        })
    }
}

/// Whether frames of a clip are missing although they can be read.
fn lacks(cache: &LatentCache, clip: &Wanted) -> bool {
    let held = cache.held();
    let is_there = |frame: &usize| held.frame(&clip.key, *frame).is_some();
    held.broken(&clip.key).is_none() && !clip.frames.iter().all(is_there)
}

/// Says what there is in place of what is missing.
fn incomplete(cache: &LatentCache, (first, lacking, all): (&Wanted, usize, usize)) -> Error {
    let ClipKey { id, identity, size } = &first.key;
    let shown = |[height, width]: [u32; 2]| format!("{width}x{height}");
    let others = cache.held().others(id);
    let instead = match others.iter().find(|other| other.size == *size) {
        Some(other) if other.identity != *identity => format!(
            "it was encoded when it was {}, and now is {identity}",
            other.identity
        ),
        Some(_) => "only some of its frames are there".to_owned(),
        None if others.is_empty() => "nothing of it is there".to_owned(),
        None => {
            let sizes: Vec<String> = others.iter().map(|other| shown(other.size)).collect();
            format!("it is there at {}", sizes.join(", "))
        }
    };
    Error::Input(format!(
        "{}: the cache lacks {lacking} of the {all} clips that the recipe asks for, the first of \
         them {id} at {}: {instead}; run `vldm data encode` for this recipe, which adds what is \
         missing",
        cache.folder().display(),
        shown(*size)
    ))
}

impl ClipSource for CachedSource {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn clip(&self, index: usize) -> &ClipInfo {
        self.source.clip(index)
    }

    fn read(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        let take = self.clip(index).take(window, placement.time)?;
        let key = self.keys.get(&(index, [window.height, window.width]));
        let key = key.ok_or_else(|| {
            Error::Input(format!("{}: not cached at {window}", self.clip(index).id))
        })?;
        Ok(Sample {
            encoded: Some(self.cache.frames(key, take.indices())?),
            ..self.source.describe(index, window, placement)?
        })
    }

    fn describe(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        self.source.describe(index, window, placement)
    }

    fn identity(&self, index: usize) -> Result<String> {
        self.source.identity(index)
    }

    fn skipped(&self) -> &[Skipped] {
        self.source.skipped()
    }
}
