//! Measures how many frames per second one core renders, over the scenes of 60 seeds.
//!
//! `cargo run --release -p vldm-world --example speed -- [WIDTH HEIGHT]`

#![allow(clippy::print_stdout)]

use std::time::Instant;

use vldm_world::{ClipSpec, World};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sides = std::env::args()
        .skip(1)
        .map(|side| side.parse())
        .collect::<Result<Vec<u32>, _>>()?;
    let &[width, height] = sides.as_slice() else {
        return Err("expected a width and a height".into());
    };
    let (seeds, num_frames) = (60, 32);
    let started = Instant::now();
    let mut bytes = 0;
    for seed in 0..seeds {
        let world = World::new(ClipSpec {
            width,
            height,
            num_frames,
            fps: "8".parse()?,
            seed,
        })?;
        for frame in 0..num_frames {
            bytes += world.render(frame)?.rgb().len();
        }
    }
    let frames = seeds as f64 * num_frames as f64;
    let rate = frames / started.elapsed().as_secs_f64();
    println!("{width}x{height}: {frames} frames, {bytes} bytes, {rate:.0} frames per second");
    Ok(())
}
