//! Parts of models that are already there, put into the networks of a run.

use std::path::Path;

use burn::tensor::Tensor;

use super::networks::Networks;
use crate::autoencoder::{AutoencoderConfig, TemporalDecoderConfig};
use crate::error::{Error, Result};
use crate::model::{Model, VideoUNet};
use crate::preset::{Part, Preset};
use crate::text::Tokenizer;
use crate::unet::{TemporalConfig, UNet, UNetConfig};

/// Takes one part of a model; `wanted` makes it an error that the model lacks it.
pub(super) fn take(
    networks: &mut Networks,
    (preset, tokenizer): (&mut Preset, &mut Option<Tokenizer>),
    (model, path): (&Model, &Path),
    (part, wanted): (Part, bool),
) -> Result<()> {
    let from = (model, path);
    let found = match part {
        Part::Unet => unet(networks, preset, from)?,
        Part::Temporal => temporal(networks, preset, from)?,
        Part::Autoencoder => autoencoder(networks, preset, from)?,
        Part::TemporalDecoder => temporal_decoder(networks, preset, from)?,
        Part::TextEncoder => text_encoder(networks, (preset, tokenizer), from)?,
        Part::ImageEncoder => image_encoder(networks, preset, from)?,
        Part::Labels | Part::Boxes | Part::FrameRate => {
            condition_encoder(networks, preset, from, part)?
        }
        Part::Decoder | Part::VideoUnet => false,
    };
    match wanted && !found {
        true => Err(Error::Input(format!(
            "{}: it has no {}, or the model under training needs none",
            path.display(),
            part.title()
        ))),
        false => Ok(()),
    }
}

type From<'a> = (&'a Model, &'a Path);

fn unet(networks: &mut Networks, preset: &Preset, (model, path): From) -> Result<bool> {
    let (Some(found), Some(config)) = (&model.unet, &preset.unet) else {
        return Ok(false);
    };
    networks.unet = Some(fitted(found, config, path)?);
    Ok(true)
}

fn temporal(networks: &mut Networks, preset: &Preset, (model, path): From) -> Result<bool> {
    let found = model.unet.as_ref();
    let layers = found.and_then(|found| found.temporal.as_ref());
    let (Some(found), Some(layers), Some(config)) = (found, layers, &preset.temporal) else {
        return Ok(false);
    };
    // How they began is past.
    let found_config = found.temporal_config.clone().map(|found| TemporalConfig {
        start: config.start,
        ..found
    });
    same("temporal layers", path, found_config.as_ref(), Some(config))?;
    networks.temporal = Some(layers.clone());
    Ok(true)
}

fn autoencoder(networks: &mut Networks, preset: &mut Preset, (model, path): From) -> Result<bool> {
    let (Some(found), Some(config)) = (&model.autoencoder, &mut preset.autoencoder) else {
        return Ok(false);
    };
    // The scale was measured when the autoencoder was finished; sizes are what counts.
    let rescaled = AutoencoderConfig {
        scale_factor: found.config.scale_factor,
        ..config.clone()
    };
    same("autoencoder", path, Some(&found.config), Some(&rescaled))?;
    *config = rescaled;
    networks.autoencoder = Some(found.autoencoder.clone());
    Ok(true)
}

fn temporal_decoder(networks: &mut Networks, preset: &Preset, (model, path): From) -> Result<bool> {
    let found = model.autoencoder.as_ref();
    let found = found.and_then(|found| found.temporal.as_ref());
    let (Some(layers), Some(config)) = (found, &preset.temporal_decoder) else {
        return Ok(false);
    };
    let described = model.description.autoencoder.as_ref();
    let found_config = described.and_then(|described| described.temporal);
    let found_config = found_config.map(|found| TemporalDecoderConfig {
        start: config.start,
        ..found
    });
    let part = "temporal layers of the decoder";
    same(part, path, found_config.as_ref(), Some(config))?;
    networks.temporal_decoder = Some(layers.clone());
    Ok(true)
}

