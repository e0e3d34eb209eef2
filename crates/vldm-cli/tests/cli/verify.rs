//! `vldm model verify` on every model of the parity fixtures.

use std::path::Path;

use crate::support::{Ran, change, parity, program, ran};

fn verify(case: &str, reference: &Path, tolerance: &str) -> Ran {
    ran(program(Path::new("."))
        .args(["model", "verify"])
        .arg(parity(case).join("model"))
        .arg(reference)
        .args(["--tolerance", tolerance]))
}

#[test]
fn every_model_computes_what_its_reference_computed() {
    for case in [
        "sd15",
        "sd21",
        "x4",
        "svd",
        "odd_sd_conv",
        "odd_sd_linear",
        "odd_svd",
        "variants/f32_sharded",
        "variants/bf16",
        "variants/fp16_variant",
    ] {
        let ran = verify(case, &parity(case).join("reference.safetensors"), "1e-4");
        assert_eq!(ran.status, 0, "{case}: {}{}", ran.stdout, ran.stderr);
        assert!(!ran.stdout.is_empty(), "{case}");
        assert!(
            ran.stdout.lines().all(|line| line.ends_with("pass")),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn a_changed_value_fails_and_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let changed = folder.path().join("changed.safetensors");
    let value = ("square/unet/out/sample", 0, 10.0);
    change(&parity("sd15/reference.safetensors"), &changed, value);
    let ran = verify("sd15", &changed, "1e-3");
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    let failed: Vec<&str> = ran.stdout.lines().filter(|l| l.ends_with("FAIL")).collect();
    assert_eq!(failed.len(), 1, "{}", ran.stdout);
    assert!(failed[0].starts_with("square/unet/sample"), "{}", failed[0]);
    assert!(ran.stderr.contains("error: 1 of "), "{}", ran.stderr);
}

#[test]
fn an_impossible_tolerance_fails() {
    let reference = parity("variants/bf16/reference.safetensors");
    let ran = verify("variants/bf16", &reference, "1e-30");
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("FAIL"), "{}", ran.stdout);
}

#[test]
fn a_part_that_the_model_lacks_is_named() {
    let reference = parity("sd15/reference.safetensors");
    let mut command = program(Path::new("."));
    command
        .args(["model", "verify"])
        .arg(parity("sd15/model/vae"));
    let ran = ran(command.arg(reference));
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("has no such component"),
        "{}",
        ran.stderr
    );
}
