//! Networks and whole pipelines against reference checkpoints; see `parity/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use vldm::checkpoint::Weights;
use vldm::model::{LoadSettings, Model, ModelDescription};
use vldm::verify::verify;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity")
        .join(name)
}

fn load(path: &Path, dtype: DType) -> Model {
    let settings = LoadSettings {
        device: Device::flex(),
        dtype,
        temporal: None,
    };
    let description = ModelDescription::open(path, None).expect("a model");
    description.load(&settings).expect("its weights")
}

/// Every output within 1e-4 of the reference's standard deviation.
fn check(name: &str) {
    check_in(name, DType::F32, 1e-4);
}

fn check_in(name: &str, dtype: DType, tolerance: f64) {
    let case = case(name);
    let model = load(&case.join("model"), dtype);
    let reference = Weights::open(case.join("reference.safetensors")).expect("a reference");
    let checks = verify(&model, &reference, tolerance).expect("a verdict");
    assert!(!checks.is_empty());
    let mut failed = false;
    for check in &checks {
        println!(
            "{name}: {} {:.2e} {:.2e} {}",
            check.name, check.max_absolute, check.max_relative, check.passed
        );
        failed |= !check.passed;
    }
    assert!(!failed, "{name}");
}

#[test]
fn stable_diffusion_1() {
    check("sd15");
}

#[test]
fn stable_diffusion_2() {
    check("sd21");
}

#[test]
fn x4_upscaler() {
    check("x4");
}

#[test]
fn stable_video_diffusion() {
    check("svd");
}

#[test]
fn unusual_image_models() {
    check("odd_sd_conv");
    check("odd_sd_linear");
}

#[test]
fn unusual_video_models() {
    check("odd_svd");
}

#[test]
fn other_ways_to_store_a_model() {
    for name in ["bf16", "f32_sharded", "fp16_variant"] {
        check(&format!("variants/{name}"));
    }
}

#[test]
fn half_precision() {
    for name in ["sd15", "sd21", "x4", "svd"] {
        check_in(name, DType::BF16, 2e-2);
    }
}

/// The reference of another model is an error that says so, not a panic.
#[test]
fn the_reference_of_another_model() {
    let model = load(&case("odd_sd_conv").join("model"), DType::F32);
    let reference = Weights::open(case("svd").join("reference.safetensors")).expect("a reference");
    let error = verify(&model, &reference, 1e-4).expect_err("another model's");
    assert!(error.to_string().contains("another model's"), "{error}");
}
