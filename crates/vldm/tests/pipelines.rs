//! Whole pipelines from given initial latents against diffusers'; see `parity/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use serde_json::Value;
use vldm::checkpoint::Weights;
use vldm::diffusion::Guidance;
use vldm::model::{LoadSettings, Model, ModelDescription};
use vldm::pipeline::{GenerateRequest, Generation, GivenTensors, Plan, Progress, Sample};
use vldm::sampler::SamplerConfig;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity")
        .join(name)
}

fn request(settings: &Value) -> GenerateRequest {
    let number = |key: &str| settings[key].as_u64().map(|value| value as usize);
    let text = |key: &str| settings[key].as_str().map(str::to_owned);
    let eta = settings["eta"].as_f64().unwrap_or(0.0);
    GenerateRequest {
        prompt: text("prompt"),
        negative_prompt: text("negative_prompt"),
        width: number("width"),
        height: number("height"),
        frames: number("frames"),
        fps: number("fps").map(|fps| fps.to_string().parse().expect("a rate")),
        steps: number("steps"),
        sampler: Some(match settings["sampler"].as_str() {
            Some("euler") => SamplerConfig::Euler {},
            _ => SamplerConfig::Ddim { eta },
        }),
        guidance: Some(match &settings["guidance_scale"] {
            Value::Array(ends) => Guidance::PerFrame {
                first: ends[0].as_f64().expect("first"),
                last: ends[1].as_f64().expect("last"),
            },
            scale => Guidance::ClassifierFree {
                scale: scale.as_f64().expect("a scale"),
            },
        }),
        motion_bucket: settings["motion_bucket"].as_f64(),
        noise_augmentation: settings["noise_augmentation"].as_f64(),
        ..GenerateRequest::default()
    }
}

fn run(model: &Model, settings: &Value, folder: &Path) -> Sample {
    let plan = Plan::new(&model.description, &request(settings), None, 4).expect("a plan");
    let input = settings["input"].as_str().expect("a file");
    let given = Weights::open(folder.join(input)).expect("tensors");
    let given = GivenTensors::read(&given, &model.device).expect("latents");
    let picture = settings["image"]
        .as_str()
        .map(|name| vldm_media::read_image(folder.join(name)).expect("a picture"));
    let generation = Generation::new(model, plan, picture, given).expect("a run");
    for progress in generation {
        if let Progress::Finished(sample) = progress.expect("a step") {
            return *sample;
        }
    }
    panic!("no sample was finished");
}

fn largest_error<const D: usize>(got: Tensor<D>, expected: &Weights, name: &str) -> f32 {
    let got = got.into_data().try_to_vec::<f32>().expect("f32");
    let expected = expected.data(name).expect("the reference").convert::<f32>();
    let expected = expected.try_to_vec::<f32>().expect("f32");
    assert_eq!(got.len(), expected.len(), "{name}");
    let error = |(a, b): (&f32, &f32)| (a - b).abs();
    got.iter().zip(&expected).map(error).fold(0.0, f32::max)
}

/// Final latents within 1e-3 and pixels within 2e-3 of the reference's.
fn check(name: &str, pipeline: &str) {
    let folder = case(name);
    let settings = std::fs::read(folder.join(format!("{pipeline}.json"))).expect("settings");
    let settings: Value = serde_json::from_slice(&settings).expect("JSON");
    let description = ModelDescription::open(folder.join("model"), None).expect("a model");
    let to = LoadSettings {
        device: Device::flex(),
        dtype: DType::F32,
        temporal: None,
    };
    let model = description.load(&to).expect("weights");
    let sample = run(&model, &settings, &folder);
    let output = settings["output"].as_str().expect("a file");
    let expected = Weights::open(folder.join(output)).expect("a reference");
    let latents = largest_error(sample.latents, &expected, "latents");
    let pixels = largest_error(sample.pixels, &expected, "pixels");
    println!("{name}/{pipeline}: latents {latents:.2e}, pixels {pixels:.2e}");
    assert!(
        latents <= 1e-3,
        "{name}/{pipeline}: latents differ by {latents:e}"
    );
    assert!(
        pixels <= 2e-3,
        "{name}/{pipeline}: pixels differ by {pixels:e}"
    );
}

#[test]
fn stable_diffusion_with_ddim() {
    check("sd15", "pipeline");
}

#[test]
fn stable_diffusion_with_noise_in_every_step() {
    check("sd15", "pipeline_eta1");
}

#[test]
fn stable_video_diffusion_with_euler() {
    check("svd", "pipeline");
}

#[test]
fn a_picture_of_another_size() {
    check("svd", "pipeline_resized");
}

/// The picture as the autoencoder reads it: resized as Pillow does, to the rounding of a byte.
#[test]
fn pictures_are_resized_as_the_reference_does() {
    let folder = case("svd");
    let picture = vldm_media::read_image(folder.join("picture_330x256.png")).expect("a picture");
    let resized =
        vldm_media::resize(&picture, 64, 40, vldm_media::Filter::Lanczos).expect("a size");
    let device = Device::flex();
    let given = Weights::open(folder.join("pipeline_resized_in.safetensors")).expect("tensors");
    let given = GivenTensors::read(&given, &device).expect("noise");
    let noise = given.image_noise.expect("noise").mul_scalar(0.1);
    let input = vldm::pipeline::frame_to_pixels(&resized, &device) + noise;
    let expected = Weights::open(folder.join("pipeline_resized_out.safetensors")).expect("tensors");
    let error = largest_error(input, &expected, "intermediate/encoder_input");
    assert!(error < 1e-5, "{error:e}, where a byte is {:e}", 2.0 / 255.0);
}
