//! The loss of every diffusion stage: the squared error of what the network predicts.
//!
//! For models that predict v this is the weighted loss of EDM as well: with its weight
//! (1 + σ²)/σ², the error of the clean estimate is that of v.
//!
//! # Source
//! Blattmann et al. 2023, section 2, eq. 1–3 and 5; Karras et al. 2022 (arXiv:2206.00364), eq. 8.

use burn::tensor::{DType, Int, Tensor, TensorData};
use vldm_kernels::sum_squares;

use super::example::{Augmentation, Example, TemporalWords, Words};
use super::networks::Networks;
use crate::diffusion::{NoiseLevel, Parameterization, Preconditioning};
use crate::error::{Error, Result};
use crate::layout::{fold_frames, images_to_channels_last, unfold_frames};
use crate::nn::temporal::TemporalContext;
use crate::text::ClipTextEncoder;
use crate::unet::{UNet, UNetInput, Vector};

/// A prediction that can be differentiated, beside what it should have been.
#[derive(Debug)]
pub struct Prediction {
    /// `[batch·frames, height, width, channels]`
    pub output: Tensor<4>,
    /// Shape of `output`.
    pub target: Tensor<4>,
    /// Weight of each of the frames.
    pub weights: Vec<f64>,
}

/// Runs the networks on an example; `networks` are in their working data type.
///
/// # Errors
/// [`Error::Config`] when the example needs a network that is not there.
pub fn predict(
    networks: &Networks,
    preconditioning: &Preconditioning,
    example: &Example,
) -> Result<Prediction> {
    let unet = unet_of(networks)?;
    let (input, time) = training_input(networks, preconditioning, example)?;
    let output = match (&networks.temporal, time) {
        (Some(temporal), Some(time)) => unet.forward_video(input, temporal, &time),
        _ => unet.forward(input),
    };
    Ok(Prediction::new(output, preconditioning, example))
}

/// The U-Net that every diffusion stage has.
///
/// # Errors
/// [`Error::Config`] when it is not there.
pub(crate) fn unet_of(networks: &Networks) -> Result<&UNet> {
    networks.unet.as_ref().ok_or_else(|| missing("a U-Net"))
}

/// What the U-Net and its temporal layers are asked about an example.
pub(crate) fn training_input(
    networks: &Networks,
    preconditioning: &Preconditioning,
    example: &Example,
) -> Result<(UNetInput, Option<TemporalContext>)> {
    let noisy = Parameterization::noisy_input(
        example.clean.clone(),
        example.noise.clone(),
        &example.levels,
    );
    network_input(networks, preconditioning, (example, noisy, &example.levels))
}

/// What the U-Net and its temporal layers are asked about `noisy`, latents with noise of `levels`
/// in the variance-preserving form. Of what the example would learn to make, given frames alone
/// are looked at.
pub(crate) fn network_input(
    networks: &Networks,
    preconditioning: &Preconditioning,
    (example, noisy, levels): (&Example, Tensor<5>, &[NoiseLevel]),
) -> Result<(UNetInput, Option<TemporalContext>)> {
    let [batch, frames, _, height, width] = example.clean.dims();
    let dtype = working_dtype(networks);
    let given = example.given.as_ref().map(|given| {
        let mask = given.mask.clone().reshape([batch, frames, 1, 1, 1]);
        observed_frames(&example.clean, mask, &given.augmentation)
    });
    let low = example.low.as_ref().map(|low| {
        let noisy = augmented(low.pixels.clone(), &low.augmentation);
        enlarged(noisy, [height, width])
    });
    let channels = networks
        .unet
        .as_ref()
        .map_or(0, |unet| unet.conv_in.weight.dims()[1]);
    let mut inputs = vec![noisy];
    let wide = channels > example.clean.dims()[2];
    if wide {
        inputs.extend(given.clone());
        inputs.extend(low.clone());
        inputs.extend(example.image.clone().map(|image| {
            let c = image.dims()[1];
            image
                .unsqueeze_dim::<5>(1)
                .expand([batch, frames, c, height, width])
        }));
    }
    let sample = fold_frames(Tensor::cat(inputs, 2)).cast(dtype);
    let context = tokens(networks, &example.context)?;
    let temporal_tokens = temporal_tokens(networks, &example.temporal_context, &context)?;
    let input = UNetInput {
        sample,
        timestep: column(
            levels
                .iter()
                .map(|&level| preconditioning.at(level).c_noise),
            &example.clean,
        ),
        context,
        vector: vector(example),
    };
    let time = networks.temporal.as_ref().map(|_| TemporalContext {
        frames,
        first_frame: example.first_frame,
        tokens: temporal_tokens,
        max_distance: example.max_distance,
        observed: low
            .or(given)
            .map(|observed| fold_frames(observed).cast(dtype)),
    });
    Ok((input, time))
}

/// Masked frames and their mask. The mask of a noisy frame is what is left of its signal, so that
/// the model knows the level of the noise: 1 is a clean frame, 0 none.
fn observed_frames(clean: &Tensor<5>, mask: Tensor<5>, augmentation: &Augmentation) -> Tensor<5> {
    let [batch, frames, _, height, width] = clean.dims();
    let frames_given = augmented(clean.clone(), augmentation) * mask.clone();
    let signal = column(augmentation.levels.iter().map(NoiseLevel::alpha), clean);
    let mask = mask * signal.reshape([batch, 1, 1, 1, 1]);
    let mask = mask.expand([batch, frames, 1, height, width]);
    Tensor::cat(vec![frames_given, mask], 2)
}

