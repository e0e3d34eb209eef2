//! Whole stacks from the command line: assembled of tiny models, run, rolled out, taken apart.

use std::path::Path;
use std::process::Command;

use vldm_media::{ReadOptions, read};

use crate::support::{program, ran};

fn ok(command: &mut Command) -> String {
    let ran = ran(command);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    ran.stderr
}

fn preset(name: &str) -> String {
    format!("{}/../../presets/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

/// A stack of models with random weights in `folder/stack`.
fn assembled(folder: &Path, stack: &str, stages: &[(&str, &str)]) {
    for (stage, model) in stages {
        ok(program(folder).args(["model", "convert", &preset(model), stage]));
    }
    let stages = stages
        .iter()
        .map(|(stage, _)| format!("--stage={stage}={stage}"));
    ok(program(folder)
        .args(["model", "assemble", stack, "stack", "--dtype", "f32"])
        .args(stages));
    // Few steps: what is tested does not depend on them.
    let path = folder.join("stack/stack.toml");
    let text = std::fs::read_to_string(&path).expect("written");
    let lines = text.lines().map(|line| match line.starts_with("steps = ") {
        true => "steps = 1",
        false => line,
    });
    let text: Vec<&str> = lines.collect();
    std::fs::write(&path, text.join("\n")).expect("written");
}

fn driving(folder: &Path) {
    let stages = [
        ("image", "tiny-driving"),
        ("boxes", "tiny-driving-boxes"),
        ("prediction", "tiny-driving-prediction"),
        ("interpolation", "tiny-driving-interpolation"),
        ("decoder", "tiny-driving"),
        ("upsampler", "tiny-driving-upsampler"),
    ];
    assembled(folder, "tiny-stack-driving", &stages);
}

#[test]
fn text_to_video_goes_the_whole_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let stages = [
        ("key_frames", "tiny-sd21-video"),
        ("interpolation", "tiny-sd15-interpolation"),
        ("decoder", "tiny-temporal-decoder-3x3x3"),
        ("upsampler", "tiny-x4-upscaler-video"),
    ];
    assembled(folder.path(), "tiny-stack-text-to-video", &stages);
    let arguments = [
        "generate", "-p", "a road", "--model", "stack", "--frames", "5",
    ];
    ok(program(folder.path()).args(arguments).args([
        "--width",
        "128",
        "--height",
        "128",
        "--steps",
        "1",
        "--save-latents",
        "l.safetensors",
        "-o",
        "clip.mp4",
    ]));
    let clip = read(folder.path().join("clip.mp4"), &ReadOptions::default()).expect("a clip");
    assert_eq!(
        (clip.num_frames(), clip.width(), clip.height()),
        (5, 128, 128)
    );
    // The same latents, decoded alone: the size before the upsampler.
    ok(program(folder.path()).args(["decode", "l.safetensors", "--model", "stack", "-o", "d.mp4"]));
    let small = read(folder.path().join("d.mp4"), &ReadOptions::default()).expect("a clip");
    assert_eq!((small.num_frames(), small.width()), (5, 32));
    let plan = ran(program(folder.path()).args(arguments).arg("--dry-run"));
    assert!(
        plan.stdout.contains("2 times, to 113 frames"),
        "{}",
        plan.stdout
    );
    a_personal_model_takes_part(folder.path());
}

/// The same stack with a subject's model: clips, and pictures of its image model alone.
fn a_personal_model_takes_part(folder: &Path) {
    ok(program(folder).args(["model", "convert", &preset("tiny-sd21"), "subject"]));
    let generate = |model: &str, prompt: &str, output: &str| {
        let model = ["--model", model, "--personal", "subject"];
        ran(program(folder)
            .args(["generate", "-p", prompt, "-o", output, "--steps", "1"])
            .args(["--width", "64", "--height", "64"])
            .args(["--frames", "3"])
            .args(model))
    };
    let made = generate("stack", "a (sks) car", "s.mp4");
    assert_eq!(made.status, 0, "{}", made.stderr);
    let settings = std::fs::read_to_string(folder.join("s.json")).expect("written");
    assert!(settings.contains("\"personal\": \"subject\""), "{settings}");
    for (model, prompt, expected) in [
        ("stack", "a (sks car", "other half"),
        ("key_frames", "a (sks car", "other half"),
    ] {
        let refused = generate(model, prompt, "x.mp4");
        assert_ne!(refused.status, 0);
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
    assert!(!folder.join("x.mp4").exists());
    let made = generate("key_frames", "a (sks) car", "k.mp4");
    assert_eq!(made.status, 0, "{}", made.stderr);
}

#[test]
fn rollouts_begin_with_the_same_frame_and_differ_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    driving(folder.path());
    let scene = r#"{"boxes": [{"x0": 0.4, "y0": 0.5, "x1": 0.6, "y1": 0.7, "class": 1}]}"#;
    std::fs::write(folder.path().join("scene.json"), scene).expect("written");
    ok(program(folder.path()).args([
        "drive",
        "--scene",
        "scene.json",
        "--seconds",
        "0.5",
        "--rollouts",
        "2",
        "--model",
        "stack",
        "-o",
        "drive.mp4",
    ]));
    let clip =
        |name: &str| read(folder.path().join(name), &ReadOptions::default()).expect("a clip");
    let (one, two) = (clip("drive-0.mp4"), clip("drive-1.mp4"));
    assert_eq!((one.num_frames(), one.width(), one.height()), (15, 128, 64));
    assert_ne!(one.frames()[14], two.frames()[14]);
    assert_eq!(clip("drive.mp4").width(), 2 * 128 + 4);
    // What an interruption would need is gone.
    assert!(!folder.path().join("drive-0.mp4.rollout").exists());
}

#[test]
fn finished_rollouts_are_not_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    driving(folder.path());
    let drive = |more: &[&str]| {
        ok(program(folder.path())
            .args(["drive", "--seconds", "0.5", "--rollouts", "2"])
            .args(["--model", "stack", "-o", "frames"])
            .args(more))
    };
    drive(&["--keep-latents"]);
    let at = |name: &str| folder.path().join(name);
    let first = at("frames-0/frame_00000.png");
    let written = |path: &Path| {
        let info = std::fs::metadata(path).expect("a frame");
        (
            info.modified().expect("a time"),
            std::fs::read(path).expect("a frame"),
        )
    };
    let (before, second) = (written(&first), written(&at("frames-1/frame_00014.png")).1);
    // As after a kill in the midst of the second one.
    std::fs::remove_dir_all(at("frames-1")).expect("there");
    std::fs::remove_dir_all(at("frames")).expect("there");
    std::fs::remove_file(at("frames-1.rollout/finished")).expect("there");
    drive(&[]);
    assert_eq!(written(&first), before);
    assert_eq!(written(&at("frames-1/frame_00014.png")).1, second);
    assert!(at("frames/frame_00000.png").exists());
    assert!(!at("frames-0.rollout").exists() && !at("frames-1.rollout").exists());
}

