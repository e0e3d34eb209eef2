//! `vldm bench`.

use std::path::Path;

use serde_json::Value;

use crate::support::run;

fn measured(line: &str) -> Value {
    let ran = run(Path::new("."), &format!("bench {line} --runs 2 --json"));
    assert_eq!(ran.status, 0, "{line}: {}", ran.stderr);
    assert!(ran.stdout.ends_with('\n') && ran.stdout.lines().count() == 1);
    serde_json::from_str(&ran.stdout).expect("one JSON object")
}

fn refused(line: &str, expected: &[&str]) {
    let ran = run(Path::new("."), &format!("bench {line}"));
    assert_eq!(ran.status, 2, "{line}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{line}");
    for text in expected {
        assert!(ran.stderr.contains(text), "{text} not in\n{}", ran.stderr);
    }
}

#[test]
fn json_has_times_work_and_memory() {
    let json = measured("tiny-bench-train --width 64 --height 64 --batch 2 --threads 1");
    for name in [
        "median_seconds",
        "min_seconds",
        "max_seconds",
        "tflop",
        "tflop_per_second",
    ] {
        assert!(
            json[name].as_f64().is_some_and(|value| value > 0.0),
            "{name} in {json}"
        );
    }
    assert!(json["min_seconds"].as_f64() <= json["median_seconds"].as_f64());
    assert!(json["median_seconds"].as_f64() <= json["max_seconds"].as_f64());
    let expected = [
        ("preset", "tiny-bench-train".into()),
        ("part", "unet".into()),
        ("batch", 2.into()),
        ("frames", 1.into()),
        ("width", 64.into()),
        ("height", 64.into()),
        ("dtype", "f32".into()),
        ("device", "cpu".into()),
        ("threads", 1.into()),
        ("runs", 2.into()),
        ("parameters", 95_972.into()),
        ("weight_bytes", (4 * 95_972).into()),
        ("trained", Value::Null),
    ];
    for (name, value) in expected {
        assert_eq!(json[name], value, "{name} in {json}");
    }
    assert!(
        json["share_of_peak"]
            .as_f64()
            .is_some_and(|share| share > 0.0),
        "{json}"
    );
    if cfg!(target_os = "linux") {
        let least = 4 * 95_972;
        assert!(
            json["peak_memory_bytes"]
                .as_u64()
                .is_some_and(|bytes| bytes > least),
            "{json}"
        );
    }
}

/// The U-Nets' numbers are those of PyTorch's `FlopCounterMode` around diffusers' networks.
#[test]
fn operations_are_those_that_the_reference_counts() {
    let check = |line: &str, expected: u64| {
        let json = measured(line);
        assert_eq!(json["flop"].as_u64(), Some(expected), "{line}");
    };
    check("tiny-sd15 --width 128 --height 64", 10_184_576);
    check(
        "tiny-bench-train --width 64 --height 64 --batch 2",
        9_209_344,
    );
    check("tiny-bench-train --part train --batch 2", 3 * 9_209_344);
    // Two layers of width 16 with an inner width of 32, on 77 tokens.
    let layer = 4 * 2 * 77 * 16 * 16 + 2 * 2 * 77 * 16 * 32 + 4 * 77 * 77 * 16;
    check("tiny-sd15 --part text", 2 * layer);
    check("tiny-sd15 --part text --batch 3", 3 * 2 * layer);
}

#[test]
fn every_part_runs_in_both_types() {
    for dtype in ["f32", "bf16"] {
        for line in [
            "tiny-svd --frames 2",
            "tiny-sd15-interpolation",
            "tiny-driving-prediction --frames 2",
            "tiny-driving-upsampler --frames 2",
            "tiny-x4-upscaler --batch 2",
            "tiny-svd --part vae-decode --frames 2",
            "tiny-sd15-video --part vae-decode --frames 2",
            "tiny-driving --part vae-decode",
            "tiny-sd15 --part vae-encode",
            "tiny-sd21 --part text",
            "tiny-bench-train --part train",
            "tiny-bench-train-video --part train",
            "tiny-bench-train-video --part train --trained all",
        ] {
            let json = measured(&format!("{line} --width 64 --height 64 --dtype {dtype}"));
            assert_eq!(json["dtype"], dtype, "{line}");
        }
    }
}

#[test]
fn training_says_what_learns() {
    let json = measured("tiny-bench-train-video --part train");
    assert_eq!(json["trained"], "temporal");
    assert_eq!(json["parameters"], 95_972 + 71_314);
    assert_eq!(json["trained_parameters"], 71_314);
    let all = measured("tiny-bench-train-video --part train --trained all");
    assert_eq!(all["trained"], "all");
    assert_eq!(all["trained_parameters"], 95_972 + 71_314);
    assert!(json["flop"].as_u64() < all["flop"].as_u64());
}

#[test]
fn the_table_is_for_people() {
    let line = "bench tiny-bench-train-video --part train --runs 1";
    let ran = run(Path::new("."), line);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for text in [
        "tiny-bench-train-video, train: batch 1, 4 frames of 64×64 pixels, f32 on cpu",
        "median of 1",
        "TFLOP/s",
        "71314 learn",
    ] {
        assert!(ran.stdout.contains(text), "{text} not in\n{}", ran.stdout);
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    refused("sd-15", &["there is no preset \"sd-15\"", "sd15"]);
    refused(
        "stack-driving",
        &["stack of several models", "driving-prediction"],
    );
    refused(
        "svd --part text",
        &["has no text encoder", "unet, vae-decode, vae-encode, train"],
    );
    refused(
        "driving-upsampler --part vae-decode",
        &["has no autoencoder"],
    );
    refused("temporal-decoder-3x1x1", &["has no U-Net", "vae-decode"]);
    refused(
        "sd15 --width 500",
        &["width is 500", "multiple of 8", "504"],
    );
    refused(
        "driving-interpolation --frames 4",
        &["exactly 5 frames, not 4"],
    );
    refused(
        "sd15 --part train --trained temporal",
        &["no temporal layers"],
    );
    refused("sd15 --trained all", &["only --part train trains"]);
    refused("sd15 --runs 0", &["--runs"]);
    refused("sd15 --part decoder", &["vae-decode"]);
}
