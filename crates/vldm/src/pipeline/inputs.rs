//! Tensors given from outside, so that a run can be compared with a reference.

use burn::tensor::{Device, Tensor, TensorData};

use crate::checkpoint::Weights;
use crate::error::{Error, Result};

/// Noise for a run in place of the seed's.
#[derive(Debug, Clone, Default)]
pub struct GivenTensors {
    /// Unit-variance noise to start from, `[samples·frames, channels, height, width]`.
    pub latents: Option<Tensor<4>>,
    /// Noise for the picture's augmentation, `[1, 3, height, width]`.
    pub image_noise: Option<Tensor<4>>,
    /// Noise of each step, `[steps, samples·frames, channels, height, width]`.
    pub step_noise: Option<Tensor<5>>,
}

impl GivenTensors {
    /// Reads the tensors `latents`, `image_noise` and `step_noise` of a safetensors file.
    ///
    /// # Errors
    /// When the file is damaged, holds none of them, or one of another rank.
    pub fn read(weights: &Weights, device: &Device) -> Result<Self> {
        let given = Self {
            latents: read(weights, "latents", device)?,
            image_noise: read(weights, "image_noise", device)?,
            step_noise: match weights.shape("step_noise").map(<[usize]>::len) {
                // One sample of one frame may leave out its axis of length 1.
                Some(4) => {
                    read::<4>(weights, "step_noise", device)?.map(|noise| noise.unsqueeze_dim(1))
                }
                _ => read(weights, "step_noise", device)?,
            },
        };
        if given.latents.is_none() {
            return Err(Error::Input(format!(
                "{}: no tensor `latents`; expected unit-variance noise of the shape \
                 [frames, channels, height, width]",
                weights.path().display()
            )));
        }
        Ok(given)
    }

    /// Whether there is noise for `samples` samples of this `shape` (frames, channels, height, width)
    /// and for `steps` steps.
    ///
    /// # Errors
    /// [`Error::Input`] saying which rows are missing.
    pub(super) fn check(&self, samples: usize, shape: [usize; 4], steps: usize) -> Result<()> {
        let last = samples.saturating_sub(1);
        self.latents_of(last, shape)?;
        let Some(noise) = &self.step_noise else {
            return Ok(());
        };
        self.steps_of(last, shape[0])?;
        let dims = noise.dims();
        if dims[0] < steps || dims[2..] != shape[1..] {
            return Err(Error::Input(format!(
                "the given step noise has the shape {dims:?}, expected {steps} steps of {:?} for each \
                 frame",
                &shape[1..]
            )));
        }
        Ok(())
    }

    /// The rows of one sample's `frames`.
    pub(super) fn latents_of(&self, sample: usize, shape: [usize; 4]) -> Result<Option<Tensor<4>>> {
        let Some(latents) = &self.latents else {
            return Ok(None);
        };
        let [frames, channels, height, width] = shape;
        let dims = latents.dims();
        if dims[1..] != [channels, height, width] || dims[0] < (sample + 1) * frames {
            return Err(Error::Input(format!(
                "the given latents have the shape {dims:?}, expected {:?} for sample {sample}",
                [(sample + 1) * frames, channels, height, width]
            )));
        }
        Ok(Some(latents.clone().narrow(0, sample * frames, frames)))
    }

    /// The noise of one sample's steps, `[1, frames, channels, height, width]` each.
    pub(super) fn steps_of(&self, sample: usize, frames: usize) -> Result<Option<Vec<Tensor<5>>>> {
        let Some(noise) = &self.step_noise else {
            return Ok(None);
        };
        let [steps, rows, ..] = noise.dims();
        if rows < (sample + 1) * frames {
            return Err(Error::Input(format!(
                "the given step noise has {rows} rows, expected {} for sample {sample}",
                (sample + 1) * frames
            )));
        }
        let step = |index| {
            noise
                .clone()
                .narrow(0, index, 1)
                .narrow(1, sample * frames, frames)
        };
        Ok(Some((0..steps).map(step).collect()))
    }
}

pub(super) fn read<const D: usize>(
    weights: &Weights,
    name: &str,
    device: &Device,
) -> Result<Option<Tensor<D>>> {
    let Some(shape) = weights.shape(name) else {
        return Ok(None);
    };
    let Ok(shape) = <[usize; D]>::try_from(shape) else {
        return Err(Error::Input(format!(
            "{}: `{name}` has the shape {shape:?}, expected {D} dimensions",
            weights.path().display()
        )));
    };
    let values: Vec<f32> = weights
        .data(name)?
        .convert::<f32>()
        .try_to_vec()
        .map_err(|error| Error::Input(format!("`{name}` does not hold numbers: {error:?}")))?;
    Ok(Some(Tensor::from_data(
        TensorData::new(values, shape),
        device,
    )))
}
