//! Captions and labels say what is there.

use std::collections::HashSet;

use vldm_world::{
    Curvature, Density, Livery, Paint, Place, RoadKind, SceneOptions, Subject, TimeOfDay,
    VehicleKind, Weather, World, vocabulary, words,
};

use crate::{pinned, spec, world};

#[test]
fn every_word_of_ten_thousand_captions_is_in_the_vocabulary() {
    let vocabulary: HashSet<&str> = vocabulary().collect();
    let mut unused = vocabulary.clone();
    let mut different = HashSet::new();
    for seed in 0..10_000 {
        let subject = (seed % 10 == 0).then_some(Subject {
            kind: VehicleKind::ALL[seed as usize % 6],
            paint: Paint::ALL[seed as usize / 10 % 10],
            livery: match seed % 3 {
                0 => Livery::Stripe { paint: Paint::Blue },
                1 => Livery::TwoTone {
                    paint: Paint::White,
                },
                _ => Livery::Plain,
            },
            distance: 12.0,
            place: Place::Ahead,
        });
        let options = SceneOptions {
            subject,
            ..SceneOptions::default()
        };
        let caption = pinned(seed, 2, options).caption();
        for word in words(&caption) {
            assert!(vocabulary.contains(word), "`{word}` of `{caption}`");
            unused.remove(word);
        }
        different.insert(caption);
    }
    assert!(unused.is_empty(), "never used: {unused:?}");
    assert!(different.len() > 7000, "{}", different.len());
}

#[test]
fn a_vocabulary_names_each_word_once_in_order() {
    let words: Vec<&str> = vocabulary().collect();
    assert!(words.windows(2).all(|pair| pair[0] < pair[1]), "{words:?}");
}

#[test]
fn labels_say_what_was_pinned() {
    let options = SceneOptions {
        time_of_day: Some(TimeOfDay::Night),
        weather: Some(Weather::Rain),
        density: Some(Density::Heavy),
        road: Some(RoadKind::City),
        curvature: Some(Curvature::Left),
        lane_changes: Some(true),
        ..SceneOptions::default()
    };
    for seed in 0..20 {
        let world = pinned(seed, 120, options);
        let labels = world.labels();
        assert!(labels.night);
        assert_eq!(labels.weather, Weather::Rain);
        assert_eq!(labels.road, RoadKind::City);
        assert_eq!(labels.curvature, Curvature::Left, "seed {seed}");
        assert!(labels.lane_change.is_some(), "seed {seed}");
        let caption = world.caption();
        let night = caption.contains("night") || caption.contains("dark");
        let rain = caption.contains("rain");
        assert!(night && rain, "{caption}");
    }
}

#[test]
fn pinning_one_thing_leaves_the_others() {
    for seed in 0..50 {
        let free = world(seed, 30).labels();
        let options = SceneOptions {
            weather: Some(Weather::Fog),
            ..SceneOptions::default()
        };
        let foggy = pinned(seed, 30, options).labels();
        assert_eq!(free.time_of_day, foggy.time_of_day);
        assert_eq!(free.road, foggy.road);
        assert_eq!(free.density, foggy.density);
    }
}

#[test]
fn words_do_not_depend_on_the_size() {
    for seed in 0..20 {
        let of = |size| World::new(spec(seed, size, 30)).unwrap();
        let (small, large) = (of((64, 32)), of((512, 256)));
        assert_eq!(small.caption(), large.caption());
        assert_eq!(small.labels(), large.labels());
    }
}

#[test]
fn settings_are_written_and_read() {
    let text = r#"{"time_of_day":"dusk","subject":{"kind":"suv","paint":"blue","distance":8.0,
        "livery":{"type":"stripe","paint":"yellow"},"place":"left"}}"#;
    let options: SceneOptions = serde_json::from_str(text).unwrap();
    assert_eq!(options.time_of_day, Some(TimeOfDay::Dusk));
    assert_eq!(options.subject.unwrap().place, Place::Left);
    assert!(serde_json::from_str::<SceneOptions>(r#"{"sun":1}"#).is_err());
}
