//! What other programs write. Runs where ffmpeg is installed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "failures are panics here"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{gradient, has_ffmpeg, psnr, worst_bar};
use vldm_media::{Clip, Fps, ReadOptions, WriteOptions, probe, read, write};

/// Options under which only what is read in this program is read.
fn alone() -> ReadOptions {
    ReadOptions {
        ffmpeg: PathBuf::from("/nowhere/ffmpeg"),
        ..ReadOptions::default()
    }
}

fn clip() -> Clip {
    gradient(64, 48, 30, "24")
}

/// Writes the clip as frames and lets ffmpeg make a video of them. `None` when this build of
/// ffmpeg lacks the encoder.
fn encode(clip: &Clip, folder: &Path, name: &str, arguments: &str) -> Option<PathBuf> {
    let frames = folder.join(format!("frames of {name}/"));
    write(&frames, clip, &WriteOptions::default()).unwrap();
    let path = folder.join(name);
    let output = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-y",
            "-framerate",
            &clip.fps().to_string(),
            "-i",
        ])
        .arg(frames.join("frame_%05d.png"))
        .args(arguments.split_whitespace())
        .arg(&path)
        .output()
        .unwrap();
    if !output.status.success() {
        println!(
            "left out {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        return None;
    }
    Some(path)
}

const BT709: &str = "-vf scale=out_color_matrix=bt709:flags=accurate_rnd+full_chroma_int \
                     -colorspace bt709 -color_primaries bt709 -color_trc bt709";

#[test]
fn h264_of_every_common_kind_is_read_alone() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = clip();
    for (name, arguments) in [
        ("plain", "-c:v libx264 -crf 12 -bf 0"),
        ("reordered", "-c:v libx264 -crf 12 -bf 3 -b_strategy 0"),
        (
            "pyramid",
            "-c:v libx264 -crf 12 -bf 8 -b_strategy 0 -b-pyramid normal -refs 4",
        ),
        ("baseline", "-c:v libx264 -crf 12 -profile:v baseline"),
        ("main", "-c:v libx264 -crf 12 -profile:v main"),
        ("slices", "-c:v libx264 -crf 12 -slices 4"),
        ("short groups", "-c:v libx264 -crf 12 -g 6 -bf 2"),
        (
            "open groups",
            "-c:v libx264 -crf 12 -g 6 -bf 2 -x264-params open-gop=1",
        ),
        (
            "weighted",
            "-c:v libx264 -crf 12 -x264-params weightp=2:weightb=1",
        ),
        ("fast start", "-c:v libx264 -crf 12 -movflags +faststart"),
        (
            "in-band sets",
            "-c:v libx264 -crf 12 -bsf:v dump_extra=freq=keyframe",
        ),
    ] {
        let arguments = format!("{arguments} -pix_fmt yuv420p {BT709}");
        let Some(path) = encode(&clip, folder.path(), &format!("{name}.mp4"), &arguments) else {
            continue;
        };
        let back = read(&path, &alone()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((back.num_frames(), back.fps()), (30, Fps::FILM), "{name}");
        let quality = psnr(&clip, &back);
        assert!(quality > 36.0, "{name}: {quality:.1} dB");
        for start in [0, 1, 7, 13, 29] {
            let part = ReadOptions {
                start,
                count: Some(2),
                ..alone()
            };
            let part = read(&path, &part).unwrap();
            assert_eq!(
                part.frames()[0],
                back.frames()[start],
                "{name} from {start}"
            );
        }
    }
}

#[test]
fn colours_follow_the_matrix_and_range_of_the_file() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let flags = "flags=accurate_rnd+full_chroma_int";
    for (name, arguments) in [
        (
            "untagged",
            format!("-vf scale=out_color_matrix=bt601:{flags}"),
        ),
        (
            "bt601",
            format!("-vf scale=out_color_matrix=bt601:{flags} -colorspace smpte170m"),
        ),
        (
            "bt709",
            format!("-vf scale=out_color_matrix=bt709:{flags} -colorspace bt709"),
        ),
        (
            "full",
            format!(
                "-vf scale=out_color_matrix=bt709:out_range=pc:{flags} -colorspace bt709 -color_range pc"
            ),
        ),
        (
            "bt2020",
            format!("-vf scale=out_color_matrix=bt2020:{flags} -colorspace bt2020nc"),
        ),
    ] {
        let arguments = format!("-c:v libx264 -crf 4 -pix_fmt yuv420p {arguments}");
        let name = format!("{name}.mp4");
        let Some(path) = encode(&common::bars(2), folder.path(), &name, &arguments) else {
            continue;
        };
        let worst = worst_bar(&read(&path, &alone()).unwrap().frames()[1]);
        assert!(worst <= 5, "{name}: a bar is off by {worst} levels");
    }
}

