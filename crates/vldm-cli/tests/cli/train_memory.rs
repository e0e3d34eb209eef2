//! `vldm train` with less memory and less disk: activation checkpointing, low-rank adapters, and
//! checkpoints that share the files of what does not learn.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{listing, run};

const IMAGE: &str = r#"
stage = "image"
steps = 4
learns = ["unet."]

[model]
base = "tiny-sd15"

[data]
type = "world"
clips = 4
seconds = 1.0

[batch]
size = 2
sizes = [[32, 64]]

[evaluation]
every = 0

[checkpoints]
every = 1
keep_last = 2
keep_best = 0
"#;

const DREAMBOOTH: &str = r#"
stage = "dreambooth"
steps = 6

[model]
base = "tiny-sd15"

[start]
model = "base"

[lora]
rank = 2
alpha = 3.0
targets = ["to_q", "to_k", "to_v", "to_out.0", "q_proj", "v_proj"]

[dreambooth]
prompt = "a (sks) car on a road"
class_prompt = "a car on a road"
class_data = { type = "world", clips = 2, seed = 3, seconds = 1.0 }

[data]
type = "world"
clips = 2
seconds = 1.0

[batch]
size = 1
sizes = [[32, 64]]

[optimizer]
learning_rate = 1e-2

[evaluation]
every = 0

[checkpoints]
every = 3
keep_last = 2
keep_best = 0
"#;

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

#[track_caller]
fn succeeds(folder: &Path, command: &str) -> String {
    let ran = run(folder, command);
    assert_eq!(ran.status, 0, "{command}\n{}", ran.stderr);
    ran.stderr
}

/// The losses of a run's steps, as written.
fn losses(run: &Path) -> Vec<f64> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records
        .filter_map(|record| record["loss"].as_f64())
        .collect()
}

fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:08}"))
}

#[test]
fn blocks_at_a_time_learn_the_same_in_less_memory() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, "plain.toml", IMAGE);
    let blocks = IMAGE.replace("steps = 4", "steps = 4\nactivation_checkpointing = true");
    write(here, "blocks.toml", &blocks);
    let plain = succeeds(here, "train image plain.toml --out plain --dtype f32");
    assert!(
        plain.contains("with activation_checkpointing = true"),
        "{plain}"
    );
    let blocks = succeeds(here, "train image blocks.toml --out blocks --dtype f32");
    assert!(
        blocks.contains("activations are computed again block by block"),
        "{blocks}"
    );
    let [plain, blocks] = ["plain", "blocks"].map(|run| losses(&here.join(run)));
    assert_eq!((plain.len(), plain[0].to_bits()), (4, blocks[0].to_bits()));
    for (a, b) in plain.iter().zip(&blocks) {
        assert!((a - b).abs() < 1e-5 * a, "{plain:?}\n{blocks:?}");
    }
    let wrong = IMAGE.replace(
        "steps = 4",
        "steps = 4\nactivation_checkpointing = \"some\"",
    );
    write(here, "wrong.toml", &wrong);
    let ran = run(here, "train image wrong.toml --out wrong");
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr.contains("expected true, false or \"auto\""),
        "{}",
        ran.stderr
    );
}

#[cfg(unix)]
#[test]
fn checkpoints_share_what_does_not_learn_and_are_whole_without_each_other() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, "recipe.toml", IMAGE);
    succeeds(here, "train image recipe.toml --out run");
    let out = here.join("run");
    // The first two are gone again.
    assert_eq!(
        listing(&out.join("checkpoints")),
        ["step-00000003", "step-00000004"]
    );
    let file = |step, name: &str| fs::metadata(checkpoint(&out, step).join(name)).unwrap();
    for name in [
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ] {
        assert_eq!(file(3, name).ino(), file(4, name).ino(), "{name}");
        assert_eq!(file(4, name).nlink(), 2, "{name}");
    }
    for name in [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "training/weights.safetensors",
    ] {
        assert_ne!(file(3, name).ino(), file(4, name).ino(), "{name}");
    }
    fs::remove_dir_all(checkpoint(&out, 3)).unwrap();
    succeeds(
        here,
        "generate --model run/checkpoints/step-00000004 -p car --sampler ddim --steps 2 \
         --width 64 --height 32 -o car.png",
    );
}

#[test]
fn adapters_go_on_bit_for_bit_and_are_merged_by_generate() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, "image.toml", &IMAGE.replace("steps = 4", "steps = 1"));
    succeeds(here, "train image image.toml --out base");
    write(here, "recipe.toml", DREAMBOOTH);
    succeeds(here, "train dreambooth recipe.toml --out run --dtype f32");
    let out = here.join("run");
    let files = [
        "lora.safetensors",
        "training/weights.safetensors",
        "training/optimizer.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ];
    let read = || files.map(|file| fs::read(checkpoint(&out, 6).join(file)).unwrap());
    let expected = read();
    let curve = losses(&out);
    fs::remove_dir_all(checkpoint(&out, 6)).unwrap();
    succeeds(
        here,
        "train dreambooth recipe.toml --out run --dtype f32 --resume --threads 1",
    );
    assert_eq!(losses(&out), curve);
    for (name, (expected, got)) in files.iter().zip(expected.iter().zip(read())) {
        assert!(*expected == got, "{name}");
    }

    let generate = |weights: &str, out: &str| {
        succeeds(
            here,
            &format!(
                "generate {weights} -p car --sampler ddim --steps 2 --width 64 --height 32 \
                 --dtype f32 --disable-metadata -o {out}.png"
            ),
        );
        fs::read(here.join(out).with_extension("png")).unwrap()
    };
    let base = "--model base/checkpoints/step-00000001";
    let lora = "--lora run/checkpoints/step-00000006/lora.safetensors";
    let merged = generate("--model run/checkpoints/step-00000006", "merged");
    assert!(generate(&format!("{base} {lora}"), "added") == merged);
    assert!(generate(&format!("{base} {lora}:0"), "nothing") == generate(base, "base"));
    assert!(generate(base, "base") != merged);
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../vldm/tests/training/lora/adapter/pytorch_lora_weights.safetensors");
    fs::copy(adapter, here.join("lora.safetensors")).unwrap();
    let generate = "generate --model tiny-sd15 -p car --steps 1 --width 64 --height 32 -o car.png";
    let ran = run(here, &format!("{generate} --lora lora.safetensors"));
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("the adapter is of another model"),
        "{}",
        ran.stderr
    );
    assert!(!here.join("car.png").exists());
    let ran = run(here, &format!("{generate} --lora lora.safetensors:much"));
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("expected a number"), "{}", ran.stderr);
}

#[test]
fn wrong_adapters_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let check = |text: &str, expected: &str| {
        write(here, "recipe.toml", text);
        let ran = run(here, "train dreambooth recipe.toml --out run");
        assert_eq!(ran.status, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    let fresh = DREAMBOOTH.replace("[start]\nmodel = \"base\"\n", "");
    check(
        &fresh.replace("rank = 2", "rank = 0"),
        "lora.rank does not fit",
    );
    check(
        &fresh.replace("targets = [", "targets = [\"to_x\"] # ["),
        "is called so",
    );
}
