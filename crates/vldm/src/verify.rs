//! Does a loaded model compute what the reference computed?
//!
//! A reference file holds tensors named `CASE/COMPONENT/in/ARGUMENT` and
//! `CASE/COMPONENT/out/RESULT`, with diffusers' component names, argument names and layouts
//! (channels first). Every output is computed again and compared.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Int, Tensor, TensorData};

use crate::checkpoint::Weights;
use crate::error::{Error, Result};
use crate::layout::{
    fold_frames, images_to_channels_first, images_to_channels_last, unfold_frames,
};
use crate::model::{Model, VideoAutoencoder, VideoUNet};
use crate::nn::temporal::TemporalContext;
use crate::unet::{UNetInput, Vector, VectorConfig};

/// The comparison of one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// `CASE/COMPONENT/RESULT`
    pub name: String,
    /// The largest absolute error.
    pub max_absolute: f64,
    /// The largest error relative to the reference's standard deviation.
    pub max_relative: f64,
    /// The root of the mean squared error, relative to the reference's standard deviation.
    pub rms_relative: f64,
    /// Whether the largest relative error is within the tolerance.
    pub passed: bool,
}

/// Computes every case of `reference` and compares.
///
/// # Errors
/// When the file has no case, lacks an argument, or asks for a component that the model does not
/// have.
pub fn verify(model: &Model, reference: &Weights, tolerance: f64) -> Result<Vec<Check>> {
    let mut cases: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for name in reference.names() {
        if let Some((head, result)) = name.split_once("/out/")
            && let Some((case, component)) = head.rsplit_once('/')
        {
            let case = (case.to_owned(), component.to_owned());
            cases.entry(case).or_default().insert(result.to_owned());
        }
    }
    if cases.is_empty() {
        return Err(Error::Input(format!(
            "{}: no tensor is named `CASE/COMPONENT/out/RESULT`, so there is nothing to verify",
            reference.path().display()
        )));
    }
    let mut checks = Vec::new();
    for ((case, component), results) in cases {
        let arguments = Arguments {
            model,
            reference,
            head: format!("{case}/{component}"),
        };
        let found = arguments.compute(&component)?;
        for result in results {
            let name = format!("{case}/{component}/out/{result}");
            let Some(value) = found.get(&*result) else {
                let known: Vec<&str> = found.keys().copied().collect();
                return Err(Error::Input(format!(
                    "{}: {name}: the model computes no `{result}` here, only {}",
                    reference.path().display(),
                    known.join(", ")
                )));
            };
            let expected = arguments.values(&name)?;
            let name = format!("{case}/{component}/{result}");
            checks.push(compare(name, value, &expected, tolerance)?);
        }
    }
    Ok(checks)
}

/// The arguments of one case.
struct Arguments<'a> {
    model: &'a Model,
    reference: &'a Weights,
    head: String,
}

type Outputs = BTreeMap<&'static str, TensorData>;

