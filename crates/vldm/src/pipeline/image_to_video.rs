//! What Stable Video Diffusion is told of the picture that a clip starts from.
//!
//! # Source
//! Stable Video Diffusion (arXiv:2311.15127), appendix D.3.

use burn::tensor::{DType, Tensor, TensorData};
use vldm_media::{Filter, Frame};

use super::inputs::GivenTensors;
use super::picture::frame_to_pixels;
use super::plan::Plan;
use super::stage_run::Told;
use super::wishes::{ReadTokens, WishTokens};
use crate::conditioning::clip_image::clip_image;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::rng::Draw;
use crate::sampler::SampleNoise;

/// The picture in every way in which the network sees it.
#[derive(Debug)]
pub(crate) struct PictureCondition {
    /// Its embedding, `[1, 1, width]`.
    tokens: Tensor<3>,
    /// With augmentation noise, `[1, channels, height, width]`, not scaled.
    latents: Tensor<4>,
    /// `[1, 3]`: fps − 1, motion bucket, noise augmentation.
    scalars: Tensor<2>,
}

impl PictureCondition {
    /// The condition on `picture`; `seeded` draws its augmentation noise where none is given.
    pub(crate) fn new(
        model: &Model,
        plan: &Plan,
        (picture, seeded, given): (&Frame, &SampleNoise, &GivenTensors),
    ) -> Result<Self> {
        let scalars = [
            plan.fps.as_f64() - 1.0,
            plan.motion_bucket,
            plan.noise_augmentation,
        ];
        let scalars = scalars.map(|value| value as f32);
        Ok(Self {
            tokens: embedding(model, picture)?,
            latents: latents(model, plan, (picture, seeded, given))?,
            scalars: Tensor::<1>::from_floats(scalars, &model.device).unsqueeze(),
        })
    }

    /// Both branches of guidance: without the picture, embedding and latents are zero and the
    /// scalars stay.
    ///
    /// # Shapes
    /// - `shape`: that of the clip's latents, `[1, frames, channels, height, width]`
    pub(crate) fn told(self, shape: [usize; 5]) -> Told {
        let blank = self.latents.zeros_like();
        let read = |tokens| ReadTokens {
            spatial: Some(tokens),
            temporal: None,
        };
        let tokens = WishTokens {
            unconditional: read(self.tokens.zeros_like()),
            wanted: read(self.tokens),
        };
        let mut told = Told::words(&tokens, shape, &self.latents.device())
            .map(|told| told.scalars = Some(self.scalars.clone()));
        told.wanted.image = Some(self.latents);
        told.unconditional.image = Some(blank);
        told
    }
}

/// # Shapes
/// - returns: `[1, 1, width]`
fn embedding(model: &Model, picture: &Frame) -> Result<Tensor<3>> {
    let Some(encoder) = &model.image_encoder else {
        return Err(Error::Input("the model has no image encoder".into()));
    };
    let config = model.description.image_encoder.as_ref();
    let size = config.map_or(224, |config| config.image_size);
    let sides = [picture.height() as usize, picture.width() as usize];
    let values: Vec<f32> = frame_to_pixels(picture, &model.device)
        .into_data()
        .try_to_vec()
        .map_err(|error| Error::Backend(format!("the picture cannot be read: {error:?}")))?;
    let values = clip_image(&values, sides, size)?;
    let pixels = TensorData::new(values, [1, 3, size, size]);
    let pixels = Tensor::<4>::from_data(pixels, &model.device).cast(model.dtype);
    Ok(encoder.forward(pixels).unsqueeze_dim(1))
}

/// The latents of the picture with its augmentation noise, not scaled.
///
/// # Shapes
/// - returns: `[1, channels, height, width]`
fn latents(
    model: &Model,
    plan: &Plan,
    (picture, seeded, given): (&Frame, &SampleNoise, &GivenTensors),
) -> Result<Tensor<4>> {
    let Some(part) = &model.autoencoder else {
        return Err(Error::Input("the model has no autoencoder".into()));
    };
    let Plan { width, height, .. } = *plan;
    let resized = vldm_media::resize(picture, width as u32, height as u32, Filter::Lanczos)?;
    let noise = match &given.image_noise {
        Some(noise) if noise.dims() == [1, 3, height, width] => noise.clone(),
        Some(noise) => {
            return Err(Error::Input(format!(
                "the given image noise has the shape {:?}, expected [1, 3, {height}, {width}]",
                noise.dims()
            )));
        }
        None => seeded
            .tensor(Draw::Augmentation, [1, 1, 3, height, width], &model.device)?
            .squeeze_dim(1),
    };
    let pixels =
        frame_to_pixels(&resized, &model.device) + noise.mul_scalar(plan.noise_augmentation);
    let latents = part.autoencoder.encode(pixels.cast(model.dtype)).mode();
    Ok(latents.cast(DType::F32))
}
