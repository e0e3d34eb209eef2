//! Runs with and without a cache, on tiny models and small worlds.

use std::fs;
use std::path::Path;

use burn::tensor::Device;

use super::*;
use crate::train::{Event, Run};

const IMAGE: &str = r#"
stage = "image"
steps = 10
[model]
base = "tiny-sd15"
[data]
type = "world"
clips = 4
seconds = 1.0
[held_out]
type = "world"
clips = 2
seed = 9
seconds = 1.0
[batch]
size = 2
sizes = [[32, 64]]
[optimizer]
learning_rate = 1e-2
[evaluation]
every = 5
batches = 1
"#;

fn temporal() -> String {
    IMAGE
        .replace("\"image\"", "\"temporal\"")
        .replace("tiny-sd15", "tiny-sd15-video")
        .replace("[batch]", "[batch]\nframes = [4]\nfps = [7.5, 15.0]")
}

fn with_cache(text: &str, cache: &Path) -> Recipe {
    let mut recipe = Recipe::parse(text).unwrap();
    recipe.cache = Some(cache.to_owned());
    recipe
}

fn encode(text: &str, cache: &Path, settings: EncodeSettings) -> EncodeReport {
    let recipe = Recipe::parse(text).unwrap();
    let encode = Encode::start(&recipe, cache, settings, &Device::flex()).unwrap();
    match encode.map(Result::unwrap).last() {
        Some(EncodeEvent::Finished(report)) => report,
        other => panic!("{other:?}"),
    }
}

/// The losses of all steps and measurements of a run.
fn losses(recipe: Recipe) -> Result<Vec<f64>> {
    let out = tempfile::tempdir().unwrap();
    let run = Run::start(recipe, &out.path().join("run"), &Device::flex())?;
    let mut losses = Vec::new();
    for event in run {
        match event? {
            Event::Step(step) => losses.push(step.loss),
            Event::Evaluated(record) => losses.push(record.mean),
            _ => {}
        }
    }
    Ok(losses)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, expected: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(expected), "{expected:?} not in: {error}");
}

#[test]
fn a_run_learns_the_same_with_and_without_a_cache() {
    let bf16 = |text: &str| text.replace("steps = 10", "steps = 10\ndtype = \"bf16\"");
    let prediction = IMAGE
        .replace("\"image\"", "\"prediction\"")
        .replace("tiny-sd15", "tiny-driving-prediction")
        .replace("[batch]", "[batch]\nframes = [4]\nfps = [7.5]");
    for text in [IMAGE, &bf16(IMAGE), &temporal(), &prediction] {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let report = encode(text, &cache, EncodeSettings::default());
        assert_eq!(
            (report.clips, report.frames, report.new_frames),
            (6, 180, 180)
        );
        let expected = losses(Recipe::parse(text).unwrap()).unwrap();
        // Ten steps, and measured before, in the middle and at the end.
        assert_eq!(expected.len(), 13);
        assert!(expected[1] != expected[10]);
        assert_eq!(losses(with_cache(text, &cache)).unwrap(), expected);
    }
}

#[test]
fn half_the_size_is_nearly_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let caches = [StoredType::F32, StoredType::F16].map(|stored| {
        let cache = folder.path().join(stored.name());
        let settings = EncodeSettings {
            stored,
            ..EncodeSettings::default()
        };
        let report = encode(IMAGE, &cache, settings);
        (losses(with_cache(IMAGE, &cache)).unwrap(), report.bytes)
    });
    let [(whole, whole_bytes), (half, half_bytes)] = caches;
    assert!(
        half_bytes < whole_bytes * 6 / 10,
        "{half_bytes} of {whole_bytes}"
    );
    let off = whole.iter().zip(&half).map(|(a, b)| (a - b).abs() / a);
    let worst = off.fold(0.0, f64::max);
    assert!(worst > 0.0 && worst < 1e-3, "{worst}");
}

#[test]
fn killed_work_goes_on_and_damage_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let device = Device::flex();
    let settings = EncodeSettings {
        frames_per_file: 20,
        ..EncodeSettings::default()
    };
    let recipe = Recipe::parse(IMAGE).unwrap();
    let mut begun = Encode::start(&recipe, &cache, settings, &device).unwrap();
    while index::read(&cache).unwrap().0.len() < 3 {
        begun.next().unwrap().unwrap();
    }
    drop(begun);
    // The next line was being written, and the file after it.
    let mut lines = fs::read_to_string(cache.join("index.jsonl")).unwrap();
    lines.push_str("{\"type\":\"latents\",\"fi");
    fs::write(cache.join("index.jsonl"), &lines).unwrap();
    fs::write(cache.join(".vldm-x.partial"), "half").unwrap();
    refused(
        losses(with_cache(IMAGE, &cache)),
        "only some of its frames are there; run `vldm data encode` for this recipe",
    );

    let report = encode(IMAGE, &cache, settings);
    assert_eq!((report.frames, report.damaged), (180, 1));
    assert!((100..=140).contains(&report.new_frames), "{report:?}");
    assert!(!cache.join(".vldm-x.partial").exists());
    let expected = losses(Recipe::parse(IMAGE).unwrap()).unwrap();
    assert_eq!(losses(with_cache(IMAGE, &cache)).unwrap(), expected);

    for (name, cut) in [
        ("latents-00001", false),
        ("latents-00004", true),
        ("prompts-00000", false),
    ] {
        let path = cache.join(format!("{name}.safetensors"));
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes.truncate(if cut { last } else { last + 1 });
        fs::write(&path, bytes).unwrap();
    }
    let error = losses(with_cache(IMAGE, &cache)).unwrap_err().to_string();
    assert!(error.contains("which makes damaged files anew"), "{error}");
    let report = encode(IMAGE, &cache, settings);
    assert_eq!(report.damaged, 3);
    assert!((30..=60).contains(&report.new_frames), "{report:?}");
    assert_eq!(report.new_prompts, report.prompts);
    assert_eq!(losses(with_cache(IMAGE, &cache)).unwrap(), expected);
    let report = encode(IMAGE, &cache, settings);
    assert_eq!(
        (report.damaged, report.new_frames, report.new_prompts),
        (0, 0, 0)
    );
}