impl Arguments<'_> {
    fn compute(&self, component: &str) -> Result<Outputs> {
        match component {
            "unet" => self.unet(self.part(&self.model.unet)?),
            "vae.encode" => self.encode(self.part(&self.model.autoencoder)?),
            "vae.decode" => self.decode(self.part(&self.model.autoencoder)?),
            "text_encoder" => {
                let ids = self.tensor_int::<2>("input_ids")?;
                let states = self.part(&self.model.text_encoder)?.forward(ids);
                Ok([("last_hidden_state", states.into_data())].into())
            }
            "image_encoder" => {
                let pixels = self.tensor::<4>("pixel_values")?;
                let embeds = self.part(&self.model.image_encoder)?.forward(pixels);
                Ok([("image_embeds", embeds.into_data())].into())
            }
            other => Err(Error::Input(format!(
                "{}: component `{other}` is not one of unet, vae.encode, vae.decode, text_encoder, \
                 image_encoder",
                self.reference.path().display()
            ))),
        }
    }

    fn part<'m, T>(&self, part: &'m Option<T>) -> Result<&'m T> {
        part.as_ref().ok_or_else(|| {
            Error::Input(format!(
                "case `{}`: the model {} has no such component",
                self.head,
                self.model.description.path.display()
            ))
        })
    }

    fn unet(&self, unet: &VideoUNet) -> Result<Outputs> {
        let rank = self.shape("sample")?.len();
        let video = match rank {
            5 => self.tensor::<5>("sample")?,
            _ => self.tensor::<4>("sample")?.unsqueeze_dim(1),
        };
        let [batch, frames, channels, ..] = video.dims();
        self.expect("sample", "channels", channels, unet.config.in_channels)?;
        let timestep = self.scalars::<1>("timestep")?;
        let timestep = match timestep.dims()[0] {
            1 => timestep.expand([batch]),
            _ => timestep,
        };
        let context = self.tensor::<3>("encoder_hidden_states")?;
        if let Some(width) = unet.config.context_width {
            self.expect(
                "encoder_hidden_states",
                "channels",
                context.dims()[2],
                width,
            )?;
        }
        let input = UNetInput {
            sample: fold_frames(video),
            timestep,
            vector: match unet.config.vector {
                VectorConfig::None => Vector::None,
                VectorConfig::Label { .. } => Vector::Label(self.tensor_int("class_labels")?),
                VectorConfig::Scalars { .. } => Vector::Scalars(self.scalars("added_time_ids")?),
            },
            context: Some(context.clone()),
        };
        unet.check_frames(frames)?;
        let output = match &unet.temporal {
            Some(layers) => {
                let time = TemporalContext {
                    frames,
                    first_frame: 0,
                    tokens: Some(context),
                    max_distance: None,
                    observed: None,
                };
                unet.unet.forward_video(input, layers, &time)
            }
            None => unet.unet.forward(input),
        };
        let sample = match rank {
            5 => unfold_frames(output, frames).into_data(),
            _ => images_to_channels_first(output).into_data(),
        };
        Ok([("sample", sample)].into())
    }

    fn encode(&self, part: &VideoAutoencoder) -> Result<Outputs> {
        let pixels = self.tensor::<4>("sample")?;
        let channels = part.config.image_channels;
        self.expect("sample", "channels", pixels.dims()[1], channels)?;
        let posterior = part.autoencoder.encode(pixels);
        let mut outputs = Outputs::new();
        if let Some(logvar) = posterior.logvar {
            outputs.insert("logvar", logvar.into_data());
        }
        outputs.insert("mean", posterior.mean.into_data());
        Ok(outputs)
    }

    fn decode(&self, part: &VideoAutoencoder) -> Result<Outputs> {
        let latents = self.tensor::<4>("latents")?;
        let channels = part.config.latent_channels;
        self.expect("latents", "channels", latents.dims()[1], channels)?;
        let sample = match &part.temporal {
            Some(layers) => {
                let frames = self.integers("num_frames")?[0].max(1) as usize;
                // Only folds: channels last and back, as the frames' layout asks for.
                let clips = unfold_frames(images_to_channels_last(latents), frames);
                let pixels = part.autoencoder.decode_video(clips, layers);
                let [b, f, c, h, w] = pixels.dims();
                pixels.reshape([b * f, c, h, w])
            }
            None => part.autoencoder.decode(latents),
        };
        Ok([("sample", sample.into_data())].into())
    }

    /// An argument of another model is refused before it reaches a layer.
    fn expect(&self, argument: &str, what: &str, got: usize, expected: usize) -> Result<()> {
        if got == expected {
            return Ok(());
        }
        Err(Error::Input(format!(
            "`{}` has {got} {what}, this model expects {expected}: the reference is another model's",
            self.name(argument)
        )))
    }

    fn name(&self, argument: &str) -> String {
        format!("{}/in/{argument}", self.head)
    }

    fn shape(&self, argument: &str) -> Result<Vec<usize>> {
        let name = self.name(argument);
        let shape = self.reference.shape(&name).map(<[usize]>::to_vec);
        shape.ok_or_else(|| {
            let path = self.reference.path().display();
            Error::Input(format!("{path}: the argument `{name}` is missing"))
        })
    }

    fn checked<const D: usize>(&self, argument: &str) -> Result<[usize; D]> {
        let shape = self.shape(argument)?;
        <[usize; D]>::try_from(shape.as_slice()).map_err(|_| {
            let name = self.name(argument);
            Error::Input(format!(
                "`{name}` has the shape {shape:?}, expected {D} dimensions"
            ))
        })
    }

    /// What flows through the network: in the model's type.
    fn tensor<const D: usize>(&self, argument: &str) -> Result<Tensor<D>> {
        Ok(self.scalars(argument)?.cast(self.model.dtype))
    }

    /// Numbers that stay in f32 until they are embedded: half precision cannot tell 999 from 1000.
    fn scalars<const D: usize>(&self, argument: &str) -> Result<Tensor<D>> {
        let shape = self.checked::<D>(argument)?;
        let values = self.values(&self.name(argument))?;
        let data = TensorData::new(values, shape);
        let options = (&self.model.device, burn::tensor::DType::F32);
        Ok(Tensor::<D>::from_data(data, options))
    }

    fn tensor_int<const D: usize>(&self, argument: &str) -> Result<Tensor<D, Int>> {
        let shape = self.checked::<D>(argument)?;
        let data = TensorData::new(self.integers(argument)?, shape);
        Ok(Tensor::from_data(data, &self.model.device))
    }

    fn integers(&self, argument: &str) -> Result<Vec<i64>> {
        self.shape(argument)?;
        let values = self.reference.data(&self.name(argument))?.convert::<i64>();
        let values: Vec<i64> = values.try_to_vec().map_err(|error| {
            Error::Input(format!(
                "`{}` does not hold integers: {error:?}",
                self.name(argument)
            ))
        })?;
        match values.is_empty() {
            true => Err(Error::Input(format!("`{}` is empty", self.name(argument)))),
            false => Ok(values),
        }
    }

    fn values(&self, name: &str) -> Result<Vec<f32>> {
        let values = self.reference.data(name)?.convert::<f32>();
        values
            .try_to_vec()
            .map_err(|error| Error::Input(format!("`{name}` does not hold numbers: {error:?}")))
    }
}