#[test]
fn what_would_change_nothing_is_refused_before_weights_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    driving(folder.path());
    std::fs::write(folder.path().join("drive.json"), "{}").expect("written");
    let check = |line: &str, expected: &str| {
        let words = line.split_whitespace();
        let ran = ran(program(folder.path())
            .args(words)
            .args(["--model", "stack"]));
        assert_ne!(ran.status, 0, "{line}");
        assert!(ran.stderr.contains(expected), "{line}: {}", ran.stderr);
    };
    check(
        "drive --scene drive.json -o drive.mp4",
        "written over drive.json",
    );
    check("drive --stage-steps key-frames=3 -o x.mp4", "has no stage");
    check(
        "drive --stage-steps interpolation=1001 -o x.mp4",
        "the stage \"interpolation\"",
    );
    check(
        "generate --frames 1 --until upsampler -o x.png",
        "--until was given",
    );
    check("generate --frames 1 --tile 64 -o x.png", "--tile was given");
    check(
        "generate --label night=1 --lora a.safetensors -o x.mp4",
        "is a whole stack",
    );
    check("upsample drive.json -p road -o x.mp4", "drive.json");
    let drive = std::fs::read_to_string(folder.path().join("drive.json"));
    assert_eq!(drive.expect("still there"), "{}");
}

