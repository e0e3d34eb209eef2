//! MP4 files, written and read back.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "failures are panics here"
)]

mod common;

use std::fs;

use common::{bars, gradient, has_ffmpeg, psnr, worst_bar};
use serde_json::{Value, json};
use vldm_media::{
    Clip, Fps, Frame, ReadOptions, WriteOptions, read, read_metadata, read_mp4_bytes, write,
};

fn round_trip(clip: &Clip) -> Clip {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    write(&path, clip, &WriteOptions::default()).unwrap();
    assert_eq!(common::names(folder.path()), ["clip.mp4"]);
    read(&path, &ReadOptions::default()).unwrap()
}

#[test]
fn smooth_motion_keeps_its_quality() {
    let clip = gradient(128, 96, 30, "24");
    let quality = psnr(&clip, &round_trip(&clip));
    println!("PSNR {quality:.1} dB");
    assert!(quality > 38.0, "{quality:.1} dB");
}

#[test]
fn quality_is_a_choice() {
    let clip = gradient(96, 64, 8, "24");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let made = |quality| {
        let options = WriteOptions {
            quality,
            ..WriteOptions::default()
        };
        write(&path, &clip, &options).unwrap();
        let size = fs::metadata(&path).unwrap().len();
        (
            size,
            psnr(&clip, &read(&path, &ReadOptions::default()).unwrap()),
        )
    };
    let (small, poor) = made(30);
    let (large, fine) = made(100);
    assert!(
        small < large && poor + 3.0 < fine,
        "{poor:.1} dB in {small}, {fine:.1} dB in {large}"
    );
}

#[test]
fn colour_bars_keep_their_colours() {
    let back = round_trip(&bars(3));
    for frame in back.frames() {
        let worst = worst_bar(frame);
        assert!(worst <= 4, "a bar is off by {worst} levels");
    }
}

#[test]
fn counts_sizes_and_rates_come_back() {
    for (width, height, num_frames, fps) in [
        (16, 16, 1, "24"),
        (17, 16, 2, "7.5"),
        (33, 17, 30, "29.97"),
        (64, 48, 30, "24"),
        (130, 66, 2, "12.34"),
        (18, 200, 3, "240"),
        (32, 32, 3, "0.25"),
    ] {
        let clip = gradient(width, height, num_frames, fps);
        let back = round_trip(&clip);
        assert_eq!(back.num_frames(), num_frames);
        assert_eq!(back.fps(), clip.fps());
        assert_eq!(back.width(), width.next_multiple_of(2));
        assert_eq!(back.height(), height.next_multiple_of(2));
    }
}

#[test]
fn a_long_clip_is_whole_and_its_parts_can_be_read() {
    // Several key frames; each frame tells its number by its brightness.
    let frames = (0..120)
        .map(|t| Frame::filled(32, 32, [t * 2; 3]).unwrap())
        .collect();
    let clip = Clip::new(frames, Fps::FILM).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    write(&path, &clip, &WriteOptions::default()).unwrap();
    for (start, count) in [(0, 1), (5, 3), (47, 3), (48, 2), (49, 71), (119, 9)] {
        let options = ReadOptions {
            start,
            count: Some(count),
            ..ReadOptions::default()
        };
        let part = read(&path, &options).unwrap();
        assert_eq!(part.num_frames(), count.min(120 - start));
        for (frame, number) in part.frames().iter().zip(start..) {
            let level = usize::from(frame.pixel(16, 16)[0]);
            assert!(
                level.abs_diff(number * 2) <= 3,
                "frame {number} has level {level}"
            );
        }
    }
    let late = ReadOptions {
        start: 120,
        ..ReadOptions::default()
    };
    assert!(
        read(&path, &late)
            .unwrap_err()
            .to_string()
            .contains("has 120 frames")
    );
    assert_eq!(vldm_media::probe(&path, &late).unwrap(), (&clip).into());
}

#[test]
fn noise_is_neither_dropped_nor_blurred_away() {
    // What rate control is most tempted to skip.
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let frames = (0..24)
        .map(|_| Frame::from_fn(64, 64, |_, _| [noise(); 3]).unwrap())
        .collect();
    let clip = Clip::new(frames, Fps::FILM).unwrap();
    let quality = psnr(&clip, &round_trip(&clip));
    assert!(quality > 35.0, "{quality:.1} dB");
}