/// Its tokenizer comes with it: padding and added words are part of what it has learnt.
fn text_encoder(
    networks: &mut Networks,
    (preset, tokenizer): (&Preset, &mut Option<Tokenizer>),
    (model, path): From,
) -> Result<bool> {
    let (Some(found), Some(config)) = (&model.text_encoder, &preset.text_encoder) else {
        return Ok(false);
    };
    let found_config = model.description.text_encoder.as_ref();
    same("text encoder", path, found_config, Some(config))?;
    networks.text_encoder = Some(found.clone());
    tokenizer.clone_from(&model.tokenizer);
    Ok(true)
}

fn image_encoder(networks: &mut Networks, preset: &Preset, (model, path): From) -> Result<bool> {
    let (Some(found), Some(config)) = (&model.image_encoder, &preset.image_encoder) else {
        return Ok(false);
    };
    let found_config = model.description.image_encoder.as_ref();
    same("image encoder", path, found_config, Some(config))?;
    networks.image_encoder = Some(found.clone());
    Ok(true)
}

fn condition_encoder(
    networks: &mut Networks,
    preset: &Preset,
    (model, path): (&Model, &Path),
    part: Part,
) -> Result<bool> {
    let (Some(found), Some(config), Some(ours)) = (
        &model.conditions,
        &model.description.conditions,
        &mut networks.conditions,
    ) else {
        return Ok(false);
    };
    let wanted = preset.conditions();
    Ok(match part {
        Part::Labels if found.labels.is_some() && wanted.labels.is_some() => {
            same(
                "label encoder",
                path,
                config.labels.as_ref(),
                wanted.labels.as_ref(),
            )?;
            ours.labels = found.labels.clone();
            true
        }
        Part::Boxes if found.boxes.is_some() && wanted.boxes.is_some() => {
            same(
                "box encoder",
                path,
                config.boxes.as_ref(),
                wanted.boxes.as_ref(),
            )?;
            ours.boxes = found.boxes.clone();
            true
        }
        Part::FrameRate if found.frame_rate.is_some() && wanted.frame_rate.is_some() => {
            same(
                "frame-rate tokens",
                path,
                config.frame_rate.as_ref(),
                wanted.frame_rate.as_ref(),
            )?;
            ours.frame_rate = found.frame_rate.clone();
            true
        }
        _ => false,
    })
}

/// A U-Net that fits the preset. One with fewer input channels gets zeros for the new ones, so
/// that it computes at first what it did (as the text-to-video interpolation starts).
fn fitted(found: &VideoUNet, config: &UNetConfig, path: &Path) -> Result<UNet> {
    let narrow = UNetConfig {
        in_channels: found.config.in_channels,
        ..config.clone()
    };
    // How a file stores projections is no size.
    let found_config = UNetConfig {
        projection: config.projection,
        ..found.config.clone()
    };
    same("U-Net", path, Some(&found_config), Some(&narrow))?;
    let mut unet = found.unet.clone();
    let new = config.in_channels.checked_sub(found.config.in_channels);
    match new {
        Some(0) => {}
        Some(new) => {
            unet.conv_in.weight = unet.conv_in.weight.map(|weight: Tensor<4>| {
                let [out, _, h, w] = weight.dims();
                let zeros = Tensor::zeros([out, new, h, w], (&weight.device(), weight.dtype()));
                vldm_kernels::arrange(Tensor::cat(vec![weight, zeros], 1))
            });
        }
        None => {
            return Err(Error::Config(format!(
                "{}: its U-Net reads {} channels, more than the {} of the model under training",
                path.display(),
                found.config.in_channels,
                config.in_channels
            )));
        }
    }
    Ok(unet)
}

fn same<T: PartialEq + std::fmt::Debug>(
    part: &str,
    path: &Path,
    found: Option<&T>,
    wanted: Option<&T>,
) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::Config(format!(
        "{}: its {part} has other sizes than the model under training\nfound    {found:?}\nexpected \
         {wanted:?}",
        path.display()
    )))
}
