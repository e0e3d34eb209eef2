//! `vldm generate` against whole pipelines of the reference, and the files it writes.

use std::path::Path;

use crate::support::{assert_close, listing, parity, program, ran, tensor};

const PROMPT: &str = "A photo of a red car on a wet road, at night";

/// Runs `vldm generate` with a fixture's model in `folder`; returns standard output and error.
fn generate(folder: &Path, case: &str, arguments: &[&str]) -> (String, String) {
    let ran = ran(program(folder)
        .args(["generate", "--model"])
        .arg(parity(case).join("model"))
        .args(arguments));
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    (ran.stdout, ran.stderr)
}

fn path(text: &str) -> String {
    parity(text).display().to_string()
}

/// Stable Diffusion's pipeline `name` gives what the reference gave.
fn check_sd15(name: &str, eta: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let initial = path(&format!("sd15/{name}_in.safetensors"));
    generate(
        folder.path(),
        "sd15",
        &[
            "-p",
            PROMPT,
            "-n",
            "blurry, low quality",
            "--sampler",
            "ddim",
            "--steps",
            "12",
            "--eta",
            eta,
            "--guidance-scale",
            "7.5",
            "--width",
            "48",
            "--height",
            "64",
            "--initial-latents",
            &initial,
            "--save-latents",
            "out.safetensors",
            "-o",
            "a.png",
        ],
    );
    let got = folder.path().join("out.safetensors");
    let expected = parity(&format!("sd15/{name}_out.safetensors"));
    assert_close(&got, &expected, "latents", 1e-3);
    assert_close(&got, &expected, "pixels", 2e-3);
    assert_eq!(
        listing(folder.path()),
        ["a.json", "a.png", "out.safetensors"]
    );
}

#[test]
fn text_to_picture_reproduces_the_reference() {
    check_sd15("pipeline", "0");
}

#[test]
fn given_noise_of_each_step_reproduces_the_reference() {
    check_sd15("pipeline_eta1", "1");
}

/// Stable Video Diffusion's pipeline `name` gives what the reference gave.
fn check_svd(name: &str, image: &str, settings: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let initial = path(&format!("svd/{name}_in.safetensors"));
    let image = path(&format!("svd/{image}"));
    let mut arguments = vec![
        "--sampler",
        "euler",
        "--image",
        &image,
        "--initial-latents",
        &initial,
        "--save-latents",
        "out.safetensors",
        "-o",
        "clip.gif",
    ];
    arguments.extend(settings);
    generate(folder.path(), "svd", &arguments);
    let got = folder.path().join("out.safetensors");
    let expected = parity(&format!("svd/{name}_out.safetensors"));
    assert_close(&got, &expected, "latents", 1e-3);
    assert_close(&got, &expected, "pixels", 2e-3);
    assert_eq!(
        listing(folder.path()),
        ["clip.gif", "clip.json", "out.safetensors"]
    );
}

#[test]
fn picture_to_clip_reproduces_the_reference() {
    let settings = [
        "--width",
        "48",
        "--height",
        "64",
        "--frames",
        "4",
        "--steps",
        "8",
        "--fps",
        "7",
        "--motion-bucket",
        "127",
        "--noise-augmentation",
        "0.02",
        "--guidance-scale",
        "1:3",
    ];
    check_svd("pipeline", "picture_48x64.png", &settings);
}

#[test]
fn a_picture_of_another_size_reproduces_the_reference() {
    let settings = [
        "--width",
        "64",
        "--height",
        "40",
        "--frames",
        "3",
        "--steps",
        "4",
        "--fps",
        "12",
        "--motion-bucket",
        "40",
        "--noise-augmentation",
        "0.1",
        "--guidance-scale",
        "1.5:2.5",
    ];
    check_svd("pipeline_resized", "picture_330x256.png", &settings);
}

const SMALL: [&str; 6] = ["--width", "16", "--height", "16", "--steps", "2"];

#[test]
fn samples_have_their_own_seeds_and_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = vec!["-p", "cat", "--seed", "5", "--count", "2", "-o", "cat.png"];
    arguments.extend(SMALL);
    arguments.extend(["--save-latents", "both.safetensors"]);
    let (stdout, _) = generate(folder.path(), "sd15", &arguments);
    assert_eq!(stdout, "cat-0.png\ncat-1.png\n");
    let written = [
        "both.safetensors",
        "cat-0.json",
        "cat-0.png",
        "cat-1.json",
        "cat-1.png",
    ];
    assert_eq!(listing(folder.path()), written);

    let mut alone = vec![
        "-p",
        "cat",
        "--seed",
        "6",
        "--threads",
        "1",
        "-o",
        "alone.png",
    ];
    alone.extend(SMALL);
    alone.extend(["--save-latents", "alone.safetensors"]);
    generate(folder.path(), "sd15", &alone);
    let (shape, both) = tensor(&folder.path().join("both.safetensors"), "latents");
    let (_, alone) = tensor(&folder.path().join("alone.safetensors"), "latents");
    assert_eq!(shape, [2, 4, 2, 2]);
    assert_eq!(
        both[16..],
        alone,
        "bit for bit, whatever the batch and the threads"
    );
    assert_ne!(both[..16], both[16..]);
}

