//! Our modules' parameters against the names and shapes of reference models
//! (`tests/golden/keys`): every tensor of the file is hit, and hit once.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;

use super::*;
use crate::autoencoder::{
    Autoencoder, AutoencoderConfig, AutoencoderLevel, Regularization, TemporalDecoderConfig,
    TemporalDecoderLayers,
};
use crate::checkpoint::load::{parameters, shape_in_file};
use crate::nn::Init;
use crate::nn::temporal::{AlphaConfig, TemporalStart, TimeKernel};
use crate::unet::{
    LevelConfig, NormEps, ProjectionLayout, TemporalConfig, TemporalLayers, TransformerConfig,
    UNet, UNetConfig, VectorConfig,
};

type Shapes = Vec<(String, Vec<usize>)>;

/// The names and shapes of `tests/golden/keys/NAME.txt`.
pub(crate) fn golden(name: &str) -> BTreeMap<String, Vec<usize>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/keys")
        .join(name)
        .with_extension("txt");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let (name, shape) = line.split_once(' ').unwrap();
            let shape = shape.split(',').filter(|dim| !dim.is_empty());
            (
                name.to_owned(),
                shape.map(|dim| dim.parse().unwrap()).collect(),
            )
        })
        .collect()
}

fn shapes<M: burn::module::Module>(module: &M) -> Shapes {
    parameters(module)
        .into_iter()
        .map(|(name, shape)| (name, shape.to_vec()))
        .collect()
}

#[track_caller]
fn check(file: &str, parts: &[(&dyn KeyMap, Shapes)]) {
    let theirs = golden(file);
    let mut open: BTreeMap<&str, usize> = theirs.keys().map(|name| (name.as_str(), 1)).collect();
    for (map, ours) in parts {
        for (name, shape) in ours {
            let source = map.source(name);
            let expected = theirs
                .get(&source.name)
                .unwrap_or_else(|| panic!("{file}: {name} -> {} is not there", source.name));
            assert_eq!(
                &shape_in_file(source.transform, shape),
                expected,
                "{file}: {name} -> {source:?}"
            );
            let left = open.get_mut(source.name.as_str()).unwrap();
            match source.transform {
                Transform::Rows { part, of } if part + 1 < of => {}
                _ => {
                    assert_eq!(*left, 1, "{file}: {} is used twice", source.name);
                    *left = 0;
                }
            }
        }
    }
    let surplus: Vec<&str> = open
        .into_iter()
        .filter(|&(name, left)| left > 0 && !parts.iter().any(|(map, _)| map.is_ignored(name)))
        .map(|(name, _)| name)
        .collect();
    assert!(surplus.is_empty(), "{file}: nothing uses {surplus:?}");
}

fn init() -> Init {
    Init::new(&Device::flex(), 0)
}

fn unet(levels: &[(usize, bool, bool)], in_channels: usize, vector: VectorConfig) -> UNetConfig {
    let transformer = |self_attention| TransformerConfig {
        heads: 4,
        blocks: 1,
        self_attention,
    };
    UNetConfig {
        in_channels,
        out_channels: 4,
        levels: levels
            .iter()
            .map(|&(channels, attention, self_attention)| LevelConfig {
                channels,
                resnet_blocks: 2,
                transformer: attention.then(|| transformer(self_attention)),
            })
            .collect(),
        mid_transformer: Some(transformer(true)),
        context_width: Some(24),
        vector,
        norm_groups: 32,
        norm_eps: NormEps::default(),
        position_octaves: 0,
        projection: ProjectionLayout::Linear,
    }
}

fn ldm(diffusers: UNetKeys, attention: &[bool]) -> LdmUNetKeys {
    LdmUNetKeys {
        diffusers,
        layers_per_block: 2,
        attention: attention.to_vec(),
    }
}

fn image_unet(name: &str, config: &UNetConfig, projection: Projection) {
    let ours = shapes(&UNet::new(config, &init()));
    let map = UNetKeys::image(projection);
    check(&format!("diffusers_{name}"), &[(&map, ours.clone())]);
    let attention: Vec<bool> = config
        .levels
        .iter()
        .map(|l| l.transformer.is_some())
        .collect();
    check(&format!("ldm_{name}"), &[(&ldm(map, &attention), ours)]);
}