#[test]
fn a_cache_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let settings = EncodeSettings::default();
    refused(
        losses(with_cache(IMAGE, &cache)),
        "there is no cache of latents in it",
    );
    encode(IMAGE, &cache, settings);
    let check = |from: &str, to: &str, expected: &str| {
        let text = IMAGE.replacen(from, to, 1);
        refused(losses(with_cache(&text, &cache)), expected);
    };
    check(
        "steps = 10",
        "steps = 10\nstart = { seed = 3 }",
        "the cache does not suit the recipe: its latents are of the autoencoder ",
    );
    check(
        "steps = 10",
        "steps = 10\ndtype = \"bf16\"",
        "it was computed in f32, the recipe computes in bf16",
    );
    check(
        "clips = 4",
        "clips = 5",
        "lacks 1 of the 5 clips that the recipe asks for, the first of them world/4 at 64x32: \
         nothing of it is there",
    );
    check("clips = 4", "clips = 4\nseed = 1", "lacks 4 of the 4 clips");
    check("clips = 4", "clips = 4\nseed = 1", "\"seed\":1");
    check("[[32, 64]]", "[[64, 64]]", "it is there at 64x32");
    let start = |text: &str, settings| {
        let recipe = Recipe::parse(text).unwrap();
        Encode::start(&recipe, &cache, settings, &Device::flex())
    };
    let other = IMAGE.replace("steps = 10", "steps = 10\nstart = { seed = 3 }");
    refused(
        start(&other, settings),
        "holds another cache: its latents are of",
    );
    let half = EncodeSettings {
        stored: StoredType::F16,
        ..settings
    };
    refused(start(IMAGE, half), "it stores f32, f16 is asked for");
    // Another size is added to what is there.
    let larger = IMAGE.replace("[[32, 64]]", "[[64, 64]]");
    assert_eq!(encode(&larger, &cache, settings).new_frames, 180);
    assert_eq!(encode(IMAGE, &cache, settings).new_frames, 0);
    fs::remove_file(cache.join("cache.json")).unwrap();
    refused(start(IMAGE, settings), "neither empty nor a cache");
}

#[test]
fn prompts_are_cached_where_their_encoder_is_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let learning = IMAGE.replace(
        "steps = 10",
        "steps = 10\nlearns = [\"unet.\", \"text_encoder.\"]",
    );
    let cache = folder.path().join("cache");
    let report = encode(&learning, &cache, EncodeSettings::default());
    assert_eq!((report.prompts, report.new_frames), (0, 180));
    let expected = losses(Recipe::parse(&learning).unwrap()).unwrap();
    assert_eq!(losses(with_cache(&learning, &cache)).unwrap(), expected);
    refused(
        losses(with_cache(IMAGE, &cache)),
        "the cache lacks the prompt",
    );
    let report = encode(IMAGE, &cache, EncodeSettings::default());
    assert!(report.prompts > 2, "{report:?}");
    assert_eq!((report.new_prompts, report.new_frames), (report.prompts, 0));
    assert!(losses(with_cache(IMAGE, &cache)).is_ok());

    // A text encoder that has learnt since.
    let mut made_by = made_by::MadeBy::load(&cache).unwrap().unwrap();
    let now = made_by
        .text_encoder
        .replace("of another text encoder".into());
    made_by.save(&cache).unwrap();
    refused(
        losses(with_cache(IMAGE, &cache)),
        "its prompts are of the text encoder",
    );
    let report = encode(IMAGE, &cache, EncodeSettings::default());
    assert_eq!((report.new_prompts, report.new_frames), (report.prompts, 0));
    assert_eq!(
        made_by::MadeBy::load(&cache).unwrap().unwrap().text_encoder,
        now
    );
    assert!(losses(with_cache(IMAGE, &cache)).is_ok());
}

#[test]
fn what_cannot_be_cached_is_told() {
    let check = |from: &str, to: &str, expected: &str| {
        let text = IMAGE.replace(from, to);
        let recipe = Recipe::parse(&text).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let started = Encode::start(
            &recipe,
            folder.path(),
            EncodeSettings::default(),
            &Device::flex(),
        );
        refused(started, expected);
        let text = format!("cache = \"cache\"\n{text}");
        refused(Recipe::parse(&text), expected);
    };
    check("\"image\"", "\"autoencoder\"", "learns to make pictures");
    check(
        "[batch]",
        "[batch]\nfit = { type = \"patch\" }",
        "patches at random places",
    );
    check(
        "steps = 10",
        "steps = 10\nlearns = [\"autoencoder.encoder.\"]",
        "whose latents then change",
    );
    let svd = IMAGE
        .replace("tiny-sd15", "tiny-svd")
        .replace("\"image\"", "\"svd\"");
    refused(
        Recipe::parse(&format!("cache = \"c\"\n{svd}")),
        "reads the pictures themselves",
    );
    let pixels = IMAGE.replace("tiny-sd15", "tiny-driving-upsampler");
    refused(
        Recipe::parse(&format!("cache = \"c\"\n{pixels}")),
        "it diffuses pixels",
    );
}
