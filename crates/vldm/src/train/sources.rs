//! The clips of a run; DreamBooth's pictures of the class are made here where there are none.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use vldm_media::{Frame, WriteOptions, write_image};

use super::draws::Draws;
use super::networks::Networks;
use super::prepare::Preparation;
use super::recipe::Recipe;
use super::sample::{clips, decoded, sample};
use super::settings::DreamboothConfig;
use crate::checkpoint::CheckpointError;
use crate::data::{ClipSource, DataConfig, Loader, Order, Sample};
use crate::error::{Error, Result};

/// Pictures of the class that DreamBooth keeps apart from the subject; `None` in other stages.
///
/// # Source
/// Ruiz et al. 2023 (arXiv:2208.12242), section 3.3: made by the model itself, before it learns.
pub(crate) fn class_pictures(
    recipe: &Recipe,
    preparation: &Preparation,
    (networks, out, from_batch): (&Networks, &Path, u64),
) -> Result<Option<Loader>> {
    let Some(dreambooth) = &recipe.dreambooth else {
        return Ok(None);
    };
    let source = match &dreambooth.class_data {
        Some(config) => config.open()?,
        None => make(
            dreambooth,
            recipe,
            preparation,
            (networks, &out.join("class")),
        )?,
    };
    let mut settings = recipe.order(&preparation.preset)?;
    // Another order than the subject's.
    settings.seed = recipe.seed.wrapping_add(1);
    let order = Order::new(&*source, &settings)?;
    Ok(Some(Loader::start(
        source,
        Arc::new(order),
        from_batch,
        &recipe.loader,
    )?))
}

/// Makes the pictures that are not there yet.
fn make(
    dreambooth: &DreamboothConfig,
    recipe: &Recipe,
    preparation: &Preparation,
    (networks, folder): (&Networks, &Path),
) -> Result<Arc<dyn ClipSource>> {
    std::fs::create_dir_all(folder).map_err(|error| CheckpointError::write(folder, error))?;
    let size = recipe.order(&preparation.preset)?.buckets[0];
    let networks = networks.frozen(super::run::dtype(recipe));
    for number in 0..dreambooth.class_pictures {
        let path = folder.join(format!("{number:05}.png"));
        if path.is_file() {
            continue;
        }
        let like = blank(size)?;
        let draws = Draws::validation(recipe.seed, number as u64);
        let example = preparation.example(&networks, &[(&like, draws)], None)?;
        let how = (recipe.samples.steps, number as u64);
        let latents = sample(preparation, &networks, &example, how)?;
        let made = clips(
            &decoded(preparation, &networks, latents)?,
            std::iter::once(1.0),
        )?;
        let frame = made.first().and_then(|clip| clip.frames().first());
        let frame = frame.ok_or_else(|| Error::Backend("sampling gave no picture".into()))?;
        write_image(&path, frame, &WriteOptions::default())?;
        tracing::info!(
            "class picture {} of {}",
            number + 1,
            dreambooth.class_pictures
        );
    }
    DataConfig::Folder {
        path: folder.to_path_buf(),
        picture_fps: None,
    }
    .open()
}

fn blank([height, width]: [u32; 2]) -> Result<Sample> {
    Ok(Sample {
        id: "blank".into(),
        frames: vec![Frame::from_fn(width, height, |_, _| [128; 3])?],
        fps: 1.0,
        start_seconds: 0.0,
        caption: None,
        labels: BTreeMap::new(),
        boxes: vec![Vec::new()],
        encoded: None,
    })
}