const FOUR: [(usize, bool, bool); 4] = [
    (32, true, true),
    (64, true, true),
    (64, true, true),
    (64, false, true),
];

#[test]
fn stable_diffusion_1_unet() {
    let config = unet(&FOUR, 4, VectorConfig::None);
    image_unet("sd1_unet", &config, Projection::Convolution);
}

#[test]
fn stable_diffusion_2_unet() {
    let config = unet(
        &[(32, true, true), (64, false, true)],
        4,
        VectorConfig::None,
    );
    image_unet("sd2_unet", &config, Projection::Linear);
}

#[test]
fn x4_upscaler_unet() {
    let levels = [(32, false, true), (64, true, false), (64, true, true)];
    let config = unet(&levels, 7, VectorConfig::Label { count: 10 });
    image_unet("x4_unet", &config, Projection::Linear);
}

#[test]
fn stable_video_diffusion_unet_is_covered_by_its_two_halves() {
    let config = unet(&FOUR, 8, VectorConfig::Scalars { count: 3, width: 8 });
    let temporal = TemporalConfig {
        context_width: Some(24),
        observed: None,
        positions: true,
        alpha: AlphaConfig::Scalar,
        start: TemporalStart::Svd,
    };
    let spatial = shapes(&UNet::new(&config, &init()));
    let temporal = shapes(&TemporalLayers::new(&config, &temporal, &init()));
    let keys = (UNetKeys::spatial(), UNetKeys::temporal());
    check(
        "diffusers_svd_unet",
        &[(&keys.0, spatial.clone()), (&keys.1, temporal.clone())],
    );
    let attention = [true, true, true, false];
    check(
        "ldm_svd_unet",
        &[
            (&ldm(keys.0, &attention), spatial),
            (&ldm(keys.1, &attention), temporal),
        ],
    );
}

fn autoencoder(resnet_blocks: usize, regularization: Regularization) -> AutoencoderConfig {
    let latent_channels = match regularization {
        Regularization::Kl => 4,
        Regularization::Vq { .. } => 3,
    };
    AutoencoderConfig {
        image_channels: 3,
        latent_channels,
        levels: [32, 64]
            .map(|channels| AutoencoderLevel {
                channels,
                attention: false,
            })
            .to_vec(),
        resnet_blocks,
        decoder_mid_resnet_blocks: 2,
        mid_attention: true,
        norm_groups: 32,
        regularization,
        quant_conv: true,
        post_quant_conv: true,
        scale_factor: 1.0,
    }
}

#[test]
fn image_autoencoders() {
    let ours = shapes(&Autoencoder::new(
        &autoencoder(2, Regularization::Kl),
        &init(),
    ));
    let keys = AutoencoderKeys::Image(AttentionNames::Current);
    check("diffusers_vae", &[(&keys, ours.clone())]);
    check("ldm_vae", &[(&LdmAutoencoderKeys::image(2), ours)]);
    let quantised = Regularization::Vq {
        codes: 16,
        code_channels: 3,
    };
    let ours = shapes(&Autoencoder::new(&autoencoder(1, quantised), &init()));
    check("diffusers_vq", &[(&keys, ours)]);
}

#[test]
fn old_attention_names() {
    let source = AutoencoderKeys::Image(AttentionNames::Old)
        .source("encoder.mid_block.attentions.0.to_out.weight");
    assert_eq!(
        source.name,
        "encoder.mid_block.attentions.0.proj_attn.weight"
    );
    assert_eq!(source.transform, Transform::Reshape { rank: 2 });
    let source = AutoencoderKeys::Image(AttentionNames::Old)
        .source("decoder.mid_block.attentions.0.group_norm.bias");
    assert_eq!(
        source.name,
        "decoder.mid_block.attentions.0.group_norm.bias"
    );
}

