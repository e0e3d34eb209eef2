//! Bad input: one clear message, the right status, and nothing under the final name.

use std::path::Path;

use crate::support::{change, listing, parity, program, ran, run, tensor};

/// Runs `line` in a folder with some broken files; `SD` and `SVD` stand for tiny models, `PIC` for
/// a picture.
fn check(line: &str, status: i32, expected: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let before = listing(folder.path());
    let display = |path: &str| parity(path).display().to_string();
    let line = line
        .replace("SVD", &display("svd/model"))
        .replace("SD", &display("sd15/model"))
        .replace("PIC", &display("svd/picture_48x64.png"));
    let ran = run(folder.path(), &line);
    assert_eq!(ran.status, status, "{line}\n{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains(expected),
        "{line}: no \"{expected}\" in\n{}",
        ran.stderr
    );
    assert!(ran.stderr.starts_with("error: "), "{line}\n{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{line}\n{}", ran.stderr);
    assert_eq!(ran.stdout, "", "{line}");
    assert_eq!(listing(folder.path()), before, "{line}");
}

/// A folder that is no model, a model cut short, a picture that is none.
fn prepare(folder: &Path) {
    std::fs::create_dir(folder.join("empty")).expect("a folder");
    std::fs::write(folder.join("empty/notes.txt"), "nothing").expect("a file");
    let whole = parity("sd15/reference.safetensors");
    let bytes = std::fs::read(whole).expect("readable");
    std::fs::write(folder.join("short.safetensors"), &bytes[..bytes.len() / 2]).expect("a file");
    std::fs::write(folder.join("bad.png"), b"\x89PNG\r\n\x1a\nno picture").expect("a file");
    std::fs::write(folder.join("weights.ckpt"), b"pickle").expect("a file");
}

#[test]
fn grammar() {
    check("generate --frames many", 2, "--frames");
    check(
        "generate --model SD -p cat --sampler plms",
        2,
        "possible values: ddim",
    );
    check(
        "generate --model SD -p cat --guidance-scale strong",
        2,
        "7.5",
    );
    check("drive --guidance-scale nan -o x.mp4", 2, "1.5");
    check("generate --model SD -p cat --device gpu", 2, "cuda:N");
    check("generate --model SD -p cat --max-memory lots", 2, "16GB");
    check("generate --model SD -p cat --fps fast", 2, "frame rate");
    check("model verify SD", 2, "<REFERENCE>");
}

#[test]
fn models() {
    check("generate --model missing -p cat", 1, "missing");
    check(
        "generate --model missing.safetensors -p cat",
        1,
        "missing.safetensors",
    );
    check("generate --model empty -p cat", 1, "model_index.json");
    check(
        "generate --model short.safetensors -p cat",
        1,
        "short.safetensors",
    );
    check("generate --model weights.ckpt -p cat", 1, "safetensors");
    check("model inspect empty", 1, "model_index.json");
    check("model inspect sd16", 2, "sd15");
    check("model verify SD short.safetensors", 1, "short.safetensors");
    check(
        "model convert missing.safetensors out",
        1,
        "missing.safetensors",
    );
    check(
        "model convert SD t.safetensors --temporal-only",
        2,
        "no temporal layers",
    );
}

#[test]
fn requests() {
    check(
        "generate --model SD -p cat --width 50 --height 64",
        2,
        "multiple of 8",
    );
    check("generate --model SD -p cat --frames 0", 2, "frames is 0");
    check("generate --model SD -p cat --steps 0", 2, "steps is 0");
    check("generate --model SD -p cat --count 0", 2, "count is 0");
    check(
        "generate --model SD -p cat --decode-chunk 0",
        2,
        "decode chunk is 0",
    );
    check(
        "generate --model SD -p cat --frames 8",
        2,
        "--temporal FILE",
    );
    check("generate --model SD -p cat --eta 2", 2, "eta");
    check(
        "generate --model SD -p cat --sampler euler --eta 1",
        2,
        "--eta is for ddim",
    );
    check("generate --model SD", 2, "--prompt TEXT");
    check(
        "generate --model SD -p cat --image PIC",
        2,
        "--image was given",
    );
    check(
        "generate --model SD -p cat --motion-bucket 3",
        2,
        "--motion-bucket was given",
    );
    check("generate --model SVD", 2, "--image FILE");
    check(
        "generate --model SVD --image PIC -p cat",
        2,
        "--prompt was given",
    );
    check(
        "generate --model SVD --image PIC --motion-bucket 3000",
        2,
        "motion",
    );
}

