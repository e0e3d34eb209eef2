//! Every tiny sibling, run once from end to end of each part.

use burn::tensor::{Device, Int, Tensor};
use vldm::autoencoder::{Autoencoder, TemporalDecoderLayers};
use vldm::conditioning::boxes::{BoxEncoder, ObjectBox};
use vldm::conditioning::frame_rate::FrameRateEncoder;
use vldm::conditioning::labels::LabelEncoder;
use vldm::nn::Init;
use vldm::nn::temporal::{AlphaConfig, TemporalContext};
use vldm::preset::Preset;
use vldm::text::{ClipTextEncoder, ClipVisionEncoder};
use vldm::unet::{TemporalLayers, UNet, UNetConfig, UNetInput, Vector, VectorConfig};

use crate::common::{finite, noise, preset};

#[test]
fn every_tiny_unet_runs() {
    for name in Preset::names() {
        let preset = preset(name);
        if name.starts_with("tiny-") && preset.unet.is_some() {
            run_unet(&preset);
        }
    }
}

#[test]
fn every_tiny_autoencoder_runs() {
    for name in Preset::names() {
        let preset = preset(name);
        if name.starts_with("tiny-") && preset.autoencoder.is_some() {
            run_autoencoder(&preset);
        }
    }
}

fn run_unet(preset: &Preset) {
    let init = Init::new(&Device::flex(), 1);
    let config = preset.unet.as_ref().expect("a U-Net");
    let unet = UNet::new(config, &init);
    let frames = match &preset.temporal {
        None => 1,
        Some(temporal) => match temporal.alpha {
            AlphaConfig::Scalar => 3,
            AlphaConfig::PerFrame { frames } => frames,
        },
    };
    let context = config.context_width.map(|width| {
        let context = tokens(preset, &init);
        assert_eq!(context.dims()[2], width, "{}", preset.name);
        context
    });
    let input = UNetInput {
        sample: noise([frames, 8, 16, config.in_channels], 1),
        timestep: Tensor::from_floats([500.0], &Device::flex()),
        context: context.clone(),
        vector: vector(config),
    };
    let output = match &preset.temporal {
        None => unet.forward(input),
        Some(temporal) => {
            let layers = TemporalLayers::new(config, temporal, &init);
            let time = TemporalContext {
                frames,
                first_frame: 0,
                tokens: temporal
                    .context_width
                    .and_then(|_| frame_rate_tokens(preset, &init).or(context)),
                max_distance: None,
                observed: temporal
                    .observed
                    .map(|observed| noise([frames, 8, 16, observed.in_channels], 2)),
            };
            unet.forward_video(input, &layers, &time)
        }
    };
    assert_eq!(output.dims(), [frames, 8, 16, config.out_channels]);
    finite(&output, &preset.name);
}

fn vector(config: &UNetConfig) -> Vector {
    let device = Device::flex();
    match config.vector {
        VectorConfig::None => Vector::None,
        VectorConfig::Label { .. } => Vector::Label(Tensor::from_ints([20], &device)),
        VectorConfig::Scalars { .. } => {
            Vector::Scalars(Tensor::from_floats([[6.0, 127.0, 0.02]], &device))
        }
    }
}

/// What the preset's own encoder makes of some condition.
fn tokens(preset: &Preset, init: &Init) -> Tensor<3> {
    let device = Device::flex();
    if let Some(config) = &preset.text_encoder {
        let ids = Tensor::<2, Int>::full([1, config.max_tokens], 320, &device);
        return ClipTextEncoder::new(config, init).forward(ids);
    }
    if let Some(config) = &preset.image_encoder {
        let size = config.image_size;
        let picture = noise([1, 3, size, size], 3);
        let vector = ClipVisionEncoder::new(config, init).forward(picture);
        return vector.unsqueeze_dim(1);
    }
    if let Some(config) = &preset.labels {
        let labels = config
            .batch(&[vec![Some(1), None]], &device)
            .expect("valid");
        return LabelEncoder::new(config, init).forward(labels);
    }
    let Some(config) = &preset.boxes else {
        let width = preset.unet.as_ref().and_then(|unet| unet.context_width);
        return noise([1, 77, width.expect("a width for given tokens")], 3);
    };
    let object = ObjectBox {
        x0: 0.25,
        y0: 0.5,
        x1: 0.375,
        y1: 0.75,
        class: 0,
    };
    let boxes = config.batch(&[vec![object]], &device).expect("valid");
    BoxEncoder::new(config, init).forward(boxes)
}

fn frame_rate_tokens(preset: &Preset, init: &Init) -> Option<Tensor<3>> {
    let device = Device::flex();
    let encoder = FrameRateEncoder::new(preset.frame_rate.as_ref()?, init);
    let regime = Tensor::from_ints([1], &device);
    Some(encoder.forward(regime, Tensor::from_floats([30.0], &device)))
}

fn run_autoencoder(preset: &Preset) {
    let init = Init::new(&Device::flex(), 1);
    let config = preset.autoencoder.as_ref().expect("an autoencoder");
    let autoencoder = Autoencoder::new(config, &init);
    let factor = config.factor();
    let pixels = noise([2, 3, 2 * factor, 4 * factor], 4);
    let latents = autoencoder.encode(pixels.clone()).mode();
    assert_eq!(latents.dims(), [2, config.latent_channels, 2, 4]);
    finite(&latents, &preset.name);
    let decoded = autoencoder.decode(latents.clone());
    assert_eq!(decoded.dims(), pixels.dims());
    finite(&decoded, &preset.name);
    if let Some(temporal) = preset.temporal_decoder {
        let layers = TemporalDecoderLayers::new(config, temporal, &init);
        let clip = autoencoder.decode_video(latents.unsqueeze_dim(0), &layers);
        assert_eq!(clip.dims(), [1, 2, 3, 2 * factor, 4 * factor]);
        finite(&clip, &preset.name);
    }
}
