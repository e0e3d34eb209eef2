//! Folders of real files.

use std::fs;

use vldm_media::Fps;

use super::{clip, damage_pictures, numbers, says, window, write};
use crate::data::{ClipSource, FolderSource, Placement};

fn open(folder: &tempfile::TempDir) -> crate::error::Result<FolderSource> {
    FolderSource::open(folder.path(), Fps::FILM)
}

fn ids(source: &FolderSource) -> Vec<&str> {
    (0..source.len())
        .map(|index| source.clip(index).id.as_str())
        .collect()
}

#[test]
fn a_tree_of_clips_and_pictures_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(&root.join("b/long.mp4"), &clip(30, 30));
    write(&root.join("a.gif"), &clip(6, 10));
    write(&root.join("b/still.png"), &clip(1, 24));
    write(&root.join("b/frames"), &clip(5, 24));
    fs::write(root.join("b/long.txt"), "a grey wall\n").unwrap();
    fs::write(root.join("notes.md"), "not data").unwrap();
    fs::write(root.join("vldm-scan.png"), "ours").unwrap();
    fs::write(root.join("vldm-sheet.png"), "ours").unwrap();
    let source = open(&folder).unwrap();
    assert_eq!(
        ids(&source),
        ["a.gif", "b/frames", "b/long.mp4", "b/still.png"]
    );
    let lengths: Vec<usize> = (0..4).map(|i| source.clip(i).frames).collect();
    assert_eq!(lengths, [6, 5, 30, 1]);
    assert_eq!(source.clip(2).fps, 30.0);

    let sample = source
        .read(2, &window(4, None), Placement::default())
        .unwrap();
    assert_eq!(sample.caption.as_deref(), Some("a grey wall"));
    assert_eq!(sample.frames[0].size(), (32, 24));
    assert_eq!(sample.boxes, vec![vec![]; 4]);
    assert_eq!((sample.fps, sample.start_seconds), (30.0, 0.0));
    assert_eq!(numbers(&sample.frames), [0, 1, 2, 3]);
    let caption = source
        .read(0, &window(1, None), Placement::default())
        .unwrap()
        .caption;
    assert_eq!(caption, None);
}

#[test]
fn rates_are_lowered_by_choosing_frames() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.mp4"), &clip(40, 30));
    write(&folder.path().join("b.gif"), &clip(40, 30));
    write(&folder.path().join("c"), &clip(40, 30));
    let source = FolderSource::open(folder.path(), Fps::new(30, 1).unwrap()).unwrap();
    let check = |fps, time, expected: &[usize], start: f64| {
        for index in [0, 2] {
            let place = Placement {
                time,
                ..Placement::default()
            };
            let sample = source
                .read(index, &window(expected.len(), Some(fps)), place)
                .unwrap();
            assert_eq!(numbers(&sample.frames), expected, "{fps}");
            assert!((sample.start_seconds - start).abs() < 1e-9);
            assert_eq!(sample.fps, fps);
        }
    };
    check(30.0, 0.999, &[38, 39], 38.0 / 30.0);
    check(7.5, 0.0, &[0, 4, 8, 12], 0.0);
    check(7.5, 0.5, &[14, 18, 22, 26], 14.0 / 30.0);
    check(2.0, 0.999, &[9, 24, 39], 9.0 / 30.0);
    // A GIF's rate is in hundredths of a second, so it may be off; its frames are not.
    let own = source.clip(1).fps;
    let sample = source
        .read(1, &window(4, Some(own / 4.0)), Placement::default())
        .unwrap();
    assert_eq!(numbers(&sample.frames), [0, 4, 8, 12]);
    says(
        source.read(0, &window(4, Some(60.0)), Placement::default()),
        "a.mp4: it plays at 30 frames per second, a window at 60 would show frames twice",
    );
}

#[test]
fn lines_say_more_than_captions() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(&root.join("a.mp4"), &clip(4, 10));
    write(&root.join("sub/b.png"), &clip(1, 24));
    fs::write(root.join("a.txt"), "from the text").unwrap();
    let boxes = "[[[0, 0, 0.5, 0.5, 2]], [], [], []]";
    let line = format!(
        "{{\"file_name\": \"a.mp4\", \"text\": \"from the line\", \"labels\": {{\"night\": 1}}, \
         \"boxes\": {boxes}}}\n"
    );
    fs::write(root.join("metadata.jsonl"), line).unwrap();
    fs::write(
        root.join("sub/metadata.jsonl"),
        "{\"file_name\": \"b.png\", \"text\": \"b\"}",
    )
    .unwrap();
    let source = open(&folder).unwrap();
    let sample = source
        .read(0, &window(2, None), Placement::default())
        .unwrap();
    assert_eq!(sample.caption.as_deref(), Some("from the line"));
    assert_eq!(sample.labels["night"], 1);
    assert_eq!([sample.boxes[0].len(), sample.boxes[1].len()], [1, 0]);
    assert_eq!(sample.boxes[0][0].class, 2);
    let sample = source
        .read(1, &window(1, None), Placement::default())
        .unwrap();
    assert_eq!(sample.caption.as_deref(), Some("b"));
}

