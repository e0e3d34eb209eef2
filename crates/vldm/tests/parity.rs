//! Networks and whole pipelines against reference checkpoints; see `parity/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use vldm::checkpoint::Weights;
use vldm::model::{LoadSettings, Model, ModelDescription};
use vldm::nn::temporal::TemporalContext;
use vldm::unet::{UNetInput, Vector};
use vldm::verify::{Check, verify};

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
    check_in(name, DType::F32, 1e-4, |check| check.max_relative);
}

fn check_in(name: &str, dtype: DType, tolerance: f64, error: fn(&Check) -> f64) {
    let case = case(name);
    let model = load(&case.join("model"), dtype);
    let reference = Weights::open(case.join("reference.safetensors")).expect("a reference");
    let checks = verify(&model, &reference, tolerance).expect("a verdict");
    assert!(!checks.is_empty());
    let mut failed = false;
    for check in &checks {
        println!(
            "{name}: {} {:.2e} {:.2e} {:.2e}",
            check.name, check.max_absolute, check.max_relative, check.rms_relative
        );
        failed |= error(check).is_nan() || error(check) > tolerance;
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

/// The mean error, that is, and what bf16 itself costs: on the first of these models PyTorch in
/// bf16 is off by up to 0.027 on average, and by up to 0.14 in single values.
#[test]
fn half_precision() {
    for name in ["sd15", "sd21", "x4", "svd"] {
        check_in(name, DType::BF16, 3e-2, |check| check.rms_relative);
    }
}

/// Between any two steps of a network in bf16, everything is bf16.
#[test]
fn half_precision_stays_half() {
    let model = load(&case("svd").join("model"), DType::BF16);
    let video = model.unet.expect("a U-Net");
    let options = (&Device::flex(), DType::BF16);
    let width = video.config.context_width.expect("a context");
    let context = Tensor::<3>::ones([1, 1, width], options);
    let time = TemporalContext {
        frames: 3,
        first_frame: 0,
        tokens: Some(context.clone()),
        max_distance: None,
        observed: None,
    };
    let floats = (&Device::flex(), DType::F32);
    let mut state = video.unet.begin(UNetInput {
        sample: Tensor::ones([3, 8, 8, video.config.in_channels], options),
        timestep: Tensor::full([1], 500.0, floats),
        vector: Vector::Scalars(Tensor::full([1, 3], 6.0, floats)),
        context: Some(context),
    });
    let steps = video.unet.steps(video.temporal.as_ref());
    assert!(steps.len() > 10);
    for step in steps {
        state = step.forward(state, Some(&time));
        assert_eq!(state.features.dtype(), DType::BF16);
        assert_eq!(state.embedding.dtype(), DType::BF16);
        assert!(state.skips.iter().all(|skip| skip.dtype() == DType::BF16));
    }
    assert_eq!(video.unet.end(state).dtype(), DType::BF16);
}

/// The reference of another model is an error that says so, not a panic.
#[test]
fn the_reference_of_another_model() {
    let model = load(&case("odd_sd_conv").join("model"), DType::F32);
    let reference = Weights::open(case("svd").join("reference.safetensors")).expect("a reference");
    let error = verify(&model, &reference, 1e-4).expect_err("another model's");
    assert!(error.to_string().contains("another model's"), "{error}");
}
