//! `vldm model convert`: what is written loads, and computes the same.

use std::path::Path;

use crate::support::{Ran, listing, parity, program, ran};

fn convert(model: &Path, output: &Path, arguments: &[&str]) -> Ran {
    ran(program(Path::new("."))
        .args(["model", "convert"])
        .args([model, output])
        .args(arguments))
}

/// A converted model passes the reference's cases.
fn check(case: &str, arguments: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("converted");
    let ran_convert = convert(&parity(case).join("model"), &output, arguments);
    assert_eq!(ran_convert.status, 0, "{case}: {}", ran_convert.stderr);
    assert_eq!(listing(folder.path()), ["converted"]);
    let verified = ran(program(folder.path())
        .args(["model", "verify", "converted"])
        .arg(parity(case).join("reference.safetensors"))
        .args(["--tolerance", "1e-4"]));
    assert_eq!(
        verified.status, 0,
        "{case}: {}{}",
        verified.stdout, verified.stderr
    );
}

#[test]
fn converted_models_compute_the_same() {
    check("sd15", &[]);
    check("sd21", &["--dtype", "f32"]);
    check("svd", &["--max-shard-size", "400kB"]);
    check("odd_svd", &[]);
    check("x4", &[]);
}

#[test]
fn temporal_layers_go_onto_an_image_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let temporal = folder.path().join("temporal.safetensors");
    let ran_convert = convert(&parity("svd/model"), &temporal, &["--temporal-only"]);
    assert_eq!(ran_convert.status, 0, "{}", ran_convert.stderr);
    // Put back where they were, they must compute what they did.
    let verified = ran(program(folder.path())
        .args(["model", "verify"])
        .arg(parity("svd/model"))
        .arg(parity("svd/reference.safetensors"))
        .args(["--tolerance", "1e-4", "--temporal", "temporal.safetensors"]));
    assert_eq!(verified.status, 0, "{}{}", verified.stdout, verified.stderr);
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("mine.txt"), "mine").expect("a file");
    let ran = convert(&parity("sd15/model"), folder.path(), &[]);
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("not empty"), "{}", ran.stderr);
    assert_eq!(listing(folder.path()), ["mine.txt"]);
}
