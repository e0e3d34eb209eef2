//! A new autoencoder's latents made such that no channel says what another says.
//!
//! Nothing in the losses keeps channels apart: most of them repeat the light of a place, and its colour is
//! a small difference between them, which noise of one deviation for all drowns. Whitening is linear, so
//! it goes into the 1×1 convolutions on both sides of the latents, and the pictures stay the same.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};

use crate::autoencoder::Autoencoder;
use crate::error::{Error, Result};
use crate::nn::Conv2d;

/// Log-variance of a posterior that is a point.
const POINT: f64 = -30.0;

/// Square matrices by rows.
type Matrix = Vec<Vec<f64>>;

/// Mean and covariance of latents over their channels.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    pub(super) mean: Vec<f64>,
    pub(super) covariance: Matrix,
}

impl Moments {
    /// Of all latents, `[n, height, width, channels]` each.
    pub(super) fn of(latents: &[Tensor<4>]) -> Self {
        let channels = latents.first().map_or(0, |one| one.dims()[3]);
        let (mut count, mut sum) = (0.0, vec![0.0; channels]);
        let mut products = vec![vec![0.0; channels]; channels];
        for one in latents {
            let values: Vec<f64> = one.clone().into_data().iter::<f64>().collect();
            for row in values.chunks(channels.max(1)) {
                count += 1.0;
                for (i, a) in row.iter().enumerate() {
                    sum[i] += a;
                    for (j, b) in row.iter().enumerate() {
                        products[i][j] += a * b;
                    }
                }
            }
        }
        let mean: Vec<f64> = sum.iter().map(|total| total / count).collect();
        let covariance = (0..channels)
            .map(|i| {
                let of = |j: usize| products[i][j] / count - mean[i] * mean[j];
                (0..channels).map(of).collect()
            })
            .collect();
        Self { mean, covariance }
    }
}

/// The same autoencoder with other latents: their mean is zero, their covariance over the channels the
/// identity, and their posterior a point.
///
/// # Errors
/// [`Error::Config`] when there are no 1×1 convolutions around the latents, or a channel follows from the
/// others.
pub(super) fn whitened(mut autoencoder: Autoencoder, moments: &Moments) -> Result<Autoencoder> {
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
    let lower = cholesky(&moments.covariance).ok_or_else(|| {
        Error::Config("whiten = true: a channel of the latents follows from the others".into())
    })?;
    let before = into_white(before, &lower, &moments.mean);
    let after = from_white(after, &lower, &moments.mean);
    autoencoder.quant_conv = Some(before);
    autoencoder.post_quant_conv = Some(after);
    Ok(autoencoder)
}

/// L with L·Lᵀ = `matrix`; `None` where there is none.
fn cholesky(matrix: &Matrix) -> Option<Matrix> {
    let n = matrix.len();
    let mut lower = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
            let rest = matrix[i][j] - known;
            lower[i][j] = match i == j {
                true if rest <= 1e-12 => return None,
                true => rest.sqrt(),
                false => rest / lower[j][j],
            };
        }
    }
    Some(lower)
}

/// Rows of `conv` for L⁻¹(means − `mean`), by forward substitution; those of the log-variances say
/// [`POINT`] everywhere.
fn into_white(conv: &Conv2d, lower: &Matrix, mean: &[f64]) -> Conv2d {
    let channels = mean.len();
    let (mut rows, mut bias) = read(conv);
    for i in 0..channels {
        bias[i] -= mean[i];
        for j in 0..i {
            let (done, rest) = rows.split_at_mut(i);
            for (value, other) in rest[0].iter_mut().zip(&done[j]) {
                *value -= lower[i][j] * other;
            }
            bias[i] -= lower[i][j] * bias[j];
        }
        rows[i].iter_mut().for_each(|value| *value /= lower[i][i]);
        bias[i] /= lower[i][i];
    }
    for i in channels..rows.len() {
        rows[i].fill(0.0);
        bias[i] = POINT;
    }
    written(conv, &rows, &bias)
}

/// `conv` of L·z + `mean`.
fn from_white(conv: &Conv2d, lower: &Matrix, mean: &[f64]) -> Conv2d {
    let (rows, mut bias) = read(conv);
    let mut white = rows.clone();
    for (row, (white, bias)) in rows.iter().zip(white.iter_mut().zip(&mut bias)) {
        *bias += row.iter().zip(mean).map(|(a, b)| a * b).sum::<f64>();
        for (j, value) in white.iter_mut().enumerate() {
            *value = (j..row.len()).map(|k| row[k] * lower[k][j]).sum();
        }
    }
    written(conv, &white, &bias)
}

/// A 1×1 convolution's matrix by rows, and its bias.
fn read(conv: &Conv2d) -> (Matrix, Vec<f64>) {
    let [outputs, inputs, ..] = conv.weight.dims();
    let values: Vec<f64> = conv.weight.val().into_data().iter::<f64>().collect();
    let bias = match &conv.bias {
        Some(bias) => bias.val().into_data().iter::<f64>().collect(),
        None => vec![0.0; outputs],
    };
    (values.chunks(inputs).map(<[f64]>::to_vec).collect(), bias)
}

fn written(like: &Conv2d, rows: &Matrix, bias: &[f64]) -> Conv2d {
    let weight = like.weight.val();
    let onto = (&weight.device(), weight.dtype());
    let values: Vec<f32> = rows.iter().flatten().map(|&value| value as f32).collect();
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
        let white = whitened(
            plain.clone(),
            &Moments::of(&[images_to_channels_last(latents.clone())]),
        )
        .expect("regular");
        let posterior = white.encode(pictures);
        let found = Moments::of(&[images_to_channels_last(posterior.mean.clone())]);
        for (i, row) in found.covariance.iter().enumerate() {
            assert!(found.mean[i].abs() < 1e-3, "{found:?}");
            for (j, value) in row.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                assert!((value - expected).abs() < 1e-2, "{found:?}");
            }
        }
        let error = plain.decode(latents) - white.decode(posterior.mode());
        let error: f32 = error.abs().max().into_scalar();
        assert!(error < 1e-3, "{error}");
    }

    #[test]
    fn a_channel_that_repeats_another_is_an_error() {
        assert!(cholesky(&vec![vec![1.0, 1.0], vec![1.0, 1.0]]).is_none());
    }
}
