//! Where the noise of a sampling run comes from.
//!
//! # Source
//!
//! The promise is the project's own, see [`crate::rng`].

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::rng::{Draw, NoiseKey, Stage};
use crate::{Error, Result};

/// A source of the noise that stochastic samplers add.
pub trait StepNoise: std::fmt::Debug {
    /// Unit-variance noise for the step of this index; shape, device and type of `like`.
    ///
    /// # Errors
    /// [`Error::Input`] if the source has no noise of that shape for that step.
    fn draw(&mut self, step: usize, like: &Tensor<5>) -> Result<Tensor<5>>;
}

/// Whose noise an entry of the batch gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleSeed {
    /// The seed of the sample.
    pub seed: u64,
    /// The absolute index, in the sample's whole video, of the first frame of the entry.
    pub first_frame: u64,
}

/// Noise drawn from each sample's own seed: an entry's noise depends neither on the other
/// entries nor on how its video is cut.
#[derive(Debug, Clone)]
pub struct SampleNoise {
    /// One seed per entry of the batch.
    pub samples: Vec<SampleSeed>,
    /// The part of the stack that samples.
    pub stage: Stage,
}

impl SampleNoise {
    /// One sample that starts at frame 0.
    #[must_use]
    pub fn single(seed: u64, stage: Stage) -> Self {
        Self::from_frame(seed, 0, stage)
    }

    /// One sample that starts at a frame of its whole video.
    #[must_use]
    pub fn from_frame(seed: u64, first_frame: u64, stage: Stage) -> Self {
        Self {
            samples: vec![SampleSeed { seed, first_frame }],
            stage,
        }
    }

    /// Unit-variance f32 noise of a draw. Sampling starts from [`Draw::Initial`].
    ///
    /// # Shapes
    /// - returns: `shape`, `[batch, frames, channels, height, width]`
    ///
    /// # Errors
    /// [`Error::Input`] if `shape` has another batch than there are seeds.
    pub fn tensor(&self, draw: Draw, shape: [usize; 5], device: &Device) -> Result<Tensor<5>> {
        let [batch, frames, channels, height, width] = shape;
        if batch != self.samples.len() {
            return Err(Error::Input(format!(
                "a batch of {batch} needs {batch} seeds, got {}",
                self.samples.len()
            )));
        }
        let mut values = Vec::with_capacity(shape.iter().product());
        for sample in &self.samples {
            let key = NoiseKey {
                seed: sample.seed,
                stage: self.stage,
                draw,
            };
            let range = sample.first_frame..sample.first_frame + frames as u64;
            values.extend(key.normal(range, [channels, height, width]));
        }
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            (device, DType::F32),
        ))
    }
}

impl StepNoise for SampleNoise {
    fn draw(&mut self, step: usize, like: &Tensor<5>) -> Result<Tensor<5>> {
        let index = u32::try_from(step)
            .map_err(|_| Error::Input(format!("step {step} is beyond the last possible one")))?;
        let noise = self.tensor(Draw::Step(index), like.dims(), &like.device())?;
        Ok(if like.dtype() == DType::F32 {
            noise
        } else {
            noise.cast(like.dtype())
        })
    }
}

/// Noise handed in from outside, one tensor per step: for comparison with a reference.
#[derive(Debug, Clone)]
pub struct GivenNoise {
    /// Unit-variance noise by step, `[batch, frames, channels, height, width]` each.
    pub steps: Vec<Tensor<5>>,
}

impl StepNoise for GivenNoise {
    fn draw(&mut self, step: usize, like: &Tensor<5>) -> Result<Tensor<5>> {
        let given = self.steps.get(step).ok_or_else(|| {
            Error::Input(format!(
                "the given step noise covers {} steps, but step {} needs noise too",
                self.steps.len(),
                step + 1
            ))
        })?;
        if given.dims() != like.dims() {
            return Err(Error::Input(format!(
                "the given step noise must have the shape of the latents {:?}, got {:?}",
                like.dims(),
                given.dims()
            )));
        }
        Ok(given.clone().to_device(&like.device()).cast(like.dtype()))
    }
}

/// No noise: for deterministic samplers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNoise;

impl StepNoise for NoNoise {
    fn draw(&mut self, step: usize, _like: &Tensor<5>) -> Result<Tensor<5>> {
        Err(Error::Input(format!(
            "step {} of this sampler adds noise, but the run was started without a source of it",
            step + 1
        )))
    }
}