#[test]
fn temporal_decoder_is_covered_by_its_two_halves() {
    let config = AutoencoderConfig {
        post_quant_conv: false,
        ..autoencoder(2, Regularization::Kl)
    };
    let temporal = TemporalDecoderConfig {
        kernel: TimeKernel::Time,
        alpha: AlphaConfig::Scalar,
        start: TemporalStart::Svd,
    };
    let spatial = shapes(&Autoencoder::new(&config, &init()));
    let temporal = shapes(&TemporalDecoderLayers::new(&config, temporal, &init()));
    let (one, two) = (AutoencoderKeys::Spatial, AutoencoderKeys::Temporal);
    check(
        "diffusers_vae_temporal",
        &[(&one, spatial.clone()), (&two, temporal.clone())],
    );
    let of = |part| LdmAutoencoderKeys {
        part,
        levels: 2,
        separate_encoder: true,
    };
    check(
        "ldm_vae_temporal",
        &[(&of(one), spatial), (&of(two), temporal)],
    );
    let mixer = of(two).source("up_blocks.0.resnets.1.time_mixer.mix_factor");
    assert_eq!(
        mixer.name,
        "first_stage_model.decoder.up.1.block.1.mix_factor"
    );
    assert_eq!(mixer.transform, Transform::Negate);
}

/// The parameters of a CLIP encoder under our names: width 32, hidden 64.
fn clip(tower: &str, layers: usize, top: &[(&str, &[usize])]) -> Shapes {
    let mut out: Shapes = top
        .iter()
        .map(|(name, shape)| ((*name).to_owned(), shape.to_vec()))
        .collect();
    let inner = [
        ("layer_norm1", vec![32]),
        ("self_attn.q_proj", vec![32, 32]),
        ("self_attn.k_proj", vec![32, 32]),
        ("self_attn.v_proj", vec![32, 32]),
        ("self_attn.out_proj", vec![32, 32]),
        ("layer_norm2", vec![32]),
        ("mlp.fc1", vec![64, 32]),
        ("mlp.fc2", vec![32, 64]),
    ];
    for layer in 0..layers {
        for (name, shape) in &inner {
            let path = format!("{tower}.encoder.layers.{layer}.{name}");
            out.push((format!("{path}.weight"), shape.clone()));
            out.push((format!("{path}.bias"), vec![shape[0]]));
        }
    }
    out
}

const TEXT: [(&str, &[usize]); 4] = [
    ("text_model.embeddings.token_embedding.weight", &[50, 32]),
    ("text_model.embeddings.position_embedding.weight", &[77, 32]),
    ("text_model.final_layer_norm.weight", &[32]),
    ("text_model.final_layer_norm.bias", &[32]),
];

#[test]
fn text_encoders() {
    let ours = clip("text_model", 2, &TEXT);
    check(
        "transformers_text_saved",
        &[(&ClipTextKeys { prefixed: false }, ours.clone())],
    );
    let classic = ClipTextKeys { prefixed: true };
    assert_eq!(classic.source(TEXT[0].0), Source::plain(TEXT[0].0));
    assert!(classic.is_ignored("text_model.embeddings.position_ids"));
    // Our encoder stops before the file's last layer, as SD 2.x does.
    let map = OpenClipKeys {
        prefix: "cond_stage_model.model.".into(),
        layers: 2,
    };
    check("ldm_open_clip_text", &[(&map, ours)]);
    let single = Prefixed {
        prefix: "cond_stage_model.transformer.".into(),
        map: classic,
    };
    assert_eq!(
        single.source(TEXT[0].0).name,
        format!("cond_stage_model.transformer.{}", TEXT[0].0)
    );
    assert!(single.is_ignored("model_ema.decay"));
    assert!(!single.is_ignored("cond_stage_model.transformer.other"));
}

#[test]
fn image_encoders() {
    let top: [(&str, &[usize]); 8] = [
        ("vision_model.embeddings.class_embedding", &[32]),
        (
            "vision_model.embeddings.patch_embedding.weight",
            &[32, 3, 14, 14],
        ),
        (
            "vision_model.embeddings.position_embedding.weight",
            &[5, 32],
        ),
        ("vision_model.pre_layrnorm.weight", &[32]),
        ("vision_model.pre_layrnorm.bias", &[32]),
        ("vision_model.post_layernorm.weight", &[32]),
        ("vision_model.post_layernorm.bias", &[32]),
        ("visual_projection.weight", &[24, 32]),
    ];
    let ours = clip("vision_model", 2, &top);
    check(
        "transformers_vision_saved",
        &[(&ClipTextKeys { prefixed: true }, ours.clone())],
    );
    let map = OpenClipKeys {
        prefix: "conditioner.embedders.0.open_clip.model.visual.".into(),
        layers: 2,
    };
    check("ldm_open_clip_vision", &[(&map, ours)]);
}
