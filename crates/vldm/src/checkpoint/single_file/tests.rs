//! Files made of the reference's names and shapes are recognised and described.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use super::*;
use crate::checkpoint::key_map::golden;
use crate::checkpoint::{LoadOptions, load};
use crate::nn::{Embedding, Init};

type Shapes = BTreeMap<String, Vec<usize>>;

/// A file with these tensors, all zero, in f16.
fn file(shapes: &Shapes) -> Weights {
    let mut offset = 0;
    let header: serde_json::Map<String, serde_json::Value> = shapes
        .iter()
        .map(|(name, shape)| {
            let end = offset + 2 * shape.iter().product::<usize>();
            let entry = serde_json::json!({
                "dtype": "F16", "shape": shape, "data_offsets": [offset, end],
            });
            offset = end;
            (name.clone(), entry)
        })
        .collect();
    let header = serde_json::Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + offset, 0);
    Weights::from_bytes(Path::new("model.safetensors"), bytes).unwrap()
}

fn sd1() -> Shapes {
    let mut shapes = golden("ldm_sd1_unet");
    shapes.extend(golden("ldm_vae"));
    let text = golden("transformers_text").into_iter();
    shapes.extend(text.map(|(name, shape)| (format!("{SD1_TEXT}text_model.{name}"), shape)));
    for name in ["betas", "model_ema.decay", "sqrt_alphas_cumprod"] {
        shapes.insert(name.into(), vec![1]);
    }
    shapes.insert(
        format!("{SD1_TEXT}text_model.embeddings.position_ids"),
        vec![1, 77],
    );
    shapes
}

#[test]
fn stable_diffusion_1() {
    let found = SingleFile::detect(&file(&sd1())).unwrap();
    assert_eq!(found.family, Family::StableDiffusion1);
    assert_eq!(found.prediction, Some(Prediction::Epsilon));
    assert_eq!(
        found.unet,
        DetectedUNet {
            in_channels: 4,
            out_channels: 4,
            channels: vec![32, 64, 64, 64],
            layers_per_block: 2,
            attention: vec![true, true, true, false],
            self_attention: vec![true; 4],
            transformer_layers: vec![1; 4],
            mid_attention: true,
            heads: vec![8; 4],
            context_width: Some(24),
            linear_projection: false,
            class_labels: None,
            scalars: None,
            temporal: false,
        }
    );
    assert_eq!(found.autoencoder.channels, [32, 64]);
    assert_eq!(found.autoencoder.latent_channels, 4);
    assert!(found.autoencoder.quant_conv && found.autoencoder.post_quant_conv);
    let text = found.text.as_ref().unwrap();
    assert_eq!((text.vocabulary, text.positions, text.layers), (50, 77, 2));
    assert!(found.vision.is_none());
    for (name, ignored) in [
        ("betas", true),
        ("model_ema.decay", true),
        ("sqrt_alphas_cumprod", true),
        (
            "cond_stage_model.transformer.text_model.embeddings.position_ids",
            true,
        ),
        ("first_stage_model.loss.logvar", true),
        ("model.diffusion_model.out.2.weight", false),
        ("first_stage_model.decoder.conv_in.weight", false),
        ("control_model.input_hint_block.0.weight", false),
    ] {
        assert_eq!(found.is_ignored(name), ignored, "{name}");
    }
}

#[test]
fn stable_diffusion_2() {
    let mut shapes = golden("ldm_sd2_unet");
    shapes.extend(golden("ldm_vae"));
    shapes.extend(golden("ldm_open_clip_text"));
    let found = SingleFile::detect(&file(&shapes)).unwrap();
    assert_eq!(found.family, Family::StableDiffusion2);
    assert_eq!(found.prediction, None);
    assert!(found.unet.linear_projection);
    // Three layers in the file, the last unused.
    assert_eq!(found.text.as_ref().unwrap().layers, 2);
    assert!(found.is_ignored("cond_stage_model.model.transformer.resblocks.2.ln_1.bias"));
    assert!(!found.is_ignored("cond_stage_model.model.transformer.resblocks.1.ln_1.bias"));
}