#[test]
fn every_truncation_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    write(&path, &gradient(64, 48, 10, "24"), &WriteOptions::default()).unwrap();
    let bytes = fs::read(&path).unwrap();
    for sixteenth in 0..16 {
        let cut = &bytes[..bytes.len() * sixteenth / 16];
        assert!(
            read_mp4_bytes(cut, &ReadOptions::default()).is_err(),
            "at {sixteenth}/16"
        );
        fs::write(&path, cut).unwrap();
        assert!(
            read(&path, &ReadOptions::default()).is_err(),
            "at {sixteenth}/16"
        );
    }
    assert!(read_mp4_bytes(&bytes[..bytes.len() - 1], &ReadOptions::default()).is_err());
}

#[test]
fn damage_anywhere_in_the_index_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    write(&path, &gradient(16, 16, 2, "24"), &WriteOptions::default()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let frames = bytes.windows(4).position(|name| name == b"mdat").unwrap();
    for at in 0..frames {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            // Much of the index is of no consequence; what counts is that this returns.
            let _ = read_mp4_bytes(&damaged, &ReadOptions::default());
        }
    }
}

#[test]
fn what_made_it_travels_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let metadata =
        json!({ "seed": 7, "prompt": "höhe \"über\" alles", "versions": { "vldm": "0.1" } });
    let options = WriteOptions {
        metadata: Some(metadata.clone()),
        ..WriteOptions::default()
    };
    write(&path, &gradient(32, 32, 2, "24"), &options).unwrap();
    assert_eq!(read_metadata(&path).unwrap(), Some(metadata.clone()));
    let beside = fs::read_to_string(folder.path().join("clip.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&beside).unwrap(), metadata);
    assert_eq!(common::names(folder.path()), ["clip.json", "clip.mp4"]);
}

#[test]
fn the_index_stands_in_front() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    write(&path, &gradient(32, 32, 5, "24"), &WriteOptions::default()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let find = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap();
    assert!(find(b"ftyp") < find(b"moov") && find(b"moov") < find(b"mdat"));
}

fn ffprobe(path: &std::path::Path) -> Value {
    let output = std::process::Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-show_streams",
            "-show_format",
            "-of",
            "json",
        ])
        .arg(path)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.is_empty(), "{complaints}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the reference reader says about the file.
#[test]
fn ffprobe_agrees() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    for (fps, rate) in [
        ("24", "24/1"),
        ("29.97", "30000/1001"),
        ("7.5", "15/2"),
        ("60", "60/1"),
    ] {
        let clip = gradient(65, 48, 30, fps);
        let options = WriteOptions {
            metadata: Some(json!({ "seed": 1 })),
            ..WriteOptions::default()
        };
        write(&path, &clip, &options).unwrap();
        let json = ffprobe(&path);
        let stream = &json["streams"][0];
        for (key, expected) in [
            ("codec_name", "h264"),
            ("pix_fmt", "yuv420p"),
            ("color_range", "tv"),
            ("color_space", "bt709"),
            ("color_primaries", "bt709"),
            ("color_transfer", "bt709"),
            ("nb_frames", "30"),
            ("nb_read_frames", "30"),
            ("r_frame_rate", rate),
            ("avg_frame_rate", rate),
        ] {
            assert_eq!(stream[key], expected, "{key} at {fps}");
        }
        assert_eq!(stream["width"], json!(66));
        assert_eq!(stream["height"], json!(48));
        let duration: f64 = stream["duration"].as_str().unwrap().parse().unwrap();
        let error = (duration - clip.seconds()).abs();
        assert!(error < 1e-5, "{duration} at {fps}");
        assert_eq!(json["format"]["tags"]["comment"], "{\"seed\":1}");
    }
}

/// The reference decoder sees the colours that went in.
#[test]
fn ffmpeg_sees_the_same_colours() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, picture) = (
        folder.path().join("clip.mp4"),
        folder.path().join("frame.png"),
    );
    write(&path, &bars(2), &WriteOptions::default()).unwrap();
    let status = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args([
            "-frames:v",
            "1",
            "-sws_flags",
            "accurate_rnd+full_chroma_int",
        ])
        .arg(&picture)
        .status();
    assert!(status.unwrap().success());
    let worst = worst_bar(&vldm_media::read_image(&picture).unwrap());
    assert!(worst <= 4, "a bar is off by {worst} levels");
}
