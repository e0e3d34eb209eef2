//! `--help` of every command.

use std::path::Path;

use crate::support::run;

#[test]
fn help_tells_the_exit_status() {
    for command in [
        "",
        "generate",
        "bench",
        "model",
        "model inspect",
        "model convert",
        "model verify",
        "train",
        "data",
        "data encode",
        "data scan",
        "data world",
        "evaluate",
        "evaluate fvd",
        "evaluate baselines",
        "evaluate train",
    ] {
        let ran = run(Path::new("."), &format!("{command} --help"));
        assert_eq!(ran.status, 0, "{command}");
        assert!(
            ran.stdout.contains("Exit status:"),
            "{command}: {}",
            ran.stdout
        );
        assert!(ran.stdout.contains("130  interrupted"), "{command}");
    }
}

#[test]
fn help_lists_every_flag() {
    let help = run(Path::new("."), "generate --help").stdout;
    for flag in [
        "-p, --prompt",
        "-n, --negative-prompt",
        "--model",
        "--image",
        "--temporal",
        "--lora",
        "--width",
        "--height",
        "--frames",
        "--fps",
        "--steps",
        "--sampler",
        "--eta",
        "--guidance-scale",
        "--motion-bucket",
        "--noise-augmentation",
        "--seed",
        "--count",
        "--device",
        "--dtype",
        "--threads",
        "--decode-chunk",
        "--attention-distance",
        "--prediction-type",
        "--max-memory",
        "--initial-latents",
        "--save-latents",
        "--disable-metadata",
        "--dry-run",
        "-o, --output",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
    for sampler in ["ddim", "euler", "euler_ancestral", "heun", "dpmpp_2m"] {
        assert!(help.contains(sampler), "{sampler}");
    }
    assert!(!help.contains("probe-device"));
}
