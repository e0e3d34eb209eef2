//! `vldm train`: runs that are killed and go on, what they leave, and what is refused.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{listing, program, ran, run};

const RECIPE: &str = r#"
stage = "image"
steps = 8
learns = ["unet.", "text_encoder."]

[model]
base = "tiny-sd15"
# The table of words has more than five million entries: sums over it are split.
[model.unet]
context_width = 104
[model.text_encoder]
width = 104
heads = 2

[data]
type = "world"
clips = 6
seconds = 1.0

[held_out]
type = "world"
clips = 2
seed = 9
seconds = 1.0

[batch]
size = 2
sizes = [[32, 64]]

[evaluation]
every = 4
batches = 1
levels = [0.2, 0.8]

[samples]
every = 8
count = 1
steps = 2

[checkpoints]
every = 3
keep_best = 0
"#;

fn with_recipe(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("recipe.toml"), text).unwrap();
    folder
}

/// What a run recorded, without what depends on the clock.
fn curve(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let clocks = ["examples_per_second", "waited_share", "seconds"];
    text.lines()
        .map(|line| {
            let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
            for clock in clocks {
                record.as_object_mut().unwrap().remove(clock);
            }
            record.to_string()
        })
        .collect()
}

#[test]
fn a_killed_run_goes_on_bit_for_bit() {
    let folder = with_recipe(RECIPE);
    let whole = run(folder.path(), "train image recipe.toml --out whole");
    assert_eq!(whole.status, 0, "{}", whole.stderr);
    let expected = curve(&folder.path().join("whole"));
    // Eight steps and three measurements: before, at step 4 and at step 8.
    assert_eq!(expected.len(), 11);

    let killed = folder.path().join("killed");
    let mut child = program(folder.path())
        .args(["train", "image", "recipe.toml", "--out", "killed"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let steps = || fs::read_to_string(killed.join("metrics.jsonl")).unwrap_or_default();
    while steps().lines().count() < 6 {
        assert!(begin.elapsed() < Duration::from_secs(300), "no fifth step");
        std::thread::sleep(Duration::from_millis(5));
    }
    // SIGKILL: nothing can be saved.
    child.kill().unwrap();
    child.wait().unwrap();

    let resumed = run(
        folder.path(),
        "train image recipe.toml --out killed --resume --threads 1",
    );
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    assert!(
        resumed.stderr.contains("going on after step 3"),
        "{}",
        resumed.stderr
    );
    assert_eq!(curve(&killed), expected);

    let last = "checkpoints/step-00000008";
    for file in [
        "training/weights.safetensors",
        "training/optimizer.safetensors",
    ] {
        let [a, b] = ["whole", "killed"]
            .map(|run| fs::read(folder.path().join(run).join(last).join(file)).unwrap());
        assert!(a == b, "{file}");
    }
}

/// No file may grow beyond 16 KiB there: what a full disk is like, for everyone.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    const SMALL: &str = r#"
stage = "image"
steps = 1
[model]
base = "tiny-sd15"
[data]
type = "world"
clips = 6
seconds = 1.0
[batch]
size = 1
sizes = [[32, 32]]
"#;
    let folder = with_recipe(SMALL);
    let begun = run(folder.path(), "train image recipe.toml --out run");
    assert_eq!(begun.status, 0, "{}", begun.stderr);
    let longer = SMALL.replace("steps = 1", "steps = 2");
    fs::write(folder.path().join("recipe.toml"), longer).unwrap();

    let on = "train image recipe.toml --out run --resume --changed-recipe";
    let limited = format!(
        "trap '' XFSZ; ulimit -f 32; exec {} {on}",
        env!("CARGO_BIN_EXE_vldm")
    );
    let full = ran(std::process::Command::new("sh")
        .current_dir(folder.path())
        .args(["-c", &limited]));
    assert_eq!(full.status, 1, "{}", full.stderr);
    let error = full.stderr.lines().last().unwrap_or_default();
    assert!(
        error.starts_with("error: ") && error.contains("checkpoints") && error.contains("write"),
        "{}",
        full.stderr
    );
    let checkpoints = folder.path().join("run/checkpoints");
    assert_eq!(listing(&checkpoints), ["step-00000001"]);

    let resumed = run(folder.path(), on);
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    assert_eq!(listing(&checkpoints), ["step-00000001", "step-00000002"]);
}

#[test]
fn a_run_leaves_a_model_to_sample_from() {
    let folder = with_recipe(RECIPE);
    let ran = run(folder.path(), "train image recipe.toml --out run");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "run/checkpoints/step-00000008\n");
    let out = folder.path().join("run");
    let files: Vec<String> = listing(&out)
        .into_iter()
        .filter(|name| !name.starts_with("events.out.tfevents."))
        .collect();
    assert_eq!(
        files,
        [
            "checkpoints",
            "metrics.jsonl",
            "plot.png",
            "recipe.toml",
            "samples"
        ]
    );
    assert_eq!(
        listing(&out.join("checkpoints")),
        ["step-00000006", "step-00000008"]
    );
    assert_eq!(listing(&out.join("samples")), ["step-00000008.png"]);

    let generate = "generate --model run/checkpoints/step-00000008 -p car --sampler ddim --steps 2 \
                    --width 64 --height 32 -o car.png";
    let ran = run(folder.path(), generate);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(folder.path().join("car.png").is_file());

    let again = run(folder.path(), "train image recipe.toml --out run");
    assert_eq!(again.status, 2);
    assert!(
        again.stderr.contains("already holds a run"),
        "{}",
        again.stderr
    );

    let changed = RECIPE
        .replace("size = 2", "size = 3")
        .replace("steps = 8", "steps = 9");
    fs::write(folder.path().join("other.toml"), changed).unwrap();
    let other = run(folder.path(), "train image other.toml --out run --resume");
    assert_eq!(other.status, 2);
    assert!(
        other.stderr.contains("`steps = 8` became `steps = 9`"),
        "{}",
        other.stderr
    );
    let meant = run(
        folder.path(),
        "train image other.toml --out run --resume --changed-recipe",
    );
    assert_eq!(meant.status, 0, "{}", meant.stderr);
    assert!(out.join("checkpoints/step-00000009").is_dir());
}

