//! Files and folders: names, places, failures, and what is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "failures are panics here"
)]

mod common;

use std::fs;
use std::path::Path;

use common::{bars, gradient, names, psnr};
use serde_json::json;
use vldm_media::{
    Clip, ClipWriter, Error, Fps, Frame, Info, ReadOptions, WriteOptions, check_output,
    check_writable, contact_sheet, read, read_image, read_metadata, sidecar_path, write,
    write_image, write_sidecar,
};

fn with_metadata() -> WriteOptions {
    WriteOptions {
        metadata: Some(json!({ "seed": 5, "words": "schöne Straße" })),
        ..WriteOptions::default()
    }
}

#[test]
fn a_folder_of_frames_comes_back_exactly() {
    let folder = tempfile::tempdir().unwrap();
    for (name, num_frames) in [("one", 1), ("two/", 2), ("thirty", 30)] {
        let clip = gradient(33, 17, num_frames, "29.97");
        let path = folder.path().join(name);
        write(&path, &clip, &with_metadata()).unwrap();
        assert_eq!(names(&path).len(), num_frames);
        assert_eq!(names(&path)[0], "frame_00000.png");
        let options = ReadOptions {
            image_fps: clip.fps(),
            ..ReadOptions::default()
        };
        assert_eq!(read(&path, &options).unwrap(), clip);
        assert_eq!(read_metadata(&path).unwrap(), with_metadata().metadata);
    }
    let expected = [
        "one",
        "one.json",
        "thirty",
        "thirty.json",
        "two",
        "two.json",
    ];
    assert_eq!(names(folder.path()), expected);
}

#[test]
fn every_format_carries_what_made_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.jpg", "c.gif", "d.mp4"] {
        let path = folder.path().join(name);
        write(&path, &gradient(16, 16, 1, "24"), &with_metadata()).unwrap();
        assert_eq!(
            read_metadata(&path).unwrap(),
            with_metadata().metadata,
            "{name}"
        );
        let beside = fs::read_to_string(sidecar_path(&path)).unwrap();
        assert_eq!(
            serde_json::from_str(&beside).ok(),
            with_metadata().metadata,
            "{name}"
        );
        let plain = folder.path().join(format!("plain-{name}"));
        write(&plain, &gradient(16, 16, 1, "24"), &WriteOptions::default()).unwrap();
        assert_eq!(read_metadata(&plain).unwrap(), None, "{name}");
        assert!(!sidecar_path(&plain).exists());
    }
    let long = WriteOptions {
        metadata: Some(json!({ "prompt": "word ".repeat(1000) })),
        ..WriteOptions::default()
    };
    for name in ["e.png", "f.jpg", "g.gif", "h.mp4"] {
        let path = folder.path().join(name);
        write(&path, &gradient(16, 16, 1, "24"), &long).unwrap();
        assert_eq!(read_metadata(&path).unwrap(), long.metadata, "{name}");
    }
}

#[test]
fn sidecars_lie_beside() {
    let check = |path: &str, expected: &str| assert_eq!(sidecar_path(path), Path::new(expected));
    check("out/clip.mp4", "out/clip.json");
    check("frames/", "frames.json");
    check("out/frames", "out/frames.json");
    check("take.2/", "take.2.json");
    let folder = tempfile::tempdir().unwrap();
    let path = write_sidecar(folder.path().join("x.gif"), &json!([1])).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "[\n  1\n]\n");
}

#[test]
fn contents_decide_not_names() {
    let folder = tempfile::tempdir().unwrap();
    let clip = gradient(32, 32, 3, "10");
    for (written, lying) in [
        ("a.mp4", "b.gif"),
        ("a.gif", "b.png"),
        ("a.png", "b.mp4"),
        ("a.jpg", "c.webp"),
    ] {
        let path = folder.path().join(written);
        let is_picture = written.ends_with("png") || written.ends_with("jpg");
        let frames = clip.frames()[..if is_picture { 1 } else { 3 }].to_vec();
        write(
            &path,
            &Clip::new(frames, clip.fps()).unwrap(),
            &WriteOptions::default(),
        )
        .unwrap();
        let renamed = folder.path().join(lying);
        fs::copy(&path, &renamed).unwrap();
        let (true_name, false_name) = (
            read(&path, &ReadOptions::default()),
            read(&renamed, &ReadOptions::default()),
        );
        assert_eq!(true_name.unwrap(), false_name.unwrap());
    }
}