#[test]
fn everything_else_is_read_through_ffmpeg() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = clip();
    for (name, arguments) in [
        ("matroska.mkv", "-c:v libx264 -crf 12 -pix_fmt yuv420p"),
        (
            "web.webm",
            "-c:v libvpx-vp9 -crf 10 -b:v 0 -pix_fmt yuv420p",
        ),
        (
            "hevc.mp4",
            "-c:v libx265 -crf 12 -pix_fmt yuv420p -x265-params log-level=error",
        ),
        (
            "av1.mp4",
            "-c:v libaom-av1 -crf 15 -cpu-used 8 -pix_fmt yuv420p",
        ),
        ("444.mp4", "-c:v libx264 -crf 12 -pix_fmt yuv444p"),
        ("ten bits.mp4", "-c:v libx264 -crf 12 -pix_fmt yuv420p10le"),
        (
            "fragments.mp4",
            "-c:v libx264 -crf 12 -pix_fmt yuv420p -movflags frag_keyframe+empty_moov",
        ),
        ("motion.avi", "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p"),
        ("apple.mov", "-c:v prores_ks -pix_fmt yuv422p10le"),
    ] {
        let Some(path) = encode(&clip, folder.path(), name, arguments) else {
            continue;
        };
        let error = read(&path, &alone()).unwrap_err().to_string();
        assert!(error.contains("install ffmpeg"), "{name}: {error}");
        let back = read(&path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((back.num_frames(), back.fps()), (30, Fps::FILM), "{name}");
        let quality = psnr(&clip, &back);
        assert!(quality > 30.0, "{name}: {quality:.1} dB");
        let info = probe(&path, &ReadOptions::default()).unwrap();
        assert_eq!(
            (info.width, info.height, info.num_frames),
            (64, 48, 30),
            "{name}"
        );
        let part = ReadOptions {
            start: 10,
            count: Some(5),
            ..ReadOptions::default()
        };
        assert_eq!(
            read(&path, &part).unwrap().frames(),
            &back.frames()[10..15],
            "{name}"
        );
    }
}

#[test]
fn turned_videos_have_their_true_size_through_ffmpeg_too() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let arguments = "-c:v libx265 -crf 12 -pix_fmt yuv420p -x265-params log-level=error";
    let Some(plain) = encode(&clip(), folder.path(), "plain.mp4", arguments) else {
        return;
    };
    let turned = folder.path().join("turned.mov");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(&plain);
    command.args(["-c", "copy", "-metadata:s:v:0", "rotate=90"]);
    assert!(command.arg(&turned).status().unwrap().success());
    let info = probe(&turned, &ReadOptions::default()).unwrap();
    let clip = read(&turned, &ReadOptions::default()).unwrap();
    assert_eq!((info.width, info.height), (clip.width(), clip.height()));
}

#[test]
fn turned_videos_stand_upright() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let arguments = format!("-c:v libx264 -crf 12 -pix_fmt yuv420p {BT709}");
    let Some(plain) = encode(&clip(), folder.path(), "plain.mp4", &arguments) else {
        return;
    };
    for degrees in [90, 180, 270] {
        let turned = folder.path().join(format!("{degrees}.mp4"));
        let turn = degrees.to_string();
        // New versions of ffmpeg know the first way, old ones the second.
        let ways: [(&[&str], &[&str]); 2] = [
            (&["-display_rotation", &turn], &[]),
            (&[], &["-metadata:s:v:0", &format!("rotate={turn}")]),
        ];
        let works = ways.iter().any(|(before, after)| {
            let mut command = Command::new("ffmpeg");
            command
                .args(["-v", "error", "-y"])
                .args(*before)
                .arg("-i")
                .arg(&plain);
            command.args(["-c", "copy"]).args(*after).arg(&turned);
            command.output().unwrap().status.success()
        });
        assert!(works, "ffmpeg cannot turn videos");
        let ours = read(&turned, &alone()).unwrap();
        let rawvideo = folder.path().join(format!("{degrees}.mkv"));
        let upright = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&turned)
            .args(["-c:v", "ffv1", "-pix_fmt", "bgr0"])
            .arg(&rawvideo)
            .status();
        assert!(upright.unwrap().success());
        let theirs = read(&rawvideo, &ReadOptions::default()).unwrap();
        let quality = psnr(&theirs, &ours);
        assert!(quality > 36.0, "{degrees}: {quality:.1} dB");
        assert_eq!(probe(&turned, &alone()).unwrap().width, ours.width());
        assert_eq!(ours.width() == 48, degrees != 180, "{degrees}");
    }
}

#[test]
fn cut_edits_are_kept() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(plain) = encode(
        &clip(),
        folder.path(),
        "plain.mp4",
        "-c:v libx264 -pix_fmt yuv420p -g 12",
    ) else {
        return;
    };
    let cut = folder.path().join("cut.mp4");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-ss", "0.25", "-i"])
        .arg(&plain)
        .args(["-c", "copy"])
        .arg(&cut)
        .status();
    assert!(status.unwrap().success());
    let ours = read(&cut, &alone()).unwrap();
    assert_eq!(ours.num_frames(), 24);
    let whole = read(&plain, &alone()).unwrap();
    assert_eq!(ours.frames()[0], whole.frames()[6]);
}

#[test]
fn damaged_videos_of_others_are_errors() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = encode(
        &clip(),
        folder.path(),
        "a.mkv",
        "-c:v libx264 -pix_fmt yuv420p",
    ) else {
        return;
    };
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 16]).unwrap();
    let error = read(&path, &ReadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("a.mkv"), "{error}");
    std::fs::write(&path, "#EXTM3U\nhttp://127.0.0.1:9/secret.ts\n").unwrap();
    assert!(read(&path, &ReadOptions::default()).is_err());
}
