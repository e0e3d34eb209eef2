//! Boxes stand where the pictures show something.

use vldm_media::Frame;
use vldm_world::{
    Density, Livery, MAX_BOXES, ObjectBox, ObjectId, Paint, Place, SceneOptions, Subject,
    TimeOfDay, VehicleKind, Weather, World,
};

use crate::{pinned, spec, world};

fn pixels(frame: &Frame, object: &ObjectBox) -> [u32; 4] {
    let (w, h) = (frame.width() as f32, frame.height() as f32);
    let floor = |share: f32, side: f32| (share * side).floor() as u32;
    let ceil = |share: f32, side: f32| (share * side).ceil() as u32;
    [
        floor(object.x0, w),
        floor(object.y0, h),
        ceil(object.x1, w).min(frame.width()),
        ceil(object.y1, h).min(frame.height()),
    ]
}

/// The share of a box's pixels that differ visibly between two pictures.
fn changed(object: &ObjectBox, a: &Frame, b: &Frame) -> f32 {
    let [x0, y0, x1, y1] = pixels(a, object);
    let mut differing = 0;
    for y in y0..y1 {
        for x in x0..x1 {
            let (p, q) = (a.pixel(x, y), b.pixel(x, y));
            let most = (0..3).map(|c| p[c].abs_diff(q[c])).max().unwrap();
            differing += u32::from(most > 3);
        }
    }
    differing as f32 / ((x1 - x0) * (y1 - y0)) as f32
}

#[test]
fn boxes_are_ordered_and_inside_the_picture() {
    for seed in 0..60 {
        let world = world(seed, 60);
        for frame in [0, 25, 59] {
            let boxes = world.boxes(frame).unwrap();
            assert!(boxes.len() <= MAX_BOXES);
            for object in &boxes {
                let [x0, y0, x1, y1] = object.corners();
                assert!(
                    0.0 <= x0 && x1 <= 1.0 && 0.0 <= y0 && y1 <= 1.0,
                    "{object:?}"
                );
                assert!(
                    (x1 - x0) * 128.0 >= 1.99 && (y1 - y0) * 64.0 >= 1.99,
                    "{object:?}"
                );
                assert!((0.4..=1.0).contains(&object.visible), "{object:?}");
            }
            let mut ids: Vec<ObjectId> = boxes.iter().map(|object| object.id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(
                ids.len(),
                boxes.len(),
                "seed {seed}: an object has two boxes"
            );
        }
    }
}

#[test]
fn a_box_shows_its_object() {
    let (mut boxes, mut sum) = (0, 0.0);
    for seed in 0..40 {
        let world = world(seed, 60);
        let picture = world.render(30).unwrap();
        for object in world.boxes(30).unwrap() {
            let without = world.render_without(30, object.id).unwrap();
            let share = changed(&object, &picture, &without);
            assert!(share > 0.12, "seed {seed}: {share} of {object:?} changes");
            boxes += 1;
            sum += share;
        }
    }
    // Measured: 0.83 on average.
    assert!(
        boxes > 100 && sum / boxes as f32 > 0.7,
        "{}",
        sum / boxes as f32
    );
}

/// Of the pixels that an object changes, the share within its box and a pixel around it.
fn inside(object: &ObjectBox, a: &Frame, b: &Frame) -> f32 {
    let [x0, y0, x1, y1] = pixels(a, object);
    let (mut all, mut within) = (0, 0);
    for y in 0..a.height() {
        for x in 0..a.width() {
            let (p, q) = (a.pixel(x, y), b.pixel(x, y));
            if (0..3).any(|c| p[c].abs_diff(q[c]) > 12) {
                all += 1;
                let inside = x + 1 >= x0 && x <= x1 && y + 1 >= y0 && y <= y1;
                within += u32::from(inside);
            }
        }
    }
    within as f32 / all.max(1) as f32
}

#[test]
fn by_day_an_object_stays_within_its_box() {
    let options = SceneOptions {
        time_of_day: Some(TimeOfDay::Day),
        weather: Some(Weather::Clear),
        ..SceneOptions::default()
    };
    let mut shares = Vec::new();
    for seed in 0..40 {
        let world = pinned(seed, 60, options);
        let picture = world.render(30).unwrap();
        for object in world.boxes(30).unwrap() {
            let without = world.render_without(30, object.id).unwrap();
            if picture != without {
                shares.push(inside(&object, &picture, &without));
            }
        }
    }
    let mean = shares.iter().sum::<f32>() / shares.len() as f32;
    let least = shares.iter().copied().fold(1.0, f32::min);
    assert!(
        mean > 0.97 && least > 0.7,
        "{mean} on average, {least} at least"
    );
}

#[test]
fn crowded_roads_have_more_boxes() {
    let mean = |density: Density| {
        let of = |seed| {
            let options = SceneOptions {
                density: Some(density),
                ..SceneOptions::default()
            };
            let labels = pinned(seed, 90, options).labels();
            assert_eq!(labels.density, density);
            labels.crowdedness as f32
        };
        (0..40).map(of).sum::<f32>() / 40.0
    };
    let means = [
        Density::Empty,
        Density::Light,
        Density::Moderate,
        Density::Heavy,
    ]
    .map(mean);
    assert_eq!(means[0], 0.0);
    assert!(
        means.windows(2).all(|pair| pair[0] + 1.0 < pair[1]),
        "{means:?}"
    );
}

#[test]
fn counts_are_those_of_the_boxes() {
    for seed in 0..20 {
        let world = World::new(spec(seed, (256, 128), 40)).unwrap();
        let boxes = world.boxes(20).unwrap();
        let vehicles = boxes
            .iter()
            .filter(|object| object.class != vldm_world::Class::Pedestrian)
            .count();
        assert_eq!(world.crowdedness(20).unwrap(), vehicles);
    }
}

#[test]
fn a_subject_stays_close_in_view() {
    for (place, seed) in [(Place::Ahead, 1), (Place::Left, 2), (Place::Right, 3)] {
        let subject = Subject {
            kind: VehicleKind::Hatchback,
            paint: Paint::Red,
            livery: Livery::Stripe {
                paint: Paint::White,
            },
            distance: 9.0,
            place,
        };
        let world = pinned(
            seed,
            90,
            SceneOptions {
                subject: Some(subject),
                ..SceneOptions::default()
            },
        );
        for frame in [0, 45, 89] {
            let boxes = world.boxes(frame).unwrap();
            let seen = boxes.iter().find(|object| object.id == ObjectId::SUBJECT);
            let seen = seen.unwrap_or_else(|| panic!("{place:?}: not in view"));
            assert!(seen.y1 - seen.y0 > 0.2 && seen.visible > 0.9, "{seen:?}");
            let middle = (seen.x0 + seen.x1) / 2.0;
            match place {
                Place::Ahead => assert!((middle - 0.5).abs() < 0.15, "{seen:?}"),
                Place::Left => assert!(middle < 0.45, "{seen:?}"),
                Place::Right => assert!(middle > 0.55, "{seen:?}"),
            }
        }
        let caption = world.caption();
        assert!(caption.contains("with a white stripe"), "{caption}");
    }
}
