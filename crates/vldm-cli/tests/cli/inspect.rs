//! `vldm model inspect`.

use std::path::Path;

use crate::support::{Ran, parity, program, ran, run};

fn inspect(model: &Path, json: bool) -> Ran {
    let mut command = program(Path::new("."));
    command.args(["model", "inspect"]).arg(model);
    if json {
        command.arg("--json");
    }
    ran(&mut command)
}

#[test]
fn a_preset_by_name() {
    let ran = run(Path::new("."), "model inspect sd15");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("859,520,964"), "{}", ran.stdout);
    let ran = run(Path::new("."), "model inspect sd15 --json");
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let parts = json["parts"].as_array().expect("a list");
    assert!(
        parts
            .iter()
            .any(|part| part["parameters"] == 859_520_964_u64),
        "{json}"
    );
}

#[test]
fn a_models_folder() {
    let ran = inspect(&parity("svd/model"), false);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for part in [
        "StableVideoDiffusionPipeline",
        "temporal layers",
        "image encoder",
        "total",
    ] {
        assert!(ran.stdout.contains(part), "{part} not in\n{}", ran.stdout);
    }
    let ran = inspect(&parity("svd/model"), true);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let counts = json["parts"].as_array().expect("a list").iter();
    let sum: u64 = counts.filter_map(|part| part["parameters"].as_u64()).sum();
    assert_eq!(json["parameters"].as_u64(), Some(sum));
    assert_eq!(json["unet"]["in_channels"], 8);
}

#[test]
fn one_part_of_a_model() {
    let ran = inspect(&parity("sd15/model/vae"), false);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("autoencoder"), "{}", ran.stdout);
}