#[test]
fn names_that_promise_what_the_bytes_do_not_keep() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "a.gif", "a.jpeg", "a.mp4", "a.mkv", "a"] {
        let path = folder.path().join(name);
        fs::write(&path, "I am a poem, not a picture.").unwrap();
        let error = read(&path, &ReadOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(name), "{error}");
        fs::write(&path, "").unwrap();
        assert!(read(&path, &ReadOptions::default()).is_err());
    }
    let missing = read(folder.path().join("none.mp4"), &ReadOptions::default()).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

#[test]
fn what_cannot_be_written_is_said_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, word: &str| {
        let path = folder.path().join(name);
        let error = check_writable(&path).unwrap_err().to_string();
        assert!(error.contains(word), "{name}: {error}");
        let error = write(&path, &bars(1), &with_metadata())
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{name}: {error}");
    };
    check("none/clip.mp4", "does not exist");
    check("clip.avi", "cannot write .avi");
    fs::create_dir(folder.path().join("taken.mp4")).unwrap();
    check("taken.mp4", "a folder has this name");
    fs::create_dir(folder.path().join("full")).unwrap();
    fs::write(folder.path().join("full/mine.txt"), "keep").unwrap();
    check("full", "not empty");
    fs::write(folder.path().join("file"), "keep").unwrap();
    check("file", "cannot use as a folder");
    assert_eq!(names(folder.path()), ["file", "full", "taken.mp4"]);
    for name in ["clip.mp4", "clip.GIF", "frames", "new/"] {
        check_writable(folder.path().join(name)).unwrap();
    }
    assert_eq!(names(folder.path()), ["file", "full", "taken.mp4"]);
}

#[test]
fn what_a_format_cannot_hold_is_said_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, width, num_frames, fps: &str, word: &str| {
        let info = Info {
            width,
            height: 16,
            num_frames,
            fps: fps.parse().unwrap(),
        };
        let error = check_output(folder.path().join(name), &info)
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    };
    check("a.png", 16, 2, "24", "folder");
    check("a.jpg", 16, 2, "24", "folder");
    check("a.mp4", 5000, 2, "24", "3840x2160");
    check("a.mp4", 14, 2, "24", "16x16");
    check("a.gif", 16, 2, "60", "50 frames per second");
    check("a.gif", 70_000, 2, "24", "65535");
}

#[test]
fn failures_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    fs::write(&path, "what was here before").unwrap();
    let fast = Clip::new(vec![bars(1).frames()[0].clone()], Fps::new(60, 1).unwrap()).unwrap();
    assert!(write(&path, &fast, &with_metadata()).is_err());
    assert_eq!(names(folder.path()), ["clip.gif"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "what was here before");
    assert!(write(folder.path().join("two.png"), &bars(2), &with_metadata()).is_err());
    assert_eq!(names(folder.path()), ["clip.gif"]);
}

