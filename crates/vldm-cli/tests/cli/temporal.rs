//! Temporal layers on an image model: text to a clip.

use std::path::Path;

use burn::tensor::{DType, Device};
use vldm::model::{ModelDescription, save_temporal};
use vldm::nn::Init;
use vldm::nn::temporal::{AlphaConfig, TemporalStart};
use vldm::unet::{TemporalConfig, TemporalLayers};

use crate::support::{assert_close, parity, program, ran};

/// Fresh temporal layers for the tiny Stable Diffusion, which change nothing yet.
fn write_identity_layers(path: &Path) {
    let model = ModelDescription::open(parity("sd15/model"), None).expect("a model");
    let unet = model.unet.expect("a U-Net").config;
    let config = TemporalConfig {
        context_width: unet.context_width,
        observed: None,
        positions: true,
        alpha: AlphaConfig::Scalar,
        start: TemporalStart::Identity,
    };
    let layers = TemporalLayers::new(&unet, &config, &Init::new(&Device::flex(), 1));
    save_temporal(&layers, &config, path, DType::F32).expect("written");
}

#[test]
fn fresh_layers_make_a_clip_of_the_image_models_pictures() {
    let folder = tempfile::tempdir().expect("a folder");
    write_identity_layers(&folder.path().join("temporal.safetensors"));
    // Three rows of noise: three pictures, or three frames.
    let noise = parity("svd/pipeline_resized_in.safetensors");
    let generate = |arguments: &[&str]| {
        let ran = ran(program(folder.path())
            .args(["generate", "-p", "cat", "--sampler", "ddim", "--steps", "3"])
            .args(["--width", "64", "--height", "40", "--model"])
            .arg(parity("sd15/model"))
            .arg("--initial-latents")
            .arg(&noise)
            .args(arguments));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
    };
    generate(&[
        "--count",
        "3",
        "--save-latents",
        "p.safetensors",
        "-o",
        "p.png",
    ]);
    let clip = [
        "--frames",
        "3",
        "--fps",
        "24",
        "--decode-chunk",
        "2",
        "-o",
        "clip.mp4",
    ];
    let temporal = [
        "--temporal",
        "temporal.safetensors",
        "--save-latents",
        "c.safetensors",
    ];
    generate(&[clip.as_slice(), &temporal].concat());

    let (clip, pictures) = (
        folder.path().join("c.safetensors"),
        folder.path().join("p.safetensors"),
    );
    assert_close(&clip, &pictures, "latents", 1e-4);
    assert_close(&clip, &pictures, "pixels", 1e-3);
    let options = vldm_media::ReadOptions::default();
    let clip = vldm_media::read(folder.path().join("clip.mp4"), &options).expect("an MP4");
    assert_eq!(
        (clip.num_frames(), clip.width(), clip.height()),
        (3, 64, 40)
    );
    assert_eq!(clip.fps().to_string(), "24");
}

#[test]
fn a_stack_says_what_it_is_run_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let convert = ran(program(folder.path())
        .args(["model", "convert"])
        .arg(parity("sd15/model"))
        .arg("stack/model"));
    assert_eq!(convert.status, 0, "{}", convert.stderr);
    write_identity_layers(&folder.path().join("stack/temporal.safetensors"));
    let text = r#"
        format_version = 1
        note = "these weights know nothing"
        [key_frames]
        model = "model"
        temporal = "temporal.safetensors"
        usual = { width = 24, height = 16, frames = 3, fps = 12.0, steps = 2 }
    "#;
    std::fs::write(folder.path().join("stack/stack.toml"), text).expect("a file");
    let made = ran(program(folder.path()).args(["generate", "--model", "stack", "-p", "cat"]));
    assert_eq!(made.status, 0, "{}", made.stderr);
    assert_eq!(made.stdout, "vldm-0.mp4\n");
    assert!(
        made.stderr.contains("warning: these weights know nothing"),
        "{}",
        made.stderr
    );
    let options = vldm_media::ReadOptions::default();
    let info = vldm_media::probe(folder.path().join("vldm-0.mp4"), &options).expect("an MP4");
    assert_eq!((info.num_frames, info.width, info.height), (3, 24, 16));
    assert_eq!(info.fps.to_string(), "12");
}

#[test]
fn a_preset_written_to_disk_makes_what_the_preset_makes() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        let ran = ran(program(folder.path()).args(arguments));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.stderr
    };
    let preset = "tiny-sd15-video";
    run(&["model", "convert", preset, "model", "--weights-seed", "7"]);
    let settings = [
        "generate", "-p", "cat", "--width", "16", "--height", "16", "--frames", "2", "--steps", "2",
    ];
    let from_preset = [
        "--model",
        preset,
        "--weights-seed",
        "7",
        "--save-latents",
        "a.safetensors",
        "-o",
        "a.gif",
    ];
    let temporal = "model/temporal/keyframes.safetensors";
    let from_disk = [
        "--model",
        "model",
        "--temporal",
        temporal,
        "--sampler",
        "ddim",
        "--eta",
        "1",
        "--save-latents",
        "b.safetensors",
        "-o",
        "b.gif",
    ];
    let stderr = run(&[settings.as_slice(), &from_preset].concat());
    assert!(stderr.contains("random weights"), "{stderr}");
    run(&[settings.as_slice(), &from_disk].concat());
    let file = |name: &str| folder.path().join(name);
    assert_close(
        &file("b.safetensors"),
        &file("a.safetensors"),
        "latents",
        0.0,
    );
    assert_close(
        &file("b.safetensors"),
        &file("a.safetensors"),
        "pixels",
        0.0,
    );
}
