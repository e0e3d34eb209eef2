//! The still picture that Stable Video Diffusion starts from: the first frame of each clip.
//!
//! # Source
//! Blattmann et al. 2023 (arXiv:2311.15127), appendix D.3: CLIP's embedding in place of words,
//! noise on the picture's pixels, latents of every frame's input not scaled.

use burn::tensor::{DType, Tensor};

use super::draws::Choice;
use super::networks::Networks;
use super::prepare::{Drawn, Preparation};
use crate::conditioning::clip_image::clip_image;
use crate::error::{Error, Result};

/// What a batch of pictures tells the networks.
pub(crate) struct PictureCondition {
    /// `[batch, 1, width]`
    pub(crate) tokens: Tensor<3>,
    /// `[batch, channels, height, width]`, not scaled.
    pub(crate) latents: Tensor<4>,
    /// `[batch, 3]`: fps − 1, motion bucket, noise augmentation.
    pub(crate) scalars: Tensor<2>,
}

pub(crate) fn condition(
    preparation: &Preparation,
    networks: &Networks,
    drawn: &[Drawn],
    pixels: &Tensor<5>,
) -> Result<PictureCondition> {
    let [batch, _, c, h, w] = pixels.dims();
    let first: Tensor<4> = pixels.clone().narrow(1, 0, 1).reshape([batch, c, h, w]);
    let config = preparation
        .preset
        .diffusion
        .as_ref()
        .and_then(|config| config.noise_augmentation);
    let schedule = &preparation.diffusion()?.schedule;
    let mut sigmas = Vec::with_capacity(batch);
    for (_, draws) in drawn {
        sigmas.push(match config {
            Some(config) => {
                draws
                    .level(Choice::AugmentationLevel, &config.training, schedule)?
                    .sigma
            }
            None => 0.0,
        });
    }
    let noise = drawn
        .iter()
        .zip(&sigmas)
        .flat_map(|((_, draws), &sigma)| {
            let noise = draws.augmentation(1, [c, h, w]);
            noise.into_iter().map(move |value| value * sigma as f32)
        })
        .collect();
    let kept: Vec<f32> = drawn
        .iter()
        .map(|(_, draws)| f32::from(u8::from(!preparation.drops(draws, Choice::DropPicture))))
        .collect();
    let kept = preparation.tensor(kept, [batch]);
    let noisy = first.clone() + preparation.tensor(noise, [batch, c, h, w]);
    let scalars = drawn.iter().zip(&sigmas).flat_map(|((sample, _), &sigma)| {
        [sample.fps - 1.0, preparation.motion_bucket(), sigma].map(|value| value as f32)
    });
    Ok(PictureCondition {
        tokens: embeddings(preparation, networks, first)? * kept.clone().reshape([batch, 1, 1]),
        latents: latents(networks, noisy)? * kept.reshape([batch, 1, 1, 1]),
        scalars: preparation.tensor(scalars.collect(), [batch, 3]),
    })
}

fn embeddings(
    preparation: &Preparation,
    networks: &Networks,
    pictures: Tensor<4>,
) -> Result<Tensor<3>> {
    let (Some(encoder), Some(config)) =
        (&networks.image_encoder, &preparation.preset.image_encoder)
    else {
        return Err(Error::Config("this stage needs an image encoder".into()));
    };
    let [batch, _, h, w] = pictures.dims();
    let size = config.image_size;
    let mut values = Vec::with_capacity(batch * 3 * size * size);
    for picture in pictures.split(1, 0) {
        let picture: Vec<f32> = picture
            .into_data()
            .try_to_vec()
            .map_err(|error| Error::Backend(format!("a picture cannot be read: {error:?}")))?;
        values.extend(clip_image(&picture, [h, w], size)?);
    }
    let pictures: Tensor<4> = preparation.tensor(values, [batch, 3, size, size]);
    Ok(encoder.forward(pictures).cast(DType::F32).unsqueeze_dim(1))
}

fn latents(networks: &Networks, pictures: Tensor<4>) -> Result<Tensor<4>> {
    let autoencoder = networks
        .autoencoder
        .as_ref()
        .ok_or_else(|| Error::Config("this stage needs an autoencoder".into()))?;
    let dtype = autoencoder.encoder.conv_in.dtype();
    Ok(autoencoder
        .encode(pictures.cast(dtype))
        .mode()
        .cast(DType::F32))
}