#[test]
fn x4_upscaler() {
    let mut shapes = golden("ldm_x4_unet");
    shapes.extend(golden("ldm_vae"));
    shapes.extend(golden("ldm_open_clip_text"));
    let found = SingleFile::detect(&file(&shapes)).unwrap();
    assert_eq!(found.family, Family::Upscaler4x);
    assert_eq!(found.unet.class_labels, Some(10));
    assert_eq!(found.unet.attention, [false, true, true]);
    assert_eq!(found.unet.self_attention, [true, false, true]);
}

#[test]
fn stable_video_diffusion() {
    let mut shapes = golden("ldm_svd_unet");
    shapes.extend(golden("ldm_vae_temporal"));
    shapes.extend(golden("ldm_open_clip_vision"));
    let copy = "first_stage_model.encoder.conv_in.weight".to_owned();
    shapes.insert(copy.clone(), vec![32, 3, 3, 3]);
    let found = SingleFile::detect(&file(&shapes)).unwrap();
    assert_eq!(found.family, Family::StableVideoDiffusion);
    assert_eq!(found.unet.scalars, Some(Scalars { count: 3, width: 8 }));
    assert!(found.unet.temporal && found.autoencoder.temporal);
    assert!(found.autoencoder.separate_encoder && found.autoencoder.quant_conv);
    assert!(!found.autoencoder.post_quant_conv);
    let vision = found.vision.as_ref().unwrap();
    assert_eq!((vision.image_size, vision.patch_size), (28, 14));
    assert_eq!((vision.layers, vision.projection), (2, 24));
    assert!(found.is_ignored(&copy));
    assert!(found.is_ignored("conditioner.embedders.0.open_clip.model.ln_final.weight"));
    assert!(!found.is_ignored("conditioner.embedders.0.open_clip.model.visual.ln_post.weight"));
}

#[test]
fn other_models_are_named() {
    let check = |change: &dyn Fn(&mut Shapes), expected: &str| {
        let mut shapes = sd1();
        change(&mut shapes);
        let error = SingleFile::detect(&file(&shapes)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let conv_in = format!("{UNET}input_blocks.0.0.weight");
    let widened = |channels: usize| {
        let conv_in = conv_in.clone();
        move |shapes: &mut Shapes| {
            shapes.insert(conv_in.clone(), vec![32, channels, 3, 3]);
        }
    };
    check(&widened(9), "inpainting");
    check(&widened(5), "depth");
    check(&widened(6), "6 input channels");
    check(&|shapes| shapes.clear(), "no single-file checkpoint");
    check(
        &|shapes| *shapes = golden("diffusers_sd1_unet"),
        "diffusers' layout",
    );
    check(
        &|shapes| shapes.retain(|name, _| !name.starts_with("cond_stage")),
        "context width",
    );
    check(
        &|shapes| shapes.retain(|name, _| !name.contains("out.2.")),
        "has a tensor `model.diffusion_model.out.2.weight`",
    );
    check(
        &|shapes| {
            shapes.insert(format!("{UNET}out.2.weight"), vec![]);
        },
        "impossible shape",
    );
}

#[test]
fn a_part_loads_from_among_the_others() {
    #[derive(Module, Debug)]
    struct Embeddings {
        token_embedding: Embedding,
    }
    #[derive(Module, Debug)]
    struct Tower {
        embeddings: Embeddings,
    }
    #[derive(Module, Debug)]
    struct Text {
        text_model: Tower,
    }
    let weights = file(&sd1());
    let found = SingleFile::detect(&weights).unwrap();
    let init = Init::new(&Device::flex(), 0);
    let text = Text {
        text_model: Tower {
            embeddings: Embeddings {
                token_embedding: Embedding::new(50, 32, 1.0, &init),
            },
        },
    };
    let keys = found.text_keys().unwrap();
    let options = LoadOptions::new("text encoder");
    // The rest of the encoder has no place in this module, and says so.
    let error = load(text.clone(), &weights, &*keys, &options).unwrap_err();
    assert!(error.to_string().contains("position_embedding"), "{error}");
    let (_, report) = load(text, &weights, &*keys, &options.leave_rest()).unwrap();
    assert_eq!(report.loaded, 1);
}
