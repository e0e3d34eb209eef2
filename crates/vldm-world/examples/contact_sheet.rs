//! Draws contact sheets of the driving world, with and without boxes.
//!
//! `cargo run --release -p vldm-world --example contact_sheet -- OUT_DIR [WIDTH HEIGHT]`
//!
//! One sheet per scene: its clip in time. `seeds.png` shows first frames of many seeds, and
//! `world-day.png` and `world-night.png` one of each kind, and
//! standard output gets the captions and labels.

#![allow(clippy::print_stdout)]

use std::path::Path;

use vldm_media::{Clip, Fps, Frame, contact_sheet, write_image};
use vldm_world::{
    Class, ClipSpec, Curvature, Density, Livery, ObjectBox, Paint, Place, RoadKind, SceneOptions,
    Subject, TimeOfDay, VehicleKind, Weather, World,
};

const SUBJECT: Subject = Subject {
    kind: VehicleKind::Hatchback,
    paint: Paint::Red,
    livery: Livery::Stripe {
        paint: Paint::White,
    },
    distance: 7.0,
    place: Place::Ahead,
};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("expected a folder to write to")?;
    let sides = arguments
        .map(|side| side.parse())
        .collect::<Result<Vec<u32>, _>>()?;
    let size = match sides.as_slice() {
        [] => (256, 128),
        &[width, height] => (width, height),
        _ => return Err("expected a width and a height".into()),
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    for (name, seed, options) in scenes() {
        let spec = spec(size, 12, Fps::new(3, 1)?, seed);
        let world = World::with_options(spec, &options)?;
        println!("{name}: {}", world.caption());
        println!("  {:?}", world.labels());
        write(folder, &name, &sheet(&world, false)?)?;
        write(folder, &format!("{name}-boxes"), &sheet(&world, true)?)?;
    }
    let firsts = (0..20)
        .map(|seed| {
            let world = World::new(spec(size, 16, Fps::new(8, 1)?, seed))?;
            println!("seed {seed}: {}", world.caption());
            Ok(world.render(8)?)
        })
        .collect::<Result<Vec<Frame>, Error>>()?;
    let seeds = contact_sheet(&Clip::new(firsts, Fps::FILM)?, 4)?;
    write(folder, "seeds", &seeds)?;
    write(folder, "world-day", &showcase(size, false)?)?;
    write(folder, "world-night", &showcase(size, true)?)
}

fn spec((width, height): (u32, u32), num_frames: usize, fps: Fps, seed: u64) -> ClipSpec {
    ClipSpec {
        width,
        height,
        num_frames,
        fps,
        seed,
    }
}

/// Every kind of road at several times, a clip of lane changes and one of a subject.
fn scenes() -> Vec<(String, u64, SceneOptions)> {
    use {RoadKind as R, TimeOfDay as T, Weather as W};
    let airs = [
        (T::Day, W::Clear),
        (T::Day, W::Rain),
        (T::Dusk, W::Cloudy),
        (T::Night, W::Clear),
        (T::Night, W::Rain),
        (T::Night, W::Fog),
    ];
    let crowds = [Density::Moderate, Density::Heavy, Density::Light];
    let bends = [Curvature::Straight, Curvature::Left, Curvature::Right];
    let mut scenes = Vec::new();
    for road in [R::Highway, R::Country, R::City] {
        for (time_of_day, weather) in airs {
            let seed = scenes.len();
            let options = SceneOptions {
                time_of_day: Some(time_of_day),
                weather: Some(weather),
                density: Some(crowds[seed % 3]),
                road: Some(road),
                curvature: Some(bends[seed / 2 % 3]),
                ..SceneOptions::default()
            };
            let name = format!("{road:?}-{time_of_day:?}-{weather:?}").to_lowercase();
            scenes.push((name, seed as u64, options));
        }
    }
    let changes = SceneOptions {
        lane_changes: Some(true),
        ..SceneOptions::default()
    };
    scenes.push(("lane-changes".to_owned(), 5, changes));
    let empty = SceneOptions {
        density: Some(Density::Empty),
        ..SceneOptions::default()
    };
    scenes.push(("empty".to_owned(), 6, empty));
    let subject = SceneOptions {
        subject: Some(SUBJECT),
        ..SceneOptions::default()
    };
    scenes.push(("subject".to_owned(), 13, subject));
    scenes
}

/// One picture each of six of the scenes, by day or by night.
fn showcase(size: (u32, u32), night: bool) -> Result<Frame, Error> {
    use {Density as D, RoadKind as R, Weather as W};
    let scenes = [
        (21, R::Highway, W::Clear, D::Moderate),
        (22, R::Country, W::Clear, D::Moderate),
        (23, R::City, W::Clear, D::Heavy),
        (24, R::Highway, W::Rain, D::Heavy),
        (25, R::Country, W::Fog, D::Moderate),
        (26, R::City, W::Rain, D::Moderate),
    ];
    let frames = scenes.map(|(seed, road, weather, density)| {
        let options = SceneOptions {
            time_of_day: Some(if night {
                TimeOfDay::Night
            } else {
                TimeOfDay::Day
            }),
            weather: Some(weather),
            density: Some(density),
            road: Some(road),
            ..SceneOptions::default()
        };
        let world = World::with_options(spec(size, 16, Fps::new(8, 1)?, seed), &options)?;
        Ok(world.render(8)?)
    });
    let frames = frames.into_iter().collect::<Result<Vec<_>, Error>>()?;
    Ok(contact_sheet(&Clip::new(frames, Fps::FILM)?, 3)?)
}

fn sheet(world: &World, with_boxes: bool) -> Result<Frame, Error> {
    let frames = (0..world.spec().num_frames)
        .map(|number| {
            let mut frame = world.render(number)?;
            if with_boxes {
                for object in world.boxes(number)? {
                    outline(&mut frame, &object);
                }
            }
            Ok(frame)
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(contact_sheet(&Clip::new(frames, world.spec().fps)?, 4)?)
}

/// Draws a box, one pixel wide.
fn outline(frame: &mut Frame, object: &ObjectBox) {
    let color = match object.class {
        Class::Car => [0, 255, 80],
        Class::Truck => [255, 200, 0],
        Class::Pedestrian => [255, 0, 200],
    };
    let (width, height) = frame.size();
    let pixel = |share: f32, side: u32| ((share * side as f32) as u32).min(side - 1);
    let (x0, x1) = (pixel(object.x0, width), pixel(object.x1, width));
    let (y0, y1) = (pixel(object.y0, height), pixel(object.y1, height));
    let mut set = |x: u32, y: u32| {
        let at = (y as usize * width as usize + x as usize) * 3;
        frame.rgb_mut()[at..at + 3].copy_from_slice(&color);
    };
    for x in x0..=x1 {
        set(x, y0);
        set(x, y1);
    }
    for y in y0..=y1 {
        set(x0, y);
        set(x1, y);
    }
}

fn write(folder: &Path, name: &str, sheet: &Frame) -> Result<(), Error> {
    let path = folder.join(format!("{name}.png"));
    write_image(&path, sheet, &vldm_media::WriteOptions::default())?;
    Ok(())
}
