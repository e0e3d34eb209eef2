//! What is diffused: latents of clips, encoded here or read from a cache.

use burn::tensor::{DType, Tensor};
use vldm_media::Frame;

use super::denoising::tokens;
use super::networks::Networks;
use super::prepare::{Drawn, Preparation, check_multiple};
use crate::autoencoder::{Autoencoder, Posterior};
use crate::data::Encoded;
use crate::error::{Error, Result};
use crate::pipeline::frame_to_pixels;

/// Frames that go through the encoder at once.
pub(super) const ENCODED_AT_ONCE: usize = 8;

/// Whether the samples come from a cache: latents, without pictures.
pub(super) fn is_encoded(drawn: &[Drawn]) -> bool {
    drawn.iter().any(|(sample, _)| sample.encoded.is_some())
}

/// What reads pictures cannot read a cache; recipes that would are refused before.
pub(super) fn no_pixels() -> Error {
    Error::Config(
        "this stage reads pictures, which a cache does not hold: leave out `cache`".into(),
    )
}

impl Preparation {
    /// What is diffused: scaled latents, or the pixels themselves where there is no autoencoder.
    ///
    /// `pixels` may be missing where the samples are encoded already.
    pub(super) fn latents(
        &self,
        networks: &Networks,
        pixels: Option<Tensor<5>>,
        drawn: &[Drawn],
    ) -> Result<Tensor<5>> {
        let (Some(autoencoder), Some(config)) = (&networks.autoencoder, &self.preset.autoencoder)
        else {
            return pixels.ok_or_else(no_pixels);
        };
        if let Some(only) = &self.only_clip {
            return Ok(only.latents.clone().repeat_dim(0, drawn.len()));
        }
        let posterior = match pixels {
            Some(pixels) => {
                let [b, f, c, h, w] = pixels.dims();
                self.posterior(autoencoder, pixels.reshape([b * f, c, h, w]))?
            }
            None => self.cached_posterior(autoencoder, drawn)?,
        };
        let [n, channels, h, w] = posterior.mean.dims();
        let frames = n / drawn.len().max(1);
        let noise = drawn
            .iter()
            .flat_map(|(_, draws)| draws.posterior(frames, [channels, h, w]))
            .collect();
        let noise = self.tensor(noise, [n, channels, h, w]);
        let dtype = posterior.mean.dtype();
        Ok(posterior
            .sample(noise.cast(dtype))
            .cast(DType::F32)
            .mul_scalar(config.scale_factor)
            .reshape([drawn.len(), frames, channels, h, w]))
    }

    /// Latents as the encoder gives them.
    pub(crate) fn unscaled_latents(
        &self,
        networks: &Networks,
        drawn: &[Drawn],
    ) -> Result<Tensor<5>> {
        let scale = self
            .preset
            .autoencoder
            .as_ref()
            .map_or(1.0, |config| config.scale_factor);
        Ok(self
            .latents(networks, Some(self.pixels(drawn)?), drawn)?
            .div_scalar(scale))
    }

    /// What the encoder says of pictures, in its data type.
    ///
    /// # Shapes
    /// - `images`: `[n, channels, height, width]`
    fn posterior(&self, autoencoder: &Autoencoder, images: Tensor<4>) -> Result<Posterior> {
        let [_, _, h, w] = images.dims();
        let factor = self
            .preset
            .autoencoder
            .as_ref()
            .map_or(1, |config| config.factor());
        check_multiple([h, w], factor)?;
        let dtype = encoder_dtype(autoencoder);
        let (mut means, mut logvars) = (Vec::new(), Vec::new());
        for images in images.split(ENCODED_AT_ONCE, 0) {
            let part = autoencoder.encode(images.cast(dtype));
            means.push(part.mean);
            logvars.extend(part.logvar);
        }
        Ok(Posterior {
            mean: Tensor::cat(means, 0),
            logvar: (!logvars.is_empty()).then(|| Tensor::cat(logvars, 0)),
        })
    }

    /// What the encoder said of these samples when they were cached.
    fn cached_posterior(&self, autoencoder: &Autoencoder, drawn: &[Drawn]) -> Result<Posterior> {
        let dtype = encoder_dtype(autoencoder);
        let tensor = |values: &[f32], shape| self.tensor::<4>(values.to_vec(), shape).cast(dtype);
        let (mut means, mut logvars) = (Vec::new(), Vec::new());
        for (sample, _) in drawn {
            let encoded = sample.encoded.as_ref().ok_or_else(no_pixels)?;
            means.push(tensor(&encoded.mean, encoded.shape));
            let logvar = encoded.logvar.as_ref();
            logvars.extend(logvar.map(|values| tensor(values, encoded.shape)));
        }
        Ok(Posterior {
            mean: Tensor::cat(means, 0),
            logvar: (!logvars.is_empty()).then(|| Tensor::cat(logvars, 0)),
        })
    }

    /// What the encoder says of frames, as a cache keeps it.
    pub(super) fn encode(&self, networks: &Networks, frames: &[Frame]) -> Result<Encoded> {
        let autoencoder = networks
            .autoencoder
            .as_ref()
            .ok_or_else(|| Error::Config("the model has no autoencoder".into()))?;
        let images = frames
            .iter()
            .map(|frame| frame_to_pixels(frame, &self.device))
            .collect();
        let posterior = self.posterior(autoencoder, Tensor::cat(images, 0))?;
        Ok(Encoded {
            shape: posterior.mean.dims(),
            mean: values(posterior.mean)?,
            logvar: posterior.logvar.map(values).transpose()?,
        })
    }
}

impl Preparation {
    /// What the text encoder says of prompts, `[prompts, tokens, width]`, as a cache keeps it.
    pub(super) fn encode_prompts(
        &self,
        networks: &Networks,
        prompts: &[String],
    ) -> Result<(Vec<f32>, [usize; 3])> {
        let missing = || Error::Config("the model has no text encoder".into());
        let tokenizer = self.tokenizer.as_ref().ok_or_else(missing)?;
        let words = self.prompt_words(tokenizer, prompts)?;
        let tokens = tokens(networks, &words)?.ok_or_else(missing)?;
        let shape = tokens.dims();
        Ok((values(tokens)?, shape))
    }
}

fn encoder_dtype(autoencoder: &Autoencoder) -> DType {
    autoencoder.encoder.conv_in.dtype()
}

/// A tensor's values in f32, in the order of its shape.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.cast(DType::F32).into_data();
    data.try_to_vec()
        .map_err(|error| Error::Backend(format!("latents cannot be read: {error:?}")))
}
