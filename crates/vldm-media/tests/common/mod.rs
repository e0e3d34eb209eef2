//! Clips to write and ways to compare them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "every test file uses its own part, and failures are panics here"
)]

use vldm_media::{Clip, Fps, Frame};

/// A smooth picture that moves, with all colours in it.
pub fn gradient(width: u32, height: u32, num_frames: usize, fps: &str) -> Clip {
    let wave = |x: f32| (127.5 + 110.0 * x.sin()) as u8;
    let frames = (0..num_frames).map(|t| {
        Frame::from_fn(width, height, |x, y| {
            let (x, y, t) = (x as f32 / 20.0, y as f32 / 20.0, t as f32 / 6.0);
            [wave(x + t), wave(y - t / 2.0), wave((x + y) / 2.0 + t)]
        })
        .unwrap()
    });
    Clip::new(frames.collect(), fps.parse().unwrap()).unwrap()
}

/// The eight colours of full-amplitude bars, 16 pixels each.
pub const BARS: [[u8; 3]; 8] = [
    [255, 255, 255],
    [255, 255, 0],
    [0, 255, 255],
    [0, 255, 0],
    [255, 0, 255],
    [255, 0, 0],
    [0, 0, 255],
    [0, 0, 0],
];

pub fn bars(num_frames: usize) -> Clip {
    let frame = Frame::from_fn(128, 64, |x, _| BARS[x as usize / 16]).unwrap();
    Clip::new(vec![frame; num_frames], Fps::FILM).unwrap()
}

/// How far the middle of each bar is from its colour, at worst.
pub fn worst_bar(frame: &Frame) -> u8 {
    let worst = |(i, bar): (u32, &[u8; 3])| {
        let pixel = frame.pixel(i * 16 + 8, 32);
        pixel.iter().zip(bar).map(|(a, b)| a.abs_diff(*b)).max()
    };
    (0..).zip(&BARS).filter_map(worst).max().unwrap()
}

/// Peak signal-to-noise ratio in decibels, over all frames; the second clip may be larger.
pub fn psnr(a: &Clip, b: &Clip) -> f64 {
    assert_eq!(a.num_frames(), b.num_frames());
    let mut sum = 0u64;
    for (a, b) in a.frames().iter().zip(b.frames()) {
        for y in 0..a.height() {
            let pairs = a.row(y).iter().zip(b.row(y));
            sum += pairs
                .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
                .sum::<u64>();
        }
    }
    let count = a.num_frames() * a.frames()[0].rgb().len();
    10.0 * (255.0f64.powi(2) * count as f64 / (sum.max(1)) as f64).log10()
}

/// The names in a folder.
pub fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Whether ffmpeg is installed; says so when a test is left out.
pub fn has_ffmpeg() -> bool {
    let installed = std::process::Command::new("ffprobe")
        .arg("-version")
        .output()
        .is_ok();
    if !installed {
        println!("left out: ffmpeg is not installed");
    }
    installed
}