#[test]
fn files() {
    let small = "--width 16 --height 16 --steps 1";
    let svd = "generate --model SVD --frames 2 --width 16 --height 16 --steps 1";
    check(&format!("{svd} --image bad.png -o a.mp4"), 1, "bad.png");
    check(&format!("{svd} --image none.png -o a.mp4"), 1, "none.png");
    check(&format!("{svd} --image PIC -o a.png"), 2, "one frame");
    check(
        &format!("generate --model SD -p cat {small} -o no/a.png"),
        2,
        "does not exist",
    );
    check(
        &format!("generate --model SD -p cat {small} -o a.avi"),
        2,
        ".avi",
    );
    check(
        &format!("generate --model SD -p cat {small} -o empty"),
        2,
        "not empty",
    );
    let latents = "generate --model SD -p cat --save-latents";
    check(
        &format!("{latents} no/l.safetensors {small}"),
        2,
        "no/l.safetensors: nothing can be written there",
    );
    check(
        &format!("{latents} empty {small}"),
        2,
        "a folder has this name",
    );
    let given = "--initial-latents short.safetensors";
    check(
        &format!("generate --model SD -p cat {small} {given}"),
        1,
        "short.safetensors",
    );
    let temporal = "--frames 2 --temporal short.safetensors -o a.gif";
    check(
        &format!("generate --model SD -p cat {small} {temporal}"),
        1,
        "short.safetensors",
    );
}

#[test]
fn given_latents_of_another_shape() {
    let folder = tempfile::tempdir().expect("a folder");
    let given = parity("svd/pipeline_in.safetensors");
    let model = parity("sd15/model");
    let mut command = program(folder.path());
    command.args([
        "generate", "-p", "cat", "--width", "16", "--height", "16", "-o", "a.png",
    ]);
    let ran = ran(command
        .arg("--model")
        .arg(model)
        .arg("--initial-latents")
        .arg(given));
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("expected [1, 4, 2, 2]"),
        "{}",
        ran.stderr
    );
    assert_eq!(listing(folder.path()), [""; 0]);
}

#[test]
fn numbers_that_are_none_stop_the_run_and_keep_the_latents() {
    let folder = tempfile::tempdir().expect("a folder");
    let given = folder.path().join("given.safetensors");
    let second_step = 4 * 8 * 6;
    change(
        &parity("sd15/pipeline_eta1_in.safetensors"),
        &given,
        ("step_noise", second_step, f32::NAN),
    );
    let ran = ran(program(folder.path())
        .args([
            "generate", "-p", "cat", "--eta", "1", "--steps", "12", "-o", "a.png",
        ])
        .args(["--width", "48", "--height", "64", "--initial-latents"])
        .arg("given.safetensors")
        .arg("--model")
        .arg(parity("sd15/model")));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("sampling step 1 "), "{}", ran.stderr);
    let kept = "a.png.failed-latents.safetensors";
    assert!(ran.stderr.contains(kept), "{}", ran.stderr);
    assert_eq!(listing(folder.path()), [kept, "given.safetensors"]);
    let (shape, latents) = tensor(&folder.path().join(kept), "latents");
    assert_eq!(shape, [1, 4, 8, 6]);
    assert!(latents.iter().all(|value| value.is_finite()));
}

#[cfg(not(feature = "cuda"))]
#[test]
fn devices_that_were_not_built_in() {
    check(
        "generate --model SD -p cat --width 16 --height 16 --device cuda",
        2,
        "--features cuda",
    );
}