#[test]
fn single_stages_take_the_user_s_own_clips() {
    let folder = tempfile::tempdir().expect("a folder");
    driving(folder.path());
    ok(program(folder.path()).args([
        "drive",
        "--label",
        "night=1",
        "--seconds",
        "0.1",
        "--guidance-scale",
        "2",
        "--stage-steps",
        "prediction=2",
        "--model",
        "stack",
        "-o",
        "in",
    ]));
    ok(program(folder.path()).args(["interpolate", "in", "--model", "stack", "-o", "more"]));
    let clip =
        |name: &str| read(folder.path().join(name), &ReadOptions::default()).expect("a clip");
    let (few, more) = (clip("in"), clip("more"));
    assert_eq!(more.num_frames(), 4 * (few.num_frames() - 1) + 1);
    ok(program(folder.path()).args([
        "upsample", "in", "--model", "stack", "--tile", "64", "-o", "large",
    ]));
    assert_eq!(clip("large").width(), 512);
    ok(program(folder.path()).args(["encode", "in", "--model", "stack", "-o", "in.safetensors"]));
    ok(program(folder.path()).args([
        "decode",
        "in.safetensors",
        "--model",
        "stack",
        "-o",
        "again",
    ]));
    assert_eq!(clip("again").num_frames(), few.num_frames());
    // A model with an autoencoder does as well.
    for line in [
        "encode in -o in2.safetensors",
        "decode in.safetensors -o again2",
    ] {
        let line = line.split(' ').chain(["--model", "decoder"]);
        ok(program(folder.path()).args(line));
    }
    assert_eq!(clip("again2").num_frames(), few.num_frames());
}

#[test]
fn a_memory_budget_chooses_tiles() {
    let folder = tempfile::tempdir().expect("a folder");
    let dry = |more: &[&str]| {
        ran(program(folder.path())
            .args(["generate", "-p", "a road", "--model", "stack-text-to-video"])
            .args(["--dry-run", "--json"])
            .args(more))
    };
    let fits = dry(&["--max-memory", "14GB"]);
    let plan: serde_json::Value = serde_json::from_str(&fits.stdout).expect("JSON");
    let (whole, tile) = (512, plan["plan"]["upsample"]["tile"].as_u64());
    assert!(tile.is_some_and(|tile| tile < whole), "{plan}");
    assert!(
        plan["peak_memory"]
            .as_u64()
            .is_some_and(|n| n <= 14_000_000_000)
    );
    let chosen = dry(&["--max-memory", "14GB", "--tile", "512"]);
    assert_eq!(chosen.status, 2);
    assert!(
        chosen.stderr.contains("upsampler is expected to take"),
        "{}",
        chosen.stderr
    );
    let little = dry(&["--max-memory", "1GB"]);
    assert_eq!(little.status, 2);
    assert!(
        little.stderr.contains("of it for weights"),
        "{}",
        little.stderr
    );
}

