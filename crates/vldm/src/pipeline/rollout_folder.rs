//! What a rollout leaves on disk while it runs, so that it goes on after an interruption.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};

use super::inputs::read;
use super::rollout::{RolloutRequest, Segment};
use crate::checkpoint::{CheckpointError, Weights, write_atomically, write_tensors};
use crate::error::{Error, Result};

/// What was asked for.
const REQUEST: &str = "request.json";

/// The folder of one rollout: its request, its first frame, and every finished segment.
#[derive(Debug)]
pub struct RolloutFolder {
    path: PathBuf,
    request: RolloutRequest,
    device: Device,
}

impl RolloutFolder {
    /// The folder of a rollout, which is interrupted, or new: then nothing is written yet.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder is that of another request.
    pub fn open(path: &Path, request: &RolloutRequest, device: &Device) -> Result<Self> {
        let same = |found: &str| {
            serde_json::from_str(found).is_ok_and(|found: RolloutRequest| found == *request)
        };
        match std::fs::read_to_string(path.join(REQUEST)) {
            Ok(found) if !same(&found) => Err(Error::Input(format!(
                "{} holds what is left of another rollout: remove it, or ask for the same one again to \
                 go on with it",
                path.display()
            ))),
            _ => Ok(Self {
                path: path.to_owned(),
                request: request.clone(),
                device: device.clone(),
            }),
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
        let request = serde_json::to_string_pretty(&self.request)
            .map_err(|error| Error::Config(format!("the request: {error}")))?;
        std::fs::create_dir_all(&self.path)
            .map_err(|error| CheckpointError::write(&self.path, error))?;
        let file = self.path.join(REQUEST);
        write_atomically(&file, |out| {
            out.write_all(request.as_bytes())
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

    /// Removes the folder, once the rollout is written.
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
