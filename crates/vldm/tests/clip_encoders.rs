//! CLIP's encoders against `transformers`, on the small checkpoints of `parity/`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use serde_json::Value;
use vldm::checkpoint::key_map::{ClipTextKeys, Identity};
use vldm::checkpoint::{LoadOptions, Weights, load};
use vldm::nn::Init;
use vldm::text::{
    ClipActivation, ClipTextConfig, ClipTextEncoder, ClipVisionConfig, ClipVisionEncoder, PadToken,
    Tokenizer,
};

fn parity(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity")
        .join(path)
}

fn config(folder: &str) -> Value {
    let text = std::fs::read_to_string(parity(folder).join("config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn size(config: &Value, key: &str) -> usize {
    usize::try_from(config[key].as_u64().unwrap()).unwrap()
}

fn activation(config: &Value) -> ClipActivation {
    serde_json::from_value(config["hidden_act"].clone()).unwrap()
}

fn text_encoder(case: &str) -> ClipTextEncoder {
    let folder = format!("{case}/model/text_encoder");
    let json = config(&folder);
    let config = ClipTextConfig {
        vocabulary: size(&json, "vocab_size"),
        width: size(&json, "hidden_size"),
        layers: size(&json, "num_hidden_layers"),
        heads: size(&json, "num_attention_heads"),
        mlp_width: size(&json, "intermediate_size"),
        max_tokens: size(&json, "max_position_embeddings"),
        activation: activation(&json),
        norm_eps: json["layer_norm_eps"].as_f64().unwrap(),
    };
    config.validate().unwrap();
    let weights = Weights::open(parity(&folder).join("model.safetensors")).unwrap();
    let encoder = ClipTextEncoder::new(&config, &Init::new(&Device::flex(), 0));
    let options = LoadOptions::new("text_encoder");
    load(encoder, &weights, &ClipTextKeys::of(&weights), &options)
        .unwrap()
        .0
}

fn image_encoder(case: &str) -> ClipVisionEncoder {
    let folder = format!("{case}/model/image_encoder");
    let json = config(&folder);
    let config = ClipVisionConfig {
        image_size: size(&json, "image_size"),
        patch_size: size(&json, "patch_size"),
        in_channels: size(&json, "num_channels"),
        width: size(&json, "hidden_size"),
        layers: size(&json, "num_hidden_layers"),
        heads: size(&json, "num_attention_heads"),
        mlp_width: size(&json, "intermediate_size"),
        projection: size(&json, "projection_dim"),
        activation: activation(&json),
        norm_eps: json["layer_norm_eps"].as_f64().unwrap(),
    };
    config.validate().unwrap();
    let weights = Weights::open(parity(&folder).join("model.safetensors")).unwrap();
    let encoder = ClipVisionEncoder::new(&config, &Init::new(&Device::flex(), 0));
    load(
        encoder,
        &weights,
        &Identity,
        &LoadOptions::new("image_encoder"),
    )
    .unwrap()
    .0
}

/// The largest difference over the expected values' standard deviation is below 1e-4.
fn check(case: &str, result: Vec<f32>, expected: Vec<f32>) {
    assert_eq!(result.len(), expected.len(), "{case}");
    let n = expected.len() as f32;
    let mean = expected.iter().sum::<f32>() / n;
    let deviation = (expected.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n).sqrt();
    let largest = result
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    println!("{case}: largest difference {largest:e}, deviation {deviation}");
    assert!(
        largest < 1e-4 * deviation,
        "{case}: {largest} of {deviation}"
    );
}

fn check_text(case: &str, name: &str) {
    let device = Device::flex();
    let reference = Weights::open(parity(case).join("reference.safetensors")).unwrap();
    let ids = reference
        .data(&format!("{name}/text_encoder/in/input_ids"))
        .unwrap();
    let result = text_encoder(case).forward(Tensor::<2, Int>::from_data(ids, &device));
    let expected = reference
        .data(&format!("{name}/text_encoder/out/last_hidden_state"))
        .unwrap();
    assert_eq!(&result.shape(), expected.shape(), "{case}");
    check(
        case,
        result.into_data().try_to_vec().unwrap(),
        expected.try_to_vec().unwrap(),
    );
}

#[test]
fn text_encoders_equal_the_reference() {
    check_text("sd15", "prompts");
    check_text("sd21", "prompts");
    check_text("x4", "prompts");
    check_text("odd_sd_conv", "words");
}

#[test]
fn image_encoders_equal_the_reference() {
    let device = Device::flex();
    let reference = Weights::open(parity("odd_svd/reference.safetensors")).unwrap();
    let pixels = reference
        .data("three/image_encoder/in/pixel_values")
        .unwrap();
    let result = image_encoder("odd_svd").forward(Tensor::<4>::from_data(pixels, &device));
    let expected = reference
        .data("three/image_encoder/out/image_embeds")
        .unwrap();
    check(
        "odd_svd",
        result.into_data().try_to_vec().unwrap(),
        expected.try_to_vec().unwrap(),
    );
}

#[test]
fn later_tokens_do_not_change_earlier_ones() {
    let encoder = text_encoder("sd15");
    let encode = |text: &str| {
        let ids = Tokenizer::builtin(PadToken::EndOfText).encode(text);
        let ids = vldm::text::input_ids(&[ids], &Device::flex()).unwrap();
        encoder.forward(ids).slice([0..1, 0..4]).into_data()
    };
    assert_eq!(encode("a photo of a cat"), encode("a photo of the moon"));
    assert_ne!(encode("a photo of a cat"), encode("a drawing of a cat"));
}

#[test]
fn published_encoders_have_their_number_of_parameters() {
    let init = Init::new(&Device::flex(), 0);
    let text = |config| ClipTextEncoder::new(&config, &init).num_params();
    assert_eq!(text(ClipTextConfig::vit_l()), 123_060_480);
    assert_eq!(text(ClipTextConfig::vit_h()), 340_387_840);
    let vision = ClipVisionEncoder::new(&ClipVisionConfig::vit_h(), &init);
    assert_eq!(vision.num_params(), 632_076_800);
}

#[test]
fn impossible_sizes_are_errors() {
    let check = |config: ClipTextConfig, expected: &str| {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        ClipTextConfig {
            heads: 7,
            ..ClipTextConfig::vit_l()
        },
        "7 heads do not divide",
    );
    check(
        ClipTextConfig {
            layers: 0,
            ..ClipTextConfig::vit_l()
        },
        "layers 0",
    );
    check(
        ClipTextConfig {
            max_tokens: 1,
            ..ClipTextConfig::vit_l()
        },
        "window of 1 tokens",
    );
    let small = ClipVisionConfig {
        image_size: 13,
        ..ClipVisionConfig::vit_h()
    };
    assert!(
        small
            .validate()
            .unwrap_err()
            .to_string()
            .contains("13 pixels in patches of 14")
    );
}

#[test]
fn prompts_have_the_ids_of_the_parity_table() {
    let text = std::fs::read_to_string(parity("tokens/tokens.json")).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    let sd1 = Tokenizer::builtin(PadToken::EndOfText);
    let sd2 = Tokenizer::builtin(PadToken::ExclamationMark);
    for row in table["prompts"].as_array().unwrap() {
        let prompt = row["prompt"].as_str().unwrap();
        // A marker in capitals is a token only where the model's files say "normalized", as the
        // published ones do; the table's tokenizer was made without files.
        if prompt.contains("<|STARTOFTEXT|>") {
            continue;
        }
        for (tokenizer, key) in [(&sd1, "sd1"), (&sd2, "sd2")] {
            let mut expected: Vec<u32> = serde_json::from_value(row[key].clone()).unwrap();
            expected.resize(tokenizer.max_length(), tokenizer.pad_id());
            assert_eq!(tokenizer.encode(prompt).ids, expected, "{key}: {prompt:?}");
        }
    }
}
