//! The stages with a discriminator: the autoencoder, and its decoder over time.
//!
//! The losses on pixels are differentiated by themselves first: their gradients weigh one against
//! the other at the last layer, and their sum then goes through the networks in one pass.
//!
//! # Source
//! Esser et al. 2021 (arXiv:2012.09841), eq. 4–7; Rombach et al. 2022 (arXiv:2112.10752), appendix
//! G; Blattmann et al. 2023, section 3.1.1.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{DType, Gradients, Tensor};
use serde::{Deserialize, Serialize};
use vldm_kernels::{Epilogue, sum_squares};

use super::discriminator::Discriminator;
use super::lpips::PerceptualLoss;
use super::networks::Networks;
use super::parameters::{accumulate, learn, plain, take_gradients};
use super::pass::Pass;
use crate::autoencoder::{Autoencoder, TemporalDecoderLayers};
use crate::error::{Error, Result};
use crate::layout::{fold_frames, images_to_channels_last, unfold_frames};
use crate::nn::temporal::TemporalContext;

/// Weights of the losses of an adversarial stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdversarialConfig {
    /// Weight of the mean absolute error.
    pub l1: f64,
    /// Weight of the mean squared error: small things that stand out, as cars far away, are lost to the
    /// absolute error, which is content with what is there most often.
    pub squared: f64,
    /// LPIPS, where its weights are at hand.
    pub perceptual: Option<PerceptualLoss>,
    /// Weight of the error over a pyramid of sizes, which stands in where `perceptual` is absent.
    pub pyramid: f64,
    /// Weight of the Kullback–Leibler divergence of the posterior, summed over a picture, against the
    /// absolute error summed over it (Rombach et al.: 1e-6). Where it is too large, the latents say
    /// little in many channels: colours go first.
    pub kl: f64,
    /// Weight of the codebook's loss.
    pub codebook: f64,
    /// Share of the commitment in the codebook's loss.
    pub commitment: f64,
    /// Weight of the discriminator's verdict.
    pub adversarial: f64,
    /// Whether that weight is multiplied by how much steeper the reconstruction is than the
    /// verdict, at the last layer.
    pub adaptive: bool,
    /// Steps before the discriminator takes part.
    pub adversarial_after: u64,
}

impl Default for AdversarialConfig {
    fn default() -> Self {
        Self {
            l1: 1.0,
            squared: 0.0,
            perceptual: None,
            pyramid: 1.0,
            kl: 1e-6,
            codebook: 1.0,
            commitment: 0.25,
            adversarial: 0.5,
            adaptive: true,
            adversarial_after: 0,
        }
    }
}

/// A batch of an adversarial stage.
#[derive(Debug, Clone)]
pub struct Clips {
    /// True clips in \[−1, 1\], `[batch, frames, channels, height, width]`.
    pub pixels: Tensor<5>,
    /// Unit-variance noise for the posterior, `[batch·frames, latent channels, height, width]` of
    /// the latents; `None` takes the posterior's mode.
    pub posterior_noise: Option<Tensor<4>>,
}

impl Clips {
    /// The same with the posterior's mode for latents: nothing is left to chance.
    #[must_use]
    pub fn at_mode(self) -> Self {
        Self {
            posterior_noise: None,
            ..self
        }
    }
}

/// Which of the two it is: how the latents are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdversarialStage {
    /// The whole autoencoder, on pictures.
    Autoencoder,
    /// The decoder and its temporal layers, on clips; the encoder is frozen.
    Decoder,
}

