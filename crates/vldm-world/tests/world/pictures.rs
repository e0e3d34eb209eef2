//! Pictures: the same from the same seed, and as bright as their labels say.

use vldm_media::Frame;
use vldm_world::{RoadKind, SceneOptions, TimeOfDay, Weather};

use crate::{pinned, world};

/// FNV-1a.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn brightness(frame: &Frame) -> f64 {
    let sum: u64 = frame.rgb().iter().map(|&byte| u64::from(byte)).sum();
    sum as f64 / frame.rgb().len() as f64
}

/// The same bytes on every machine. A change of looks changes this number.
#[test]
fn a_seed_is_always_the_same_pictures() {
    let frames = (0..24).map(|seed| world(seed, 20).render(10).unwrap());
    let hash = hash(frames.flat_map(Frame::into_rgb));
    assert_eq!(hash, 0x0939_57e6_36f6_d320, "{hash:#x}");
}

#[test]
fn frames_do_not_depend_on_the_order() {
    for seed in [1, 4, 9] {
        let world = world(seed, 12);
        let clip = world.clip().unwrap();
        for frame in [11, 0, 5] {
            assert_eq!(world.render(frame).unwrap(), clip.frames()[frame]);
        }
        let again = crate::world(seed, 12);
        assert_eq!(again.render(7).unwrap(), clip.frames()[7]);
        assert_eq!(again.boxes(7), world.boxes(7));
        assert_eq!(again.caption(), world.caption());
    }
}

#[test]
fn nights_are_darker_than_days() {
    let mean = |seed, time| {
        let options = SceneOptions {
            time_of_day: Some(time),
            ..SceneOptions::default()
        };
        brightness(&pinned(seed, 8, options).render(4).unwrap())
    };
    let mut sums = [0.0; 3];
    for seed in 0..30 {
        let times = [TimeOfDay::Day, TimeOfDay::Dusk, TimeOfDay::Night];
        let [day, dusk, night] = times.map(|time| mean(seed, time));
        assert!(night + 20.0 < day && dusk < day, "{day} {dusk} {night}");
        sums = [sums[0] + day, sums[1] + dusk, sums[2] + night];
    }
    assert!(
        sums[2] < 0.75 * sums[1] && sums[1] < 0.85 * sums[0],
        "{sums:?}"
    );
}

#[test]
fn fog_hides_and_frames_move() {
    let contrast = |seed, weather| {
        let options = SceneOptions {
            weather: Some(weather),
            time_of_day: Some(TimeOfDay::Day),
            ..SceneOptions::default()
        };
        let frame = pinned(seed, 8, options).render(4).unwrap();
        // The strip around the horizon.
        let strip = (26..31).flat_map(|y| frame.row(y).to_vec());
        let values: Vec<f64> = strip.map(f64::from).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| (value - mean).abs()).sum::<f64>() / values.len() as f64
    };
    let sum = |weather| (0..30).map(|seed| contrast(seed, weather)).sum::<f64>();
    assert!(sum(Weather::Fog) < 0.75 * sum(Weather::Clear));
    for seed in 0..20 {
        let world = world(seed, 4);
        assert_ne!(world.render(0), world.render(1), "seed {seed}");
    }
}

/// The ground meets the sky without a seam, uphill and downhill.
#[test]
fn no_row_is_black_by_day() {
    for seed in 0..30 {
        let options = SceneOptions {
            time_of_day: Some(TimeOfDay::Day),
            weather: Some(Weather::Clear),
            road: Some(RoadKind::Country),
            ..SceneOptions::default()
        };
        let world = pinned(seed, 900, options);
        for frame in [0, 300, 600, 899] {
            let picture = world.render(frame).unwrap();
            for y in 0..picture.height() {
                let sum: u32 = picture.row(y).iter().copied().map(u32::from).sum();
                let mean = sum / (3 * picture.width());
                assert!(mean > 40, "seed {seed}, frame {frame}: row {y} has {mean}");
            }
        }
    }
}
