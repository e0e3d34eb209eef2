//! A new autoencoder's latents made such that no channel says what another says.
//!
//! Nothing in the losses keeps channels apart: most of them repeat the light of a place, and its colour is
//! a small difference between them, which noise of one deviation for all drowns. Whitening is linear, so
//! it goes into the 1×1 convolutions on both sides of the latents, and the pictures stay the same.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use ndarray::{Array1, Array2, Axis};

use crate::autoencoder::Autoencoder;
use crate::error::{Error, Result};
use crate::metrics::FeatureMoments;
use crate::nn::Conv2d;

/// Log-variance of a posterior that is a point.
const POINT: f64 = -30.0;

/// Mean and covariance over the channels of latents, `[n, height, width, channels]` each.
///
/// # Errors
/// As [`FeatureMoments::of`].
pub(super) fn moments(latents: &[Tensor<4>]) -> Result<FeatureMoments> {
    let channels = latents.first().map_or(1, |one| one.dims()[3]);
    let values: Vec<f64> = latents
        .iter()
        .flat_map(|one| one.clone().into_data().iter::<f64>().collect::<Vec<_>>())
        .collect();
    FeatureMoments::of(&values.chunks(channels).collect::<Vec<_>>())
}

/// The same autoencoder with other latents: their mean is zero, their covariance over the channels the
/// identity, and their posterior a point.
///
/// # Errors
/// [`Error::Config`] when there are no 1×1 convolutions around the latents, or a channel follows from the
/// others.
pub(super) fn whitened(
    mut autoencoder: Autoencoder,
    moments: &FeatureMoments,
) -> Result<Autoencoder> {
    let (None, Some(before), Some(after)) = (
        &autoencoder.quantize,
        &autoencoder.quant_conv,
        &autoencoder.post_quant_conv,
    ) else {
        return Err(Error::Config(
            "whiten = true needs an autoencoder without codes, with quant_conv and post_quant_conv"
                .into(),
        ));
    };
    let (rows, offset) = moments.whitening(0.0)?;
    // The length of a row is 1 over the deviation along it.
    if rows.rows().into_iter().any(|row| row.dot(&row) >= 1e12) {
        return Err(Error::Config(
            "whiten = true: a channel of the latents follows from the others".into(),
        ));
    }
    let before = into_white(before, &rows, &offset);
    let after = from_white(after, &moments.coloring(&rows), moments.mean());
    autoencoder.quant_conv = Some(before);
    autoencoder.post_quant_conv = Some(after);
    Ok(autoencoder)
}

/// `conv` with `white`·means + `offset` for means; its log-variances say [`POINT`] everywhere.
fn into_white(conv: &Conv2d, white: &Array2<f64>, offset: &Array1<f64>) -> Conv2d {
    let (mut rows, mut bias) = read(conv);
    {
        let (mut means, mut others) = rows.view_mut().split_at(Axis(0), offset.len());
        means.assign(&white.dot(&means));
        others.fill(0.0);
        let (mut means, mut others) = bias.view_mut().split_at(Axis(0), offset.len());
        means.assign(&(white.dot(&means) + offset));
        others.fill(POINT);
    }
    written(conv, &rows, &bias)
}

/// `conv` of `colors`·z + `mean`.
fn from_white(conv: &Conv2d, colors: &Array2<f64>, mean: &Array1<f64>) -> Conv2d {
    let (rows, bias) = read(conv);
    written(conv, &rows.dot(colors), &(bias + rows.dot(mean)))
}

/// A 1×1 convolution's matrix by rows, and its bias.
fn read(conv: &Conv2d) -> (Array2<f64>, Array1<f64>) {
    let [outputs, inputs, ..] = conv.weight.dims();
    let values: Vec<f64> = conv.weight.val().into_data().iter::<f64>().collect();
    let bias = match &conv.bias {
        Some(bias) => bias.val().into_data().iter::<f64>().collect(),
        None => Array1::zeros(outputs),
    };
    let rows = Array2::from_shape_fn((outputs, inputs), |(row, column)| {
        values[row * inputs + column]
    });
    (rows, bias)
}

fn written(like: &Conv2d, rows: &Array2<f64>, bias: &Array1<f64>) -> Conv2d {
    let weight = like.weight.val();
    let onto = (&weight.device(), weight.dtype());
    let values: Vec<f32> = rows.iter().map(|&value| value as f32).collect();
    let bias: Vec<f32> = bias.iter().map(|&value| value as f32).collect();
    let outputs = bias.len();
    Conv2d {
        weight: Param::from_tensor(Tensor::from_data(
            TensorData::new(values, weight.dims()),
            onto,
        )),
        bias: Some(Param::from_tensor(Tensor::from_data(
            TensorData::new(bias, [outputs]),
            onto,
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::images_to_channels_last;
    use crate::nn::Init;
    use crate::preset::Preset;
    use burn::tensor::{Device, Distribution};

    #[test]
    fn pictures_stay_and_latents_become_white() {
        let device = Device::flex();
        let preset = Preset::load("tiny-sd15").expect("a preset");
        let config = preset.autoencoder.expect("an autoencoder");
        let plain = Autoencoder::new(&config, &Init::new(&device, 3));
        let pictures =
            Tensor::<4>::random([6, 3, 32, 48], Distribution::Uniform(-1.0, 1.0), &device);
        let latents = plain.encode(pictures.clone()).mode();
        let of = |latents: Tensor<4>| moments(&[images_to_channels_last(latents)]).expect("many");
        let white = whitened(plain.clone(), &of(latents.clone())).expect("regular");
        let posterior = white.encode(pictures);
        let found = of(posterior.mean.clone());
        for ((i, j), value) in found.covariance().indexed_iter() {
            assert!(found.mean()[i].abs() < 1e-3, "{found:?}");
            let expected = f64::from(u8::from(i == j));
            assert!((value - expected).abs() < 1e-2, "{found:?}");
        }
        let error = plain.decode(latents) - white.decode(posterior.mode());
        let error: f32 = error.abs().max().into_scalar();
        assert!(error < 1e-3, "{error}");
    }

    #[test]
    fn a_channel_that_repeats_another_is_an_error() {
        let device = Device::flex();
        let preset = Preset::load("tiny-sd15").expect("a preset");
        let config = preset.autoencoder.expect("an autoencoder");
        let plain = Autoencoder::new(&config, &Init::new(&device, 3));
        let one = Tensor::<4>::random([1, 8, 8, 1], Distribution::Default, &device);
        let same = moments(&[one.repeat_dim(3, config.latent_channels)]).expect("many");
        let error = whitened(plain, &same).expect_err("one channel four times");
        assert!(
            error.to_string().contains("follows from the others"),
            "{error}"
        );
    }
}
