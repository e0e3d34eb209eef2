//! Things move as they do on a road.

use std::collections::HashMap;

use vldm_world::{ObjectBox, ObjectId, RoadKind, SceneOptions, World};

use crate::{pinned, spec, world};

fn by_id(world: &World, frame: usize) -> HashMap<ObjectId, ObjectBox> {
    let boxes = world.boxes(frame).unwrap();
    boxes
        .into_iter()
        .map(|object| (object.id, object))
        .collect()
}

#[test]
fn no_box_jumps() {
    for seed in 0..25 {
        let world = world(seed, 240);
        let mut last = by_id(&world, 0);
        for frame in 1..240 {
            let now = by_id(&world, frame);
            for (id, object) in &now {
                let Some(before) = last.get(id) else { continue };
                // At most a fifth of its own size and a little more, from one frame to the next.
                let size = (object.x1 - object.x0).max(object.y1 - object.y0);
                let bound = 0.015 + 0.45 * size;
                for (a, b) in object.corners().iter().zip(before.corners()) {
                    let moved = (a - b).abs();
                    assert!(
                        moved < bound,
                        "seed {seed}, frame {frame}: {before:?} to {object:?}"
                    );
                }
            }
            last = now;
        }
    }
}

#[test]
fn nothing_appears_from_nowhere() {
    for seed in 0..25 {
        let world = world(seed, 240);
        let mut last = by_id(&world, 0);
        for frame in 1..240 {
            let now = by_id(&world, frame);
            for object in now.values().filter(|object| !last.contains_key(&object.id)) {
                let far = object.y1 - object.y0 < 0.09;
                let edge = object.x0 < 0.02 || object.x1 > 0.98;
                let behind = object.visible < 0.85;
                // Whoever walks behind a passing car comes out from one frame to the next.
                let narrow = object.x1 - object.x0 < 0.04;
                assert!(
                    far || edge || behind || narrow,
                    "seed {seed}, frame {frame}: {object:?}"
                );
            }
            last = now;
        }
    }
}

#[test]
fn five_minutes_work() {
    for (seed, road) in [
        (3, RoadKind::Highway),
        (4, RoadKind::City),
        (5, RoadKind::Country),
    ] {
        let options = SceneOptions {
            road: Some(road),
            lane_changes: (road != RoadKind::Country).then_some(true),
            ..SceneOptions::default()
        };
        let world = pinned(seed, 9000, options);
        let mut last = world.ego(0).unwrap();
        let (mut boxes, mut changes) = (0, 0);
        for frame in (15..9000).step_by(15) {
            let now = world.ego(frame).unwrap();
            let moved = now.travelled - last.travelled;
            assert!((0.5..25.0).contains(&moved), "frame {frame}: {moved} m");
            changes += usize::from(now.lane != last.lane);
            last = now;
            for object in world.boxes(frame).unwrap() {
                boxes += 1;
                let ahead = object.x0 < 0.4 && object.x1 > 0.6;
                let hit = ahead && object.distance < 2.0;
                assert!(!hit, "frame {frame}: the car drives into {object:?}");
            }
        }
        assert!(boxes > 0, "{road:?}");
        assert_eq!(
            changes > 8,
            road != RoadKind::Country,
            "{changes} lane changes"
        );
        for frame in [0, 4500, 8999] {
            let picture = world.render(frame).unwrap();
            let first = picture.pixel(64, 60);
            assert!(picture.rgb().chunks(3).any(|pixel| pixel != first));
        }
    }
}

#[test]
fn the_car_drives_at_the_pinned_speed() {
    for seed in 0..20 {
        let options = SceneOptions {
            speed: Some(20.0),
            lane_changes: Some(false),
            ..SceneOptions::default()
        };
        let world = pinned(seed, 900, options);
        let metres = world.ego(899).unwrap().travelled;
        assert!((metres / 29.97 - 20.0).abs() < 2.5, "{metres} m");
    }
}

#[test]
fn the_rate_changes_only_the_times() {
    let slow = World::new(vldm_world::ClipSpec {
        fps: "10".parse().unwrap(),
        ..spec(6, (128, 64), 20)
    });
    let fast = World::new(spec(6, (128, 64), 60));
    let (slow, fast) = (slow.unwrap(), fast.unwrap());
    for frame in [0, 7, 19] {
        assert_eq!(slow.render(frame), fast.render(3 * frame));
    }
}