/// What the networks made of a batch, before any loss.
struct Made {
    /// Before the last layer, `[batch·frames, height, width, channels]`.
    hidden: Tensor<4>,
    /// `[batch·frames, height, width, channels]`
    output: Tensor<4>,
    /// What regularises the latents, a scalar that can be differentiated.
    regularisation: Option<(&'static str, f64, Tensor<1>)>,
}

/// A pass of an adversarial stage: losses of both sides and all gradients.
///
/// `share` is the part of the optimiser's step that this batch is; `playing` says whether the
/// discriminator takes part yet.
///
/// # Errors
/// [`Error::Config`] when a network is missing.
pub fn adversarial_pass(
    networks: &Networks,
    clips: Clips,
    (stage, config): (AdversarialStage, &AdversarialConfig),
    (dtype, share, playing): (DType, f64, bool),
) -> Result<Pass> {
    let working = networks.working(dtype);
    let frames = clips.pixels.dims()[1];
    let made = make(&working, &clips, stage, config)?;
    let truth = fold_frames(clips.pixels.without_autodiff());
    let decoded = made.output.clone().without_autodiff();
    let mut pass = Pass::default();
    let reconstruction = by_pixels(decoded.clone(), |made| {
        reconstruction(made, truth.clone(), config, &mut pass.parts)
    });
    pass.loss = reconstruction.0;
    let mut derivative = reconstruction.1;
    if let Some(config) = &config.perceptual {
        let (distance, by_pixels) = config.loss(networks, [&decoded, &truth])?;
        derivative = derivative + by_pixels * config.weight;
        pass.loss += config.weight * distance;
        pass.parts.insert("lpips".into(), distance);
    }
    let judge = networks.discriminator.as_ref().filter(|_| playing);
    if let Some(judge) = judge {
        let frozen = plain(judge.clone(), DType::F32);
        let (verdict, verdict_derivative) = by_pixels(decoded.clone(), |made| {
            -judge_clips(&frozen, made, frames).mean()
        });
        let weight = config.adversarial
            * match config.adaptive {
                true => balance(
                    &working,
                    (&made.hidden, frames),
                    [&derivative, &verdict_derivative],
                ),
                false => 1.0,
            };
        derivative = derivative + verdict_derivative * weight;
        pass.loss += weight * verdict;
        pass.parts.insert("generator".into(), verdict);
        pass.parts.insert("adversarial_weight".into(), weight);
    }
    let mut total = (made.output * (derivative * share).autodiff()).sum();
    if let Some((name, weight, value)) = made.regularisation {
        let plain: f32 = value.clone().into_scalar();
        pass.parts.insert(name.into(), f64::from(plain));
        pass.loss += weight * f64::from(plain);
        total = total + value * (weight * share);
    }
    let mut gradients = total.backward();
    pass.gradients = take_gradients(networks, &mut gradients);
    pass.gradients
        .retain(|name, _| !name.starts_with("discriminator."));
    if let Some(judge) = judge {
        let (loss, mut gradients) = judge_loss(judge, truth, decoded, (frames, share));
        pass.parts.insert("discriminator".into(), loss);
        accumulate(
            &mut pass.gradients,
            take_gradients(networks, &mut gradients),
        );
    }
    Ok(pass)
}

fn make(
    networks: &Networks,
    clips: &Clips,
    stage: AdversarialStage,
    config: &AdversarialConfig,
) -> Result<Made> {
    let autoencoder = networks
        .autoencoder
        .as_ref()
        .ok_or_else(|| Error::Config("this stage needs an autoencoder".into()))?;
    let frames = clips.pixels.dims()[1];
    let [b, f, c, h, w] = clips.pixels.dims();
    let dtype = autoencoder.decoder.conv_in.dtype();
    let pixels = clips.pixels.clone().reshape([b * f, c, h, w]).cast(dtype);
    let pixels = match stage {
        AdversarialStage::Autoencoder => pixels.autodiff(),
        AdversarialStage::Decoder => pixels.without_autodiff(),
    };
    let posterior = autoencoder.encode(pixels);
    let mut regularisation = posterior
        .logvar
        .clone()
        .filter(|_| stage == AdversarialStage::Autoencoder)
        .map(|logvar| {
            // The absolute error is a mean over the values of a picture.
            let weight = config.kl / (c * h * w) as f64;
            ("kl", weight, divergence(posterior.mean.clone(), logvar))
        });
    let latents = match &clips.posterior_noise {
        Some(noise) if posterior.logvar.is_some() => {
            let noise = noise.clone().cast(dtype);
            match stage {
                AdversarialStage::Autoencoder => posterior.sample(noise.autodiff()),
                AdversarialStage::Decoder => posterior.sample(noise.without_autodiff()),
            }
        }
        _ => posterior.mode(),
    };
    let mut latents = images_to_channels_last(latents.autodiff());
    if let Some(codebook) = &autoencoder.quantize {
        let (quantised, loss) = codebook.quantise(latents, config.commitment);
        latents = quantised;
        if stage == AdversarialStage::Autoencoder {
            regularisation = Some(("codebook", config.codebook, loss.cast(DType::F32)));
        }
    }
    let (hidden, output) = decode(
        autoencoder,
        networks.temporal_decoder.as_ref(),
        latents,
        frames,
    );
    Ok(Made {
        hidden,
        output: output.cast(DType::F32),
        regularisation,
    })
}

/// What the autoencoder makes of clips; networks for looking only.
///
/// # Shapes
/// - returns: shape of the clips
pub(crate) fn made_clips(
    networks: &Networks,
    clips: &Clips,
    stage: AdversarialStage,
) -> Result<Tensor<5>> {
    let frames = clips.pixels.dims()[1];
    let made = make(networks, clips, stage, &AdversarialConfig::default())?;
    Ok(unfold_frames(made.output.without_autodiff(), frames))
}

/// Before and after the decoder's last layer.
fn decode(
    autoencoder: &Autoencoder,
    temporal: Option<&TemporalDecoderLayers>,
    latents: Tensor<4>,
    frames: usize,
) -> (Tensor<4>, Tensor<4>) {
    let latents = match &autoencoder.post_quant_conv {
        Some(conv) => conv.forward(latents),
        None => latents,
    };
    let time = TemporalContext {
        frames,
        first_frame: 0,
        tokens: None,
        max_distance: None,
        observed: None,
    };
    let temporal = temporal.map(|layers| (layers, &time));
    let hidden = autoencoder.decoder.before_last(latents, temporal);
    (hidden.clone(), autoencoder.decoder.last(hidden, temporal))
}

/// KL(N(μ, σ²) ‖ N(0, 1)), summed over a picture and averaged over pictures.
fn divergence(mean: Tensor<4>, logvar: Tensor<4>) -> Tensor<1> {
    let pictures = mean.dims()[0] as f64;
    let [mean, logvar] = [mean, logvar].map(|values| values.cast(DType::F32));
    let terms = mean.powi_scalar(2) + logvar.clone().exp() - logvar - 1.0;
    terms.sum() * (0.5 / pictures)
}

/// A loss on pixels and its derivative by them.
pub(super) fn by_pixels(
    made: Tensor<4>,
    loss: impl FnOnce(Tensor<4>) -> Tensor<1>,
) -> (f64, Tensor<4>) {
    let leaf = made.autodiff().require_grad();
    let loss = loss(leaf.clone());
    let value: f32 = loss.clone().into_scalar();
    let mut gradients = loss.backward();
    let derivative = leaf
        .grad_remove(&mut gradients)
        .unwrap_or_else(|| leaf.without_autodiff().zeros_like());
    (f64::from(value), derivative)
}

fn reconstruction(
    made: Tensor<4>,
    truth: Tensor<4>,
    config: &AdversarialConfig,
    parts: &mut BTreeMap<String, f64>,
) -> Tensor<1> {
    let error = made - truth.autodiff();
    let mut part = |name: &str, value: &Tensor<1>| {
        parts.insert(name.into(), f64::from(value.clone().into_scalar::<f32>()));
    };
    let absolute = error.clone().abs().mean();
    part("l1", &absolute);
    let mut total = absolute * config.l1;
    if config.squared > 0.0 {
        let squared = error.clone().powi_scalar(2).mean();
        part("squared", &squared);
        total = total + squared * config.squared;
    }
    if config.pyramid > 0.0 && config.perceptual.is_none() {
        let pyramid = pyramid_error(error);
        part("pyramid", &pyramid);
        total = total + pyramid * config.pyramid;
    }
    total
}

/// The absolute error of the differences between neighbours at three sizes, and of what is left at the
/// fourth: edges count, and the colours of places, not only single values.
///
/// # Shapes
/// - `error`: `[n, height, width, channels]`
///
/// # Source
/// After the Laplacian pyramid loss of Bojanowski et al. 2018 (arXiv:1707.05776), with finite
/// differences in place of its bands.
fn pyramid_error(mut error: Tensor<4>) -> Tensor<1> {
    let mut edges: Option<Tensor<1>> = None;
    for _ in 0..3 {
        let [_, h, w, _] = error.dims();
        if h < 4 || w < 4 {
            break;
        }
        let down = error.clone().narrow(1, 1, h - 1) - error.clone().narrow(1, 0, h - 1);
        let across = error.clone().narrow(2, 1, w - 1) - error.clone().narrow(2, 0, w - 1);
        let here = down.abs().mean() + across.abs().mean();
        edges = Some(match edges {
            None => here,
            Some(finer) => finer + here,
        });
        error = halved(error);
    }
    let left = error.abs().mean();
    edges.map_or(left.clone(), |edges| edges + left)
}

/// Means of 2×2 neighbours.
fn halved(x: Tensor<4>) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    let (h, w) = (h / 2, w / 2);
    x.narrow(1, 0, 2 * h)
        .narrow(2, 0, 2 * w)
        .reshape([n * h, 2, w, 2 * c])
        .mean_dim(1)
        .reshape([n * h * w, 2, c])
        .mean_dim(1)
        .reshape([n, h, w, c])
}

