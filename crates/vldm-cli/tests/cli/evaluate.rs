//! `vldm evaluate`: networks are trained, clips are measured, and nothing is taken for published.

use std::path::Path;

use serde_json::Value;

use crate::support::run;

const FEW: &str = "--steps 2 --batch 2 --windows 4 --held-out 3 --threads 1 --dtype f32";
const CLIPS: &str = "--count 5 --frames 2 --fps 2";

fn json(folder: &Path, line: &str) -> Value {
    let ran = run(folder, line);
    assert_eq!(ran.status, 0, "{line}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn number(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("{path} in {value}"))
}

#[test]
fn networks_are_trained_and_measure() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for network in ["features", "detector"] {
        let line = format!("evaluate train {network} -o {network}.safetensors {FEW}");
        let ran = run(folder, &line);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("training.steps"), "{}", ran.stdout);
    }
    let features = format!("--features features.safetensors {CLIPS}");
    let fvd = json(
        folder,
        &format!("evaluate fvd world:1 world:2 --json {features}"),
    );
    assert!(number(&fvd, "/result/distance/value") > 0.0);
    let note = fvd["note"].as_str().unwrap();
    assert!(note.contains("not comparable with published numbers"));
    let fid = json(
        folder,
        &format!("evaluate fid world:1 world:1 --json {features}"),
    );
    assert!(number(&fid, "/result/distance/value") < 1e-6, "{fid}");
    let ran = run(
        folder,
        &format!("evaluate baselines world:0 --held-out world:3 {features}"),
    );
    assert!(
        ran.stdout.contains("frozen first frame"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert!(ran.stdout.contains("not comparable"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("5 and 5 clips are too few"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("has learnt from"), "{}", ran.stderr);
    let detector = format!("--detector detector.safetensors {CLIPS}");
    let boxes = json(folder, &format!("evaluate boxes world:1 --json {detector}"));
    assert!(number(&boxes, "/results/0/count") > 0.0);
    let both = format!("--features features.safetensors {detector}");
    let labels = json(folder, &format!("evaluate labels world:1 --json {both}"));
    assert!((0.0..=1.0).contains(&number(&labels, "/night_accuracy/value")));
    assert!((0.5..=1.0).contains(&number(&labels, "/night_by_chance")));
    known_worlds_and_types(folder, &detector);
    let line = format!("evaluate fvd world:0 world:2 --features detector.safetensors {CLIPS}");
    let ran = run(folder, &line);
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("it holds detector"), "{}", ran.stderr);
}

/// The detector has learnt from the worlds of seed 1.
fn known_worlds_and_types(folder: &Path, detector: &str) {
    let ran = run(folder, &format!("evaluate prompts world:1 {detector}"));
    assert!(
        ran.stderr.contains("the network has learnt from world:1"),
        "{}",
        ran.stderr
    );
    let ran = run(
        folder,
        &format!("evaluate boxes world:2 {detector} --dtype bf16"),
    );
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("measuring is in f32"), "{}", ran.stderr);
}

#[test]
fn the_same_seed_trains_the_same_network() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let line = format!("evaluate train detector -o {name}.safetensors {FEW}");
        assert_eq!(run(folder.path(), &line).status, 0);
    }
    let tensors = ["a", "b"].map(|name| {
        let bytes = std::fs::read(folder.path().join(format!("{name}.safetensors"))).unwrap();
        // The header says how long the training took.
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    });
    assert!(tensors[0] == tensors[1]);
}

#[test]
fn clips_are_measured_without_networks() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let world = "data world --clips 2 --seconds 1 --fps 8 --width 64 --height 32 --out worlds";
    assert_eq!(run(folder, world).status, 0);
    let drift = json(
        folder,
        "evaluate drift worlds/00000.mp4 --segments 4 --json",
    );
    assert_eq!(drift["segments"].as_array().unwrap().len(), 4);
    assert_eq!(number(&drift, "/drift/0/sharpness"), 1.0);
    assert_eq!(drift.get("note"), None);
    let pixels = json(
        folder,
        "evaluate pixels worlds/00000.mp4 worlds/00000.mp4 --json",
    );
    assert_eq!(pixels["identical"], true);
    let two = "worlds/00000.mp4 worlds/00001.mp4";
    let spread = json(folder, &format!("evaluate spread {two} --json"));
    assert_eq!(spread["spread"].as_array().unwrap().len(), 8);
    assert!(number(&spread, "/spread/0") > 0.0);
    let psnr = number(
        &json(folder, &format!("evaluate pixels {two} --json")),
        "/psnr",
    );
    assert!((3.0..30.0).contains(&psnr), "{psnr}");
    let ran = run(folder, "evaluate drift worlds/00000.mp4 --segments 9");
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr.contains("9 segments of a clip of 8 frames"),
        "{}",
        ran.stderr
    );
}