/// A folder that takes no new files. (The superuser may write anyway; then nothing is shown.)
#[cfg(unix)]
#[test]
fn a_locked_folder_is_one_clear_error() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(locked.join("test"), "").is_err() {
        let error = check_writable(locked.join("clip.mp4"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot create a file here"), "{error}");
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A file system that takes no new files from anyone.
#[cfg(target_os = "linux")]
#[test]
fn an_unwritable_place_is_one_clear_error() {
    assert!(matches!(
        check_writable("/proc/clip.mp4"),
        Err(Error::Io { .. })
    ));
    let error = write_sidecar("/proc/clip.mp4", &json!({})).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn an_output_replaces_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    write(&path, &bars(2), &with_metadata()).unwrap();
    write(&path, &bars(3), &with_metadata()).unwrap();
    assert_eq!(
        read(&path, &ReadOptions::default()).unwrap().num_frames(),
        3
    );
    assert_eq!(names(folder.path()), ["clip.json", "clip.mp4"]);
}

#[test]
fn folders_sort_as_people_do_and_refuse_a_mixture() {
    let folder = tempfile::tempdir().unwrap();
    for number in [10u8, 9, 2] {
        let frame = Frame::filled(4, 4, [number; 3]).unwrap();
        let path = folder.path().join(format!("f{number}.png"));
        write_image(&path, &frame, &WriteOptions::default()).unwrap();
    }
    let clip = read(folder.path(), &ReadOptions::default()).unwrap();
    let levels: Vec<_> = clip.frames().iter().map(|frame| frame.rgb()[0]).collect();
    assert_eq!(levels, [2, 9, 10]);
    let large = Frame::filled(5, 4, [0; 3]).unwrap();
    write_image(
        folder.path().join("f11.png"),
        &large,
        &WriteOptions::default(),
    )
    .unwrap();
    let error = read(folder.path(), &ReadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("f11.png") && error.contains("5x4"),
        "{error}"
    );
}

#[test]
fn a_contact_sheet_is_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sheet.png");
    let sheet = contact_sheet(&gradient(64, 48, 10, "24"), 4).unwrap();
    write_image(&path, &sheet, &with_metadata()).unwrap();
    assert_eq!(read_image(&path).unwrap(), sheet);
}

#[test]
fn the_first_frame_of_anything() {
    let folder = tempfile::tempdir().unwrap();
    let clip = gradient(64, 48, 4, "24");
    for name in ["a.mp4", "a.gif", "frames"] {
        let path = folder.path().join(name);
        write(&path, &clip, &WriteOptions::default()).unwrap();
        let first = Clip::new(vec![read_image(&path).unwrap()], clip.fps()).unwrap();
        let expected = Clip::new(vec![clip.frames()[0].clone()], clip.fps()).unwrap();
        assert!(psnr(&expected, &first) > 20.0, "{name}");
        assert_eq!(
            vldm_media::probe(&path, &ReadOptions::default())
                .unwrap()
                .num_frames,
            4
        );
    }
}

#[test]
fn a_clip_is_written_frame_by_frame() {
    let folder = tempfile::tempdir().unwrap();
    let clip = gradient(33, 17, 5, "10");
    for name in ["a.mp4", "a.gif", "a/"] {
        let (whole, parts) = (
            folder.path().join(name),
            folder.path().join(format!("by frame {name}")),
        );
        write(&whole, &clip, &with_metadata()).unwrap();
        let mut writer =
            ClipWriter::create(&parts, (33, 17), clip.fps(), &with_metadata()).unwrap();
        for frame in clip.frames() {
            writer.push(frame).unwrap();
            assert!(!parts.exists());
        }
        let other = Frame::filled(32, 17, [0; 3]).unwrap();
        assert!(
            writer
                .push(&other)
                .unwrap_err()
                .to_string()
                .contains("frame 5 has 32x17")
        );
        writer.finish().unwrap();
        let read = |path: &Path| read(path, &ReadOptions::default()).unwrap();
        assert_eq!(read(&whole), read(&parts), "{name}");
        assert!(sidecar_path(&parts).exists());
    }
    let before = names(folder.path());
    for name in ["b.mp4", "b.gif", "b/"] {
        let path = folder.path().join(name);
        let mut unfinished =
            ClipWriter::create(&path, (33, 17), clip.fps(), &with_metadata()).unwrap();
        unfinished.push(&clip.frames()[0]).unwrap();
        drop(unfinished);
        let empty = ClipWriter::create(&path, (33, 17), clip.fps(), &with_metadata()).unwrap();
        assert!(empty.finish().is_err());
    }
    assert!(
        ClipWriter::create(
            folder.path().join("c.mp4"),
            (8, 8),
            Fps::FILM,
            &with_metadata()
        )
        .is_err()
    );
    assert_eq!(names(folder.path()), before);
}