fn judge_clips(judge: &Discriminator, images: Tensor<4>, frames: usize) -> Tensor<5> {
    let [n, h, w, c] = images.dims();
    judge.forward(images.reshape([n / frames, frames, h, w, c]))
}

/// The hinge loss of the discriminator on true and made clips.
fn judge_loss(
    judge: &Discriminator,
    truth: Tensor<4>,
    made: Tensor<4>,
    (frames, share): (usize, f64),
) -> (f64, Gradients) {
    let truth = judge_clips(judge, truth.autodiff(), frames);
    let made = judge_clips(judge, made.autodiff(), frames);
    let loss = (relu(-truth + 1.0).mean() + relu(made + 1.0).mean()) * 0.5;
    let value: f32 = loss.clone().into_scalar();
    (f64::from(value), (loss * share).backward())
}

/// How much steeper the reconstruction's loss is than the verdict, by the weight of the last layer.
fn balance(
    networks: &Networks,
    (hidden, frames): (&Tensor<4>, usize),
    [reconstruction, verdict]: [&Tensor<4>; 2],
) -> f64 {
    let norm = |derivative: &Tensor<4>| {
        let hidden = hidden
            .clone()
            .without_autodiff()
            .cast(DType::F32)
            .autodiff();
        let derivative = derivative.clone().autodiff();
        match (&networks.temporal_decoder, &networks.autoencoder) {
            (Some(layers), _) => {
                let layer = learn(layers.time_conv_out.clone(), &|_| true, DType::F32);
                let output = layer.forward(hidden, frames, Epilogue::default());
                weight_norm(&layer, output * derivative)
            }
            (None, Some(autoencoder)) => {
                let layer = learn(autoencoder.decoder.conv_out.clone(), &|_| true, DType::F32);
                weight_norm(&layer, layer.forward(hidden) * derivative)
            }
            (None, None) => 0.0,
        }
    };
    (norm(reconstruction) / (norm(verdict) + 1e-4)).clamp(0.0, 1e4)
}

