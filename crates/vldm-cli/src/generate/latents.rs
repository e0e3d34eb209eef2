//! `--save-latents`, and what is saved when a run leaves the range of finite numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Tensor, TensorData};
use vldm::checkpoint::write_tensors;
use vldm::{Error, Result};

/// Latents and pixels of the samples so far, written anew whenever there are more.
#[derive(Debug)]
pub(super) struct LatentsFile {
    path: PathBuf,
    latents: Vec<Tensor<4>>,
    pixels: Vec<Tensor<4>>,
}

impl LatentsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            latents: Vec::new(),
            pixels: Vec::new(),
        }
    }

    /// Adds a sample's final latents, `[1, frames, channels, height, width]`, and writes.
    pub(super) fn add_latents(&mut self, latents: &Tensor<5>) -> Result<()> {
        self.latents.push(latents.clone().squeeze_dim(0));
        self.write()
    }

    /// Adds a sample's pixels, `[frames, 3, height, width]`, and writes.
    pub(super) fn add_pixels(&mut self, pixels: &Tensor<4>) -> Result<()> {
        self.pixels.push(pixels.clone().clamp(-1.0, 1.0));
        self.write()
    }

    fn write(&self) -> Result<()> {
        let mut tensors = vec![("latents".to_owned(), stacked(&self.latents))];
        if !self.pixels.is_empty() {
            tensors.push(("pixels".to_owned(), stacked(&self.pixels)));
        }
        write_tensors(&self.path, &tensors, &BTreeMap::new())?;
        Ok(())
    }
}

/// Whether a latents file can be written at `path`: before long work.
pub(crate) fn check_latents_path(path: &Path) -> Result<()> {
    let refuse = |reason: String| {
        let path = path.display();
        Err(Error::Input(format!("{path}: {reason}")))
    };
    if path.is_dir() {
        return refuse("a folder has this name; name a .safetensors file".into());
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match tempfile::NamedTempFile::new_in(folder) {
        Ok(_) => Ok(()),
        Err(error) => refuse(format!("nothing can be written there: {error}")),
    }
}

/// The rows of all samples in one tensor of f32.
fn stacked(samples: &[Tensor<4>]) -> TensorData {
    Tensor::cat(samples.to_vec(), 0)
        .cast(DType::F32)
        .into_data()
}

/// Writes the last finite latents, `[1, frames, channels, height, width]`, beside an output, and
/// returns where.
pub(super) fn save_failed(output: &Path, latents: &Tensor<5>) -> Result<PathBuf> {
    let plain: PathBuf = output.components().collect();
    let mut name = plain.into_os_string();
    name.push(".failed-latents.safetensors");
    let path = PathBuf::from(name);
    LatentsFile::new(path.clone()).add_latents(latents)?;
    Ok(path)
}
