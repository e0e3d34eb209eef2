//! What cannot be is refused, in words.

use vldm_media::Fps;
use vldm_world::{
    ClipSpec, Error, Livery, Paint, Place, RoadKind, SceneOptions, Subject, VehicleKind, World,
};

use crate::{spec, world};

const SUBJECT: Subject = Subject {
    kind: VehicleKind::Sedan,
    paint: Paint::Green,
    livery: Livery::Plain,
    distance: 10.0,
    place: Place::Left,
};

#[track_caller]
fn refuses(spec: ClipSpec, options: SceneOptions, words: &str) {
    let error = World::with_options(spec, &options).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn sizes_and_lengths_have_limits() {
    let free = SceneOptions::default();
    for size in [
        (0, 64),
        (128, 0),
        (7, 64),
        (128, 100_000),
        (u32::MAX, u32::MAX),
    ] {
        refuses(spec(1, size, 4), free, "pixels");
    }
    refuses(spec(1, (128, 64), 0), free, "at least one frame");
    refuses(spec(1, (128, 64), usize::MAX), free, "at most");
    assert!(Fps::new(0, 1).is_err());
}

#[test]
fn extreme_clips_render() {
    for size in [(8, 8), (8, 300), (300, 8), (33, 57)] {
        for seed in 0..30 {
            let world = World::new(spec(seed, size, 3)).unwrap();
            assert_eq!(world.render(2).unwrap().size(), size);
            world.boxes(2).unwrap();
        }
    }
    let slow = ClipSpec {
        fps: Fps::new(1, 1000).unwrap(),
        ..spec(3, (64, 32), 80)
    };
    let world = World::new(slow).unwrap();
    assert_eq!(world.render(79).unwrap().size(), (64, 32));
    let last = World::new(spec(u64::MAX, (64, 32), 1)).unwrap();
    assert!(!last.caption().is_empty());
}

#[test]
fn settings_have_ranges() {
    let ok = spec(1, (128, 64), 4);
    for speed in [0.0, -3.0, 99.0, f32::NAN, f32::INFINITY] {
        let speed = Some(speed);
        refuses(
            ok,
            SceneOptions {
                speed,
                ..SceneOptions::default()
            },
            "metres per second",
        );
    }
    for distance in [0.0, 500.0, f32::NAN] {
        let subject = Some(Subject {
            distance,
            ..SUBJECT
        });
        refuses(
            ok,
            SceneOptions {
                subject,
                ..SceneOptions::default()
            },
            "metres ahead",
        );
    }
}

#[test]
fn contradictions_are_named() {
    let ok = spec(1, (128, 64), 4);
    let country = SceneOptions {
        road: Some(RoadKind::Country),
        ..SceneOptions::default()
    };
    let lane_changes = Some(true);
    let subject = Some(SUBJECT);
    refuses(
        ok,
        SceneOptions {
            lane_changes,
            ..country
        },
        "one lane",
    );
    refuses(ok, SceneOptions { subject, ..country }, "one lane");
    let both = SceneOptions {
        lane_changes,
        subject,
        ..SceneOptions::default()
    };
    refuses(ok, both, "keeps its lane");
    let error = World::with_options(ok, &both).unwrap_err();
    assert!(matches!(error, Error::Contradiction(_)));
}

#[test]
fn frames_after_the_end_are_an_error() {
    let world = world(1, 4);
    let expected = Error::NoSuchFrame {
        frame: 4,
        num_frames: 4,
    };
    assert_eq!(world.render(4).unwrap_err(), expected);
    assert_eq!(world.boxes(4).unwrap_err(), expected);
    let error = world.ego(usize::MAX).unwrap_err().to_string();
    assert!(error.contains("4 frames"), "{error}");
    assert!(world.crowdedness(9).is_err());
}
