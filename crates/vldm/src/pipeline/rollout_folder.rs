//! What a rollout leaves on disk while it runs, so that it goes on after an interruption.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use serde_json::json;

use super::inputs::read;
use super::rollout::{RolloutRequest, Segment};
use super::stack::StackDescription;
use crate::checkpoint::{CheckpointError, Weights, write_atomically, write_tensors};
use crate::error::{Error, Result};
use crate::preset::Stage;

/// What was asked for, and of what.
const REQUEST: &str = "request.json";
/// Is there once the rollout's frames are written.
const FINISHED: &str = "finished";

/// The folder of one rollout: what decides what it becomes, its first frame, and every finished segment.
#[derive(Debug)]
pub struct RolloutFolder {
    path: PathBuf,
    made_by: String,
    device: Device,
}

impl RolloutFolder {
    /// The folder of a rollout, which is interrupted, or new: then nothing is written yet. `given`: the
    /// first frame is not generated.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder is that of another request, or of a stack with other models or
    /// settings.
    pub fn open(
        path: &Path,
        (request, given): (&RolloutRequest, bool),
        stack: &StackDescription,
        device: &Device,
    ) -> Result<Self> {
        let made_by = json!({
            "request": request,
            "first_frame_given": given,
            "stack": stack.path,
            "prediction": stack.needed(Stage::Prediction)?.config,
            "interpolation": stack.needed(Stage::Interpolation)?.config,
        });
        let made_by = format!("{made_by:#}");
        match std::fs::read_to_string(path.join(REQUEST)) {
            Ok(found) if found != made_by => Err(another(path)),
            _ => Ok(Self {
                path: path.to_owned(),
                made_by,
                device: device.clone(),
            }),
        }
    }

    /// Compares the first frame that is given now with the one that the rollout began with.
    ///
    /// # Errors
    /// [`Error::Input`] when it is another.
    pub fn check_start(&self, given: &Tensor<5>) -> Result<()> {
        let data = |latents: &Tensor<5>| latents.clone().cast(DType::F32).into_data();
        match self.start()? {
            Some(start) if data(&start) != data(given) => Err(another(&self.path)),
            _ => Ok(()),
        }
    }

    /// The first frame's latents, if they are there.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn start(&self) -> Result<Option<Tensor<5>>> {
        let path = self.path.join("start.safetensors");
        match path.is_file() {
            false => Ok(None),
            true => read(&Weights::open(&path)?, "latents", &self.device),
        }
    }

    /// Keeps the request and the first frame's latents.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_start(&self, latents: &Tensor<5>) -> Result<()> {
        std::fs::create_dir_all(&self.path)
            .map_err(|error| CheckpointError::write(&self.path, error))?;
        let file = self.path.join(REQUEST);
        write_atomically(&file, |out| {
            out.write_all(self.made_by.as_bytes())
                .map_err(|error| CheckpointError::write(&file, error))
        })?;
        self.write("start.safetensors", &[("latents", latents)])
    }

    /// The segment of a number, if it is there.
    ///
    /// # Errors
    /// When its file is damaged.
    pub fn segment(&self, index: usize) -> Result<Option<Segment>> {
        let path = self.path.join(name(index));
        if !path.is_file() {
            return Ok(None);
        }
        let weights = Weights::open(&path)?;
        let missing = || {
            Error::Input(format!(
                "{}: no segment of a rollout; remove it to make it again",
                path.display()
            ))
        };
        Ok(Some(Segment {
            index,
            key_frames: read(&weights, "key_frames", &self.device)?.ok_or_else(missing)?,
            frames: read(&weights, "frames", &self.device)?.ok_or_else(missing)?,
        }))
    }

    /// Keeps a segment.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&self, segment: &Segment) -> Result<()> {
        let tensors = [
            ("key_frames", &segment.key_frames),
            ("frames", &segment.frames),
        ];
        self.write(&name(segment.index), &tensors)
    }

    /// Whether the rollout of the folder at `path` was written to the end.
    #[must_use]
    pub fn is_finished(path: &Path) -> bool {
        path.join(FINISHED).is_file()
    }

    /// Says that the rollout is written.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(&self) -> Result<()> {
        let path = self.path.join(FINISHED);
        std::fs::write(&path, "").map_err(|error| CheckpointError::write(&path, error).into())
    }

    /// Removes the folder, once nothing is left to go on with.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(&self.path)
            .map_err(|error| CheckpointError::write(&self.path, error).into())
    }

    fn write(&self, name: &str, tensors: &[(&str, &Tensor<5>)]) -> Result<()> {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(name, tensor)| {
                let values = (*tensor).clone().cast(DType::F32).into_data();
                ((*name).to_owned(), values)
            })
            .collect();
        write_tensors(&self.path.join(name), &tensors, &BTreeMap::new())?;
        Ok(())
    }
}

fn name(index: usize) -> String {
    format!("segment-{index:05}.safetensors")
}

fn another(path: &Path) -> Error {
    Error::Input(format!(
        "{} holds what is left of another rollout: remove it, or ask for the same one again to go on \
         with it",
        path.display()
    ))
}
