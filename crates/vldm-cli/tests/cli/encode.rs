//! `vldm data encode`: caches that are killed and go on, and training from them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{listing, program, run};

const RECIPE: &str = r#"
stage = "image"
steps = 3
cache = "cache"

[model]
base = "tiny-sd15"

[data]
type = "world"
clips = 20
seconds = 1.0

[batch]
size = 2
sizes = [[32, 64]]
"#;

fn losses(run: &Path) -> Vec<f64> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = text.lines();
    let records = records.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records
        .map(|record| record["loss"].as_f64().unwrap())
        .collect()
}

/// A folder with the recipe, and with the same one without its cache.
fn with_recipes() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let plain = RECIPE.replace("cache = \"cache\"", "");
    fs::write(folder.path().join("recipe.toml"), RECIPE).unwrap();
    fs::write(folder.path().join("plain.toml"), plain).unwrap();
    folder
}

#[track_caller]
fn succeeds(folder: &Path, line: &str) -> String {
    let ran = run(folder, line);
    assert_eq!(ran.status, 0, "{line}: {}", ran.stderr);
    ran.stdout
}

#[track_caller]
fn refused(folder: &Path, line: &str, expected: &str) {
    let ran = run(folder, line);
    assert_eq!(ran.status, 2, "{line}: {}", ran.stderr);
    assert!(ran.stderr.contains(expected), "{line}: {}", ran.stderr);
}

#[test]
fn a_killed_cache_goes_on_and_is_trained_from() {
    let folder = with_recipes();
    let folder = folder.path();
    let mut child = program(folder)
        .args(["data", "encode", "plain.toml", "-o", "cache"])
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let index = folder.join("cache/index.jsonl");
    while !fs::read_to_string(&index).is_ok_and(|text| text.ends_with('\n')) {
        assert!(begin.elapsed() < Duration::from_secs(300), "no file");
        std::thread::sleep(Duration::from_millis(2));
    }
    // SIGKILL after the first of three files: nothing can be saved.
    child.kill().unwrap();
    child.wait().unwrap();

    let told = succeeds(folder, "data encode recipe.toml");
    assert!(
        told.starts_with("cache: 600 frames of 20 clips, "),
        "{told}"
    );
    assert!(!told.contains("new           600 frames"), "{told}");
    let told = succeeds(folder, "data encode recipe.toml -o cache");
    assert!(told.contains("new           0 frames, 0 prompts"), "{told}");
    let files = listing(&folder.join("cache"));
    assert_eq!(files[..2], ["cache.json", "index.jsonl"]);
    let is_ours = |name: &String| name.ends_with(".safetensors");
    assert!(files[2..].iter().all(is_ours), "{files:?}");

    succeeds(folder, "train image recipe.toml -o cached");
    succeeds(folder, "train image plain.toml -o plain");
    let [cached, plain] = ["cached", "plain"].map(|run| losses(&folder.join(run)));
    assert_eq!(cached.len(), 3);
    assert_eq!(cached, plain);
}

#[test]
fn what_does_not_suit_is_refused() {
    let folder = with_recipes();
    let folder = folder.path();
    refused(
        folder,
        "train image recipe.toml -o run",
        "make one for this recipe by `vldm data encode`",
    );
    refused(
        folder,
        "data encode plain.toml",
        "say where to by `--out DIR`",
    );
    refused(
        folder,
        "data encode plain.toml -o .",
        "neither empty nor a cache",
    );
    succeeds(folder, "data encode plain.toml -o half --store f16");
    let twice = "data encode plain.toml -o half";
    refused(folder, twice, "it stores f16, f32 is asked for");
    let svd = RECIPE
        .replace("tiny-sd15", "tiny-svd")
        .replace("\"image\"", "\"svd\"");
    fs::write(folder.join("svd.toml"), svd).unwrap();
    refused(
        folder,
        "data encode svd.toml",
        "reads the pictures themselves",
    );
}
