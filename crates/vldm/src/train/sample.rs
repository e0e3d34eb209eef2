//! What networks under training make: samples of diffusion, and decoded clips of autoencoders.

use burn::tensor::{DType, Tensor};
use vldm_media::{Clip, Fps};

use super::adversarial::{AdversarialStage, made_clips};
use super::denoising::network_input;
use super::example::Example;
use super::networks::Networks;
use super::prepare::{Drawn, Preparation};
use crate::diffusion::residual::with_residual;
use crate::diffusion::{NoiseLevel, Preconditioning};
use crate::error::{Error, Result};
use crate::layout::unfold_frames;
use crate::pipeline::pixels_to_frame;
use crate::rng::Stage;
use crate::sampler::{SampleNoise, SampleSeed, Sampling};

/// Samples conditioned as the drawn clips are, without guidance: one clip for each.
///
/// The noise is always the same, so that one look can be compared with the next.
pub(crate) fn sample_clips(
    preparation: &Preparation,
    networks: &Networks,
    drawn: &[Drawn],
    steps: usize,
) -> Result<Vec<Clip>> {
    let example = preparation.example(networks, drawn, None)?;
    let latents = sample(preparation, networks, &example, (steps, 0))?;
    let rates = drawn.iter().map(|(sample, _)| sample.fps);
    let pixels = match (preparation.residual_scale(), example.low) {
        (Some(scale), Some(low)) => with_residual(latents, low.pixels, scale),
        _ => decoded(preparation, networks, latents)?,
    };
    clips(&pixels, rates)
}

/// What an adversarial stage makes of the drawn clips, each beneath the true one.
pub(crate) fn reconstructed_clips(
    preparation: &Preparation,
    networks: &Networks,
    (drawn, stage): (&[Drawn], AdversarialStage),
) -> Result<Vec<Clip>> {
    let truth = preparation.clips(drawn)?.at_mode();
    let made = made_clips(networks, &truth, stage)?.cast(DType::F32);
    let rates = drawn.iter().map(|(sample, _)| sample.fps);
    clips(&Tensor::cat(vec![truth.pixels, made], 3), rates)
}

/// Clean latents, made from noise under the example's conditions in a number of steps; the clips'
/// noise has seeds from `first_seed` on.
///
/// # Shapes
/// - returns: shape of `example.clean`
pub(crate) fn sample(
    preparation: &Preparation,
    networks: &Networks,
    example: &Example,
    (steps, first_seed): (usize, u64),
) -> Result<Tensor<5>> {
    let preconditioning = preparation.diffusion()?;
    let missing = || Error::Config("samples need [sampling] in the model".into());
    let config = preparation.preset.sampling.ok_or_else(missing)?;
    let plan = config
        .sampler
        .plan(&preconditioning.schedule, &config.spacing, steps)?;
    let shape = example.clean.dims();
    let mut noise = SampleNoise {
        samples: (0..shape[0] as u64)
            .map(|clip| SampleSeed {
                seed: first_seed + clip,
                first_frame: 0,
            })
            .collect(),
        stage: Stage::Validation,
    };
    let initial = noise.tensor(crate::rng::Draw::Initial, shape, &example.clean.device())?;
    let denoiser = |x: Tensor<5>, level: NoiseLevel| -> Result<Tensor<5>> {
        estimate(networks, preconditioning, example, (x, level))
    };
    let run = Sampling::new(config.sampler.build(), plan, &denoiser, initial, &mut noise);
    let mut latents = None;
    for progress in run {
        latents = Some(progress?.latents());
    }
    let latents = latents.ok_or_else(|| Error::Config("samples.steps is 0".into()))?;
    Ok(match &example.given {
        None => latents,
        Some(given) => {
            let [b, f, ..] = shape;
            let mask = given.mask.clone().reshape([b, f, 1, 1, 1]);
            example.clean.clone() * mask.clone() + latents * (-mask + 1.0)
        }
    })
}

/// The clean estimate of noisy latents `x = x0 + sigma·noise`.
fn estimate(
    networks: &Networks,
    preconditioning: &Preconditioning,
    example: &Example,
    (x, level): (Tensor<5>, NoiseLevel),
) -> Result<Tensor<5>> {
    let unet = networks
        .unet
        .as_ref()
        .ok_or_else(|| Error::Config("this stage needs a U-Net".into()))?;
    let [batch, frames, ..] = x.dims();
    let levels = vec![level; batch];
    let scalings = preconditioning.at(level);
    let noisy = x.clone().mul_scalar(scalings.c_in);
    let (input, time) = network_input(networks, preconditioning, (example, noisy, &levels))?;
    let output = match (&networks.temporal, time) {
        (Some(temporal), Some(time)) => unet.forward_video(input, temporal, &time),
        _ => unet.forward(input),
    };
    let output = unfold_frames(output.cast(DType::F32), frames);
    Ok(x * scalings.c_skip + output * scalings.c_out)
}

/// Pixels in \[−1, 1\], `[batch, frames, 3, height, width]`, of scaled latents.
pub(crate) fn decoded(
    preparation: &Preparation,
    networks: &Networks,
    latents: Tensor<5>,
) -> Result<Tensor<5>> {
    let (Some(autoencoder), Some(config)) =
        (&networks.autoencoder, &preparation.preset.autoencoder)
    else {
        return Ok(latents);
    };
    let [b, f, c, h, w] = latents.dims();
    let dtype = autoencoder.decoder.conv_in.dtype();
    let latents = latents
        .div_scalar(config.scale_factor)
        .reshape([b * f, c, h, w]);
    let frames = latents
        .split(8, 0)
        .into_iter()
        .map(|latents| autoencoder.decode(latents.cast(dtype)).cast(DType::F32));
    let pixels = Tensor::cat(frames.collect(), 0);
    let [_, c, h, w] = pixels.dims();
    Ok(pixels.reshape([b, f, c, h, w]))
}

/// Clips of 8-bit frames.
pub(crate) fn clips(pixels: &Tensor<5>, rates: impl Iterator<Item = f64>) -> Result<Vec<Clip>> {
    let [_, frames, c, h, w] = pixels.dims();
    let mut clips = Vec::new();
    for (clip, rate) in pixels.clone().split(1, 0).into_iter().zip(rates) {
        let images: Result<Vec<_>> = clip
            .reshape([frames, c, h, w])
            .split(1, 0)
            .into_iter()
            .map(|image| pixels_to_frame(image.reshape([c, h, w]), 0))
            .collect();
        clips.push(Clip::new(images?, Fps::from_f64(rate)?)?);
    }
    Ok(clips)
}