fn compare(name: String, got: &TensorData, expected: &[f32], tolerance: f64) -> Result<Check> {
    let got = got.clone().convert::<f32>();
    let got: &[f32] = got
        .as_slice()
        .map_err(|error| Error::Backend(format!("{name}: cannot be read back: {error:?}")))?;
    if got.len() != expected.len() {
        return Err(Error::Input(format!(
            "{name}: the model computes {} values, the reference holds {}",
            got.len(),
            expected.len()
        )));
    }
    let count = expected.len().max(1) as f64;
    let mean = expected.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = expected
        .iter()
        .map(|&v| (f64::from(v) - mean).powi(2))
        .sum::<f64>()
        / count;
    let error = |(&got, &expected): (&f32, &f32)| (f64::from(got) - f64::from(expected)).abs();
    // `f64::max` passes over NaN: a value that is none must fail.
    let worse = |worst: f64, error: f64| {
        if error.is_nan() {
            f64::INFINITY
        } else {
            worst.max(error)
        }
    };
    let max_absolute = got.iter().zip(expected).map(error).fold(0.0, worse);
    let deviation = variance.sqrt();
    let relative = |error: f64| match deviation > 0.0 {
        true => error / deviation,
        false => error,
    };
    let max_relative = relative(max_absolute);
    let squares: f64 = got
        .iter()
        .zip(expected)
        .map(|pair| error(pair).powi(2))
        .sum();
    Ok(Check {
        name,
        max_absolute,
        max_relative,
        rms_relative: relative((squares / count).sqrt()),
        passed: max_relative <= tolerance,
    })
}