#[test]
fn outputs_carry_what_made_them_unless_told_not_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = vec!["-p", "cat", "--seed", "3"];
    arguments.extend(SMALL);
    let (stdout, _) = generate(folder.path(), "sd15", &arguments);
    assert_eq!(stdout, "vldm-3.png\n");
    let output = folder.path().join("vldm-3.png");
    let inside = vldm_media::read_metadata(&output)
        .expect("readable")
        .expect("there");
    let beside = std::fs::read_to_string(folder.path().join("vldm-3.json")).expect("readable");
    let beside: serde_json::Value = serde_json::from_str(&beside).expect("JSON");
    assert_eq!(inside, beside);
    assert_eq!(inside["seed"], 3);
    assert_eq!(inside["settings"]["prompt"], "cat");
    assert_eq!(inside["settings"]["steps"], 2);
    assert_eq!(inside["version"], env!("CARGO_PKG_VERSION"));

    arguments.extend(["--disable-metadata", "-o", "plain.png"]);
    generate(folder.path(), "sd15", &arguments);
    assert!(!folder.path().join("plain.json").exists());
    let inside = vldm_media::read_metadata(folder.path().join("plain.png"));
    assert_eq!(inside.expect("readable"), None);
}

#[test]
fn a_prompt_that_is_cut_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = "red ".repeat(90) + "and_blue";
    let mut arguments = vec!["-p", &long, "-o", "a.png"];
    arguments.extend(SMALL);
    let (_, stderr) = generate(folder.path(), "sd15", &arguments);
    assert!(
        stderr.contains("warning: the prompt is longer than 77 tokens"),
        "{stderr}"
    );
    assert!(stderr.contains("blue"), "{stderr}");
}

#[test]
fn a_dry_run_tells_the_plan_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = path("svd/picture_48x64.png");
    let arguments = [
        "--image",
        &image,
        "--frames",
        "14",
        "--width",
        "1024",
        "--height",
        "576",
        "--steps",
        "25",
        "-o",
        "clip.mp4",
        "--save-latents",
        "l.safetensors",
        "--dry-run",
    ];
    let (stdout, _) = generate(folder.path(), "svd", &arguments);
    for part in [
        "14 frames of 1024 x 576",
        "25 steps",
        "memory",
        "clip.mp4",
        "1 to 3",
    ] {
        assert!(stdout.contains(part), "{part} not in\n{stdout}");
    }
    let mut as_json = arguments.to_vec();
    as_json.push("--json");
    let (stdout, _) = generate(folder.path(), "svd", &as_json);
    let plan: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(plan["plan"]["frames"], 14);
    assert_eq!(plan["plan"]["network_calls"], 50);
    assert!(plan["peak_memory"].as_u64().is_some_and(|bytes| bytes > 0));
    assert_eq!(listing(folder.path()), [""; 0]);
}

#[test]
fn a_memory_budget_makes_decoding_smaller_before_it_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = path("svd/picture_48x64.png");
    let plan = |budget: &str| {
        let ran = ran(program(folder.path())
            .args(["generate", "--model"])
            .arg(parity("svd/model"))
            .args([
                "--image", &image, "--frames", "14", "--width", "512", "--height", "512",
            ])
            .args(["--dry-run", "--json"])
            .args(["--max-memory", budget]));
        (ran.status, ran.stdout, ran.stderr)
    };
    let (status, stdout, stderr) = plan("100GB");
    assert_eq!(status, 0, "{stderr}");
    let free: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let memory = &free["plan"]["memory"];
    let bytes = |name: &str| memory[name].as_u64().expect("a number");
    assert_eq!(free["plan"]["decode_chunk"], 14);
    assert!(bytes("decoding") > bytes("sampling"), "{memory}");

    let tight =
        (bytes("weights") + bytes("decoding") / 2).max(bytes("weights") + bytes("sampling"));
    let (status, stdout, stderr) = plan(&tight.to_string());
    assert_eq!(status, 0, "{stderr}");
    let tight: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert!(
        tight["plan"]["decode_chunk"].as_u64() < Some(14),
        "{stdout}"
    );

    let (status, _, stderr) = plan("1MB");
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains("--max-memory allows 1.00 MB"), "{stderr}");
}

#[test]
fn without_a_model_the_shipped_stack_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = folder.path().join("clip.mp4");
    let ran = ran(program(&root)
        .args(["generate", "-p", "a road at night", "--steps", "1"])
        .args(["--stage-steps", "interpolation=1"])
        .args(["--frames", "9", "--width", "256", "--height", "128", "-o"])
        .arg(&output));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(listing(folder.path()), ["clip.json", "clip.mp4"]);
    let metadata = vldm_media::read_metadata(&output).expect("readable");
    assert_eq!(metadata.expect("there")["model"], "assets/default");
    let clip = vldm_media::probe(&output, &vldm_media::ReadOptions::default()).expect("a clip");
    assert_eq!((clip.num_frames, clip.width, clip.height), (9, 256, 128));
}