#[test]
fn a_wrong_recipe_says_what_is_wrong() {
    let check = |text: &str, stage: &str, expected: &str| {
        let folder = with_recipe(text);
        let ran = run(
            folder.path(),
            &format!("train {stage} recipe.toml --out run"),
        );
        assert_eq!(ran.status, 2, "{}", ran.stderr);
        assert!(
            ran.stderr.contains(expected),
            "{expected}\nnot in\n{}",
            ran.stderr
        );
        assert!(!folder.path().join("run/checkpoints").exists());
    };
    check(RECIPE, "temporal", "is a recipe for the stage \"image\"");
    check(
        RECIPE,
        "imago",
        "there is no stage \"imago\"; expected one of autoencoder, image",
    );
    check(
        &RECIPE.replace("steps = 8", "steps = 8\nspeed = 3"),
        "image",
        "unknown field `speed`",
    );
    check(
        &RECIPE.replace("[batch]", "[batch]\naccumulate = 0"),
        "image",
        "must be at least 1",
    );
    check(
        &RECIPE
            .replace("\"unet.\"", "\"net.\"")
            .replace(", \"text_encoder.\"", ""),
        "image",
        "nothing would learn",
    );
    check(
        &RECIPE.replace("[[32, 64]]", "[[30, 64]]"),
        "image",
        "needs multiples of 8",
    );
    check(
        &RECIPE.replace("stage = \"image\"", "stage = \"prediction\""),
        "prediction",
        "needs [temporal] in the model",
    );
    check(
        &RECIPE.replace("tiny-sd15\"\n", "tiny-sd15\"\nlayers = 3\n"),
        "image",
        "unknown field `layers`",
    );
    let folder = "type = \"folder\"\npath = \"nowhere\"";
    check(
        &RECIPE.replacen("type = \"world\"\nclips = 6\nseconds = 1.0", folder, 1),
        "image",
        "nowhere",
    );
}

#[test]
fn a_self_test_says_what_it_cannot_test() {
    let check = |stage: &str, expected: &str| {
        let recipe = format!(
            "stage = \"{stage}\"\nsteps = 1\n[model]\nbase = \"tiny-temporal-decoder-3x1x1\"\n\
             [data]\ntype = \"world\"\nclips = 1\n[batch]\nsize = 1\nsizes = [[32, 32]]\n"
        );
        let folder = with_recipe(&recipe);
        let ran = run(
            folder.path(),
            &format!("train {stage} recipe.toml --overfit-one-clip"),
        );
        assert_ne!(ran.status, 0);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    check("autoencoder", "no noise levels to measure at");
    check("decoder", "has [held_out] clips");
}