#[test]
fn samples_like_a_set_of_clips_are_a_set_of_clips() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("made")).expect("a folder");
    let like = |count: &str| {
        ran(program(folder.path())
            .args([
                "generate",
                "--model",
                "tiny-driving-boxes",
                "--like",
                "world:3",
            ])
            .args(["--count", count, "--steps", "1", "-o", "made/car.png"]))
    };
    assert_eq!(like("2").status, 0);
    let lines = std::fs::read_to_string(folder.path().join("made/metadata.jsonl"));
    let lines = lines.expect("a file");
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["file_name"], "car-1.png");
    // What the model does not read it was not told.
    assert!(lines.iter().all(|line| line["text"].is_null()));
    assert!(lines.iter().any(|line| line["boxes"][0][0].is_array()));
    let settings = std::fs::read(folder.path().join("made/car-1.json")).expect("settings");
    let settings: serde_json::Value = serde_json::from_slice(&settings).expect("JSON");
    let told = settings["settings"]["boxes"].as_array().map(Vec::len);
    assert_eq!(
        told,
        lines[1]["boxes"][0].as_array().map(Vec::len).or(Some(0))
    );
    ok(program(folder.path()).args(["data", "scan", "made"]));
    let again = like("2");
    assert_eq!(again.status, 2);
    assert!(
        again.stderr.contains("is there already"),
        "{}",
        again.stderr
    );
}

#[test]
fn pictures_obey_labels_and_boxes_without_a_stack() {
    let folder = tempfile::tempdir().expect("a folder");
    let scene = r#"{"boxes": [{"x0": 0.4, "y0": 0.5, "x1": 0.6, "y1": 0.7, "class": 1}]}"#;
    std::fs::write(folder.path().join("scene.json"), scene).expect("written");
    let picture = |model: &str, more: &[&str], name: &str| {
        ok(program(folder.path())
            .args(["generate", "--model", model, "--steps", "2", "-o", name])
            .args(more));
        vldm_media::read_image(folder.path().join(name)).expect("a picture")
    };
    let day = picture("tiny-driving", &["--label", "night=0"], "day.png");
    let night = picture("tiny-driving", &["--label", "night=1"], "night.png");
    assert_ne!(day, night);
    let scene = ["--scene", "scene.json"];
    let cars = picture("tiny-driving-boxes", &scene, "cars.png");
    assert_ne!(cars, picture("tiny-driving-boxes", &[], "none.png"));
    let refused = |arguments: &[&str], expected: &str| {
        let ran = ran(program(folder.path()).arg("generate").args(arguments));
        assert_eq!(ran.status, 2);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    refused(
        &["--model", "tiny-driving", "--scene", "scene.json"],
        "reads no boxes",
    );
    refused(
        &["--model", "tiny-driving", "-p", "a road"],
        "reads no text",
    );
    refused(
        &[
            "--model",
            "tiny-stack-text-to-video",
            "--scene",
            "scene.json",
        ],
        "in one frame",
    );
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    driving(folder.path());
    let refused = |arguments: &[&str], expected: &str| {
        let ran = ran(program(folder.path())
            .args(arguments)
            .args(["--model", "stack"]));
        assert_ne!(ran.status, 0);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    refused(
        &["drive", "--label", "rain=1", "-o", "x.mp4"],
        "knows no label \"rain\"",
    );
    refused(&["drive", "-p", "a road", "-o", "x.mp4"], "reads no text");
    std::fs::write(folder.path().join("bad.json"), "{\"box\": []}").expect("written");
    refused(
        &["drive", "--scene", "bad.json", "-o", "x.mp4"],
        "unknown field `box`",
    );
    let outside = r#"{"boxes": [{"x0": 0.4, "y0": 0.5, "x1": 1.6, "y1": 0.7}]}"#;
    std::fs::write(folder.path().join("out.json"), outside).expect("written");
    refused(
        &["drive", "--scene", "out.json", "-o", "x.mp4"],
        "within 0 to 1",
    );
    let unnamed = r#"{"boxes": [{"x0": 0.4, "y0": 0.5, "x1": 0.6, "y1": 0.7, "class": "bus"}]}"#;
    std::fs::write(folder.path().join("bus.json"), unnamed).expect("written");
    refused(
        &["drive", "--scene", "bus.json", "-o", "x.mp4"],
        "no class is called \"bus\"",
    );
    std::fs::remove_file(folder.path().join("stack/temporal/prediction.safetensors"))
        .expect("there");
    refused(
        &["drive", "-o", "x.mp4"],
        "which stack.toml names for the stage \"prediction\"",
    );
    assert!(!folder.path().join("x.mp4").exists());
}