fn weight_norm<M: Module>(layer: &M, loss: Tensor<4>) -> f64 {
    let gradients = take_gradients(layer, &mut loss.sum().backward()).remove("weight");
    gradients.map_or(0.0, sum_squares).sqrt()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// Pictures of 8×8 with two channels, from a place and a channel to a value.
    fn pictures(value: impl Fn(usize, usize, usize) -> f32) -> Tensor<4> {
        let at = |index: usize| value(index / 16, index / 2 % 8, index % 2);
        let values: Vec<f32> = (0..128).map(at).collect();
        Tensor::from_data(TensorData::new(values, [1, 8, 8, 2]), &Device::flex())
    }

    fn of(error: Tensor<4>) -> f64 {
        f64::from(pyramid_error(error).into_scalar::<f32>())
    }

    #[test]
    fn the_pyramid_by_hand() {
        // Without edges only the coarsest level has anything.
        assert!((of(pictures(|_, _, channel| [0.5, -0.25][channel])) - 0.375).abs() < 1e-6);
        // Stripes of single lines have edges of 2 everywhere down, none across, and no mean.
        let stripes = pictures(|row, _, _| 1.0 - 2.0 * (row % 2) as f32);
        assert!((of(stripes) - 2.0).abs() < 1e-6);
        // A ramp across: edges of 1, and of 2 where two pixels are one; halved twice it is 1.5 and 5.5.
        let ramp = pictures(|_, column, _| column as f32);
        assert!((of(ramp) - (1.0 + 2.0 + 3.5)).abs() < 1e-5);
    }

    #[test]
    fn the_reconstruction_is_its_weighted_parts() {
        let config = AdversarialConfig {
            l1: 2.0,
            squared: 3.0,
            pyramid: 0.5,
            ..AdversarialConfig::default()
        };
        let made = pictures(|_, _, channel| [0.5, -0.25][channel]).autodiff();
        let truth = pictures(|_, _, _| 0.0);
        let mut parts = BTreeMap::new();
        let total: f32 = reconstruction(made, truth, &config, &mut parts).into_scalar();
        let expected = [("l1", 0.375), ("pyramid", 0.375), ("squared", 0.15625)];
        for (name, value) in expected {
            assert!(
                (parts[name] - value).abs() < 1e-6,
                "{name}: {}",
                parts[name]
            );
        }
        assert!((f64::from(total) - (0.75 + 0.1875 + 0.46875)).abs() < 1e-5);
    }
}