fn augmented(condition: Tensor<5>, augmentation: &Augmentation) -> Tensor<5> {
    Parameterization::noisy_input(condition, augmentation.noise.clone(), &augmentation.levels)
}

/// Frames at the size of the network's input, by repetition.
fn enlarged(frames: Tensor<5>, [height, width]: [usize; 2]) -> Tensor<5> {
    let [b, f, c, h, w] = frames.dims();
    if [h, w] == [height, width] {
        return frames;
    }
    let images = images_to_channels_last(frames.reshape([b * f, c, h, w]));
    unfold_frames(vldm_kernels::upsample_nearest(images, height, width), f)
}

fn vector(example: &Example) -> Vector {
    if let Some(scalars) = &example.scalars {
        return Vector::Scalars(scalars.clone());
    }
    match &example.low {
        None => Vector::None,
        Some(low) => {
            let labels: Vec<i64> = low
                .augmentation
                .levels
                .iter()
                .map(|level| level.timestep.unwrap_or(0.0).round() as i64)
                .collect();
            let count = labels.len();
            let data = TensorData::new(labels, [count]);
            Vector::Label(Tensor::<1, Int>::from_data(data, &example.clean.device()))
        }
    }
}

/// The tokens that cross-attention reads.
///
/// # Errors
/// [`Error::Config`] when the encoder is not there.
pub(crate) fn tokens(networks: &Networks, words: &Words) -> Result<Option<Tensor<3>>> {
    let conditions = networks.conditions.as_ref();
    Ok(Some(match words {
        Words::None => return Ok(None),
        Words::Tokens(tokens) => tokens.clone().cast(working_dtype(networks)),
        Words::Text(ids) => networks
            .text_encoder
            .as_ref()
            .ok_or_else(|| missing("a text encoder"))?
            .forward(ids.clone()),
        Words::Labels(labels) => conditions
            .and_then(|encoders| encoders.labels.as_ref())
            .ok_or_else(|| missing("a label encoder"))?
            .forward(labels.clone()),
        Words::Boxes(boxes) => {
            let mut boxes = boxes.clone();
            boxes.coordinates = boxes.coordinates.cast(working_dtype(networks));
            conditions
                .and_then(|encoders| encoders.boxes.as_ref())
                .ok_or_else(|| missing("a box encoder"))?
                .forward(boxes)
        }
        Words::All(all) => {
            let parts: Result<Vec<_>> = all.iter().map(|words| tokens(networks, words)).collect();
            Tensor::cat(parts?.into_iter().flatten().collect(), 1)
        }
    }))
}

fn temporal_tokens(
    networks: &Networks,
    words: &TemporalWords,
    spatial: &Option<Tensor<3>>,
) -> Result<Option<Tensor<3>>> {
    match words {
        TemporalWords::Spatial => Ok(spatial.clone()),
        TemporalWords::Tokens(tokens) => Ok(Some(tokens.clone().cast(working_dtype(networks)))),
        TemporalWords::FrameRate { regime, fps } => {
            let encoder = networks
                .conditions
                .as_ref()
                .and_then(|encoders| encoders.frame_rate.as_ref())
                .ok_or_else(|| missing("a frame-rate encoder"))?;
            Ok(Some(encoder.forward(regime.clone(), fps.clone())))
        }
    }
}

fn working_dtype(networks: &Networks) -> DType {
    let unet = networks.unet.as_ref().map(|unet| unet.conv_in.dtype());
    // Encoders alone: those that read for layers over time under a personal model.
    let text = networks.text_encoder.as_ref().map(ClipTextEncoder::dtype);
    unet.or(text).unwrap_or(DType::F32)
}

fn missing(part: &str) -> Error {
    Error::Config(format!(
        "this stage needs {part}, which the model does not have"
    ))
}

/// Numbers as a tensor on the device of `like`, `[count]`, in f32.
pub(crate) fn column<const D: usize>(
    values: impl Iterator<Item = f64>,
    like: &Tensor<D>,
) -> Tensor<1> {
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    Tensor::from_data(values.as_slice(), (&like.device(), DType::F32))
}

impl Prediction {
    /// The network's `output` for an example, `[batch·frames, height, width, channels]`, in any data
    /// type.
    pub(crate) fn new(
        output: Tensor<4>,
        preconditioning: &Preconditioning,
        example: &Example,
    ) -> Self {
        let target = preconditioning.parameterization.target(
            example.clean.clone(),
            example.noise.clone(),
            &example.levels,
        );
        Self {
            output: output.cast(DType::F32),
            target: fold_frames(target),
            weights: example.weights.clone(),
        }
    }

    /// The loss, and its derivative by the output.
    ///
    /// The sum is taken by the kernel whose order does not depend on anything but the sizes, so a
    /// loss is the same number every time.
    pub fn loss(&self) -> (f64, Tensor<4>) {
        let output = self.output.clone().without_autodiff();
        let [n, h, w, c] = output.dims();
        let error = output - self.target.clone().without_autodiff();
        let per_value = 1.0 / (h * w * c) as f64;
        let loss = self.weights.iter().enumerate().map(|(index, weight)| {
            if *weight == 0.0 {
                return 0.0;
            }
            let frame = error.clone().narrow(0, index, 1).reshape([h * w * c]);
            weight * per_value * sum_squares(frame)
        });
        let loss = loss.sum();
        let factors = self.weights.iter().map(|weight| 2.0 * weight * per_value);
        let factors = column(factors, &error).reshape([n, 1, 1, 1]);
        (loss, error * factors)
    }
}