#[test]
fn numbered_pictures_with_captions_are_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(&root.join("set"), &clip(3, 24));
    assert_eq!(ids(&open(&folder).unwrap()), ["set"]);
    fs::write(root.join("set.txt"), "a set").unwrap();
    let source = open(&folder).unwrap();
    let sample = source
        .read(0, &window(1, None), Placement::default())
        .unwrap();
    assert_eq!(sample.caption.as_deref(), Some("a set"));
    let first = fs::read_dir(root.join("set"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(first.with_extension("txt"), "one of them").unwrap();
    assert_eq!(open(&folder).unwrap().len(), 3);
}

#[test]
fn folders_without_clips_are_told() {
    let folder = tempfile::tempdir().unwrap();
    says(
        open(&folder),
        "expected clips or pictures, found none: put .mp4",
    );
    fs::write(folder.path().join("a.txt"), "a caption").unwrap();
    says(open(&folder), "1 captions are there without a clip (a.txt)");
    says(
        FolderSource::open(&folder.path().join("missing"), Fps::FILM),
        "expected a folder of clips, there is none",
    );
}

#[test]
fn captions_without_clips_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.png"), &clip(1, 24));
    fs::write(folder.path().join("b.txt"), "no clip").unwrap();
    fs::write(
        folder.path().join("metadata.jsonl"),
        "{\"file_name\": \"gone.mp4\"}",
    )
    .unwrap();
    assert_eq!(open(&folder).unwrap().len(), 1);
}

#[test]
fn wrong_lines_are_told_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.mp4"), &clip(4, 10));
    let check = |lines: &str, expected: &str| {
        fs::write(folder.path().join("metadata.jsonl"), lines).unwrap();
        says(open(&folder), expected);
    };
    check(
        "\n{\"file_name\": \"a.mp4\", \"caption\": \"x\"}",
        "metadata.jsonl, line 2: unknown field `caption`, expected one of `file_name`, `text`",
    );
    check(
        "{\"file_name\": \"a.mp4\", \"boxes\": [[], []]}",
        "a.mp4: it has 4 frames and boxes for 2: `boxes` is a list with one list per frame",
    );
    check(
        "{\"file_name\": \"a.mp4\", \"boxes\": [[], [[0, 0, 1.5, 1]], [], []]}",
        "metadata.jsonl, line 1: frame 1, box 0: (0, 0, 1.5, 1) is not left, top, right, bottom",
    );
    check(
        "{\"file_name\": \"a.mp4\"}\n{\"file_name\": \"a.mp4\"}",
        "two lines speak of a.mp4: keep one",
    );
    fs::remove_file(folder.path().join("metadata.jsonl")).unwrap();
    fs::write(folder.path().join("a.txt"), b"caf\xe9").unwrap();
    says(
        open(&folder),
        "a.mp4: its caption is not UTF-8 (byte 3): save it as UTF-8",
    );
}

#[test]
fn a_few_clips_that_cannot_be_read_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("good.mp4"), &clip(4, 10));
    fs::write(folder.path().join("bad.png"), "no picture").unwrap();
    let source = open(&folder).unwrap();
    assert_eq!(ids(&source), ["good.mp4"]);
    assert_eq!(source.skipped()[0].id, "bad.png");
    assert!(
        source.skipped()[0]
            .reason
            .contains("does not begin like a .png")
    );
    for n in 0..9 {
        fs::write(folder.path().join(format!("bad{n}.png")), "no picture").unwrap();
    }
    says(
        open(&folder),
        "10 of 11 clips cannot be read; run `vldm data scan`",
    );
}

#[test]
fn a_clip_that_is_damaged_later_gives_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    write(&path, &clip(40, 10));
    damage_pictures(&path);
    let source = open(&folder).unwrap();
    let at = |time| Placement {
        time,
        ..Placement::default()
    };
    assert!(source.read(0, &window(2, None), at(0.0)).is_ok());
    says(source.read(0, &window(2, None), at(0.99)), "a.mp4");
}
