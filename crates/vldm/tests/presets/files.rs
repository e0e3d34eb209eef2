//! Files, round trips and exact counts.

use std::collections::BTreeSet;

use vldm::preset::{Part, Preset, inspect};

use crate::common::preset;

/// What the project promises, whatever the files say.
const PROMISED: [(&str, Part, usize); 12] = [
    ("sd15", Part::Autoencoder, 83_653_863),
    ("sd15", Part::Unet, 859_520_964),
    ("sd15-video", Part::Temporal, 649_687_078),
    ("sd21", Part::Unet, 865_910_724),
    ("sd21-video", Part::Temporal, 656_076_838),
    ("svd", Part::VideoUnet, 1_524_623_082),
    ("svd-xt", Part::VideoUnet, 1_524_623_082),
    ("x4-upscaler", Part::Unet, 473_398_020),
    ("sd15", Part::TextEncoder, 123_060_480),
    ("sd21", Part::TextEncoder, 340_387_840),
    ("svd", Part::ImageEncoder, 632_076_800),
    ("sd15-interpolation", Part::VideoUnet, 1_509_222_442),
];

#[test]
fn promised_counts() {
    for (name, part, expected) in PROMISED {
        assert_eq!(preset(name).count(part), expected, "{name} {part:?}");
    }
}

#[test]
fn every_file_is_compiled_in_under_its_name() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../presets");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder of presets")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into())
        .collect();
    files.sort();
    assert_eq!(files, Preset::names());
    for name in Preset::names() {
        assert_eq!(preset(name).name, name);
        let path = format!("{folder}/{name}.toml");
        assert_eq!(Preset::load(&path).expect("by its path"), preset(name));
    }
}

#[test]
fn every_preset_round_trips() {
    for name in Preset::names() {
        let preset = preset(name);
        let text = preset.to_toml().expect("as TOML");
        let again = Preset::parse(&text, name).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again, preset);
    }
}

#[test]
fn every_part_has_the_size_it_claims() {
    let mut wrong = Vec::new();
    for name in Preset::names() {
        let preset = preset(name);
        let claimed: BTreeSet<Part> = preset.sizes.keys().copied().collect();
        let parts: BTreeSet<Part> = preset.parts().into_iter().collect();
        assert!(
            claimed.is_superset(&parts),
            "{name} claims {claimed:?}, has {parts:?}"
        );
        for (part, size) in &preset.sizes {
            let count = preset.count(*part);
            if count != size.parameters {
                let key = serde_json::to_value(part).expect("a name");
                wrong.push(format!("{name} {key} {count}"));
            }
        }
        if let Some(total) = &preset.total {
            let found = inspect(&preset).expect("a stack of presets");
            let (sum, trained) = (found.total(), found.trained_on_video());
            if (sum, trained) != (total.parameters, total.trained_on_video) {
                wrong.push(format!("{name} total {sum} {trained}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn sums_agree_with_the_paper_as_printed() {
    let check = |count: usize, unit: f64, digits: usize, printed: &str| {
        assert_eq!(format!("{:.digits$}", count as f64 / unit), printed);
    };
    let stack = inspect(&preset("stack-text-to-video")).expect("a stack");
    check(stack.total(), 1e9, 1, "4.1");
    check(stack.trained_on_video(), 1e9, 1, "2.7");
    let temporal = preset("x4-upscaler-video").count(Part::Temporal);
    check(temporal, 1e6, 1, "448.4");
    check(preset("x4-upscaler").count(Part::Autoencoder), 1e6, 0, "55");
    let interpolation = preset("sd15-interpolation");
    check(interpolation.count(Part::VideoUnet), 1e6, 0, "1509");
}

#[test]
fn every_preset_has_a_tiny_sibling_of_the_same_form() {
    for name in Preset::names() {
        // The shipped family is small as it is.
        if name.starts_with("tiny-") || name.contains("world") {
            continue;
        }
        let (full, tiny) = (preset(name), preset(&format!("tiny-{name}")));
        assert_eq!(full.parts(), tiny.parts(), "{name}");
        assert_eq!(full.diffusion, tiny.diffusion, "{name}");
        assert_eq!(full.stages.len(), tiny.stages.len(), "{name}");
        let levels = |preset: &Preset| preset.unet.as_ref().map(|unet| unet.levels.len());
        assert_eq!(levels(&full), levels(&tiny), "{name}");
    }
}

#[test]
fn inspection_prints_ours_beside_the_papers() {
    let check = |name: &str, expected: &[&str]| {
        let table = inspect(&preset(name)).expect("valid").to_string();
        for line in expected {
            assert!(table.contains(line), "{line:?} is not in\n{table}");
        }
        println!("{table}");
    };
    check(
        "sd15-video",
        &[
            "859,520,964",
            "649,687,078  649,687,078  paper: 649 M",
            "(text encoder)",
            "paper: 1,509 M",
        ],
    );
    check("svd", &["1,524,623,082", "Stability AI Community License"]);
    check(
        "stack-text-to-video",
        &[
            "key frames: U-Net",
            "(decoder: decoder's temporal layers)",
            "paper: 4.1 B, 2.7 B trained on video",
        ],
    );
    for name in Preset::names() {
        check(name, &[]);
    }
}
