//! Shards packed and read.

use std::fs::{self, File};
use std::path::Path;

use super::{clip, numbers, says, window, write};
use crate::data::{ClipSource, Placement, ShardSource};

/// Packs files of a folder into a shard, in the order of their names.
pub(super) fn pack(folder: &Path, shard: &Path) {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    names.sort();
    let mut tar = tar::Builder::new(File::create(shard).unwrap());
    for path in names {
        tar.append_path_with_name(&path, path.file_name().unwrap())
            .unwrap();
    }
    tar.finish().unwrap();
}

fn shard(folder: &Path) -> std::path::PathBuf {
    let inside = folder.join("inside");
    write(&inside.join("000.mp4"), &clip(12, 10));
    write(&inside.join("001.gif"), &clip(4, 10));
    write(&inside.join("002.png"), &clip(1, 24));
    fs::write(inside.join("000.txt"), "the first").unwrap();
    let json = "{\"text\": \"the third\", \"labels\": {\"night\": 1}, \"boxes\": [[[0,0,1,1]]]}";
    fs::write(inside.join("002.json"), json).unwrap();
    fs::write(inside.join("003.txt"), "no clip").unwrap();
    let shard = folder.join("shard-0001.tar");
    pack(&inside, &shard);
    shard
}

#[test]
fn what_is_packed_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let shard = shard(folder.path());
    for path in [shard.as_path(), folder.path()] {
        let source = ShardSource::open(path).unwrap();
        let ids: Vec<&str> = (0..source.len())
            .map(|i| source.clip(i).id.as_str())
            .collect();
        assert_eq!(
            ids,
            [
                "shard-0001.tar/000",
                "shard-0001.tar/001",
                "shard-0001.tar/002"
            ]
        );
        let info = source.clip(0);
        assert_eq!(
            (info.width, info.height, info.frames, info.fps),
            (64, 48, 12, 10.0)
        );
        let at = Placement {
            time: 0.99,
            ..Placement::default()
        };
        let sample = source.read(0, &window(3, Some(5.0)), at).unwrap();
        assert_eq!(numbers(&sample.frames), [7, 9, 11]);
        assert_eq!(sample.caption.as_deref(), Some("the first"));
        let sample = source.read(1, &window(4, None), at).unwrap();
        assert_eq!(
            (numbers(&sample.frames), sample.caption),
            (vec![0, 1, 2, 3], None)
        );
        let sample = source.read(2, &window(1, None), at).unwrap();
        assert_eq!(sample.caption.as_deref(), Some("the third"));
        assert_eq!((sample.labels["night"], sample.boxes[0].len()), (1, 1));
    }
}

#[test]
fn a_shard_that_is_cut_short_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let shard = shard(folder.path());
    let bytes = fs::read(&shard).unwrap();
    let header = bytes
        .windows(8)
        .position(|name| name.starts_with(b"001.gif\0"))
        .unwrap();
    let check = |length: usize| {
        fs::write(&shard, &bytes[..length]).unwrap();
        says(
            ShardSource::open(&shard),
            "shard-0001.tar: cut short or damaged",
        );
        says(
            ShardSource::open(&shard),
            "the last whole member is 000.txt",
        );
    };
    check(header + 700);
    check(header + 100);
    fs::write(&shard, &bytes[..300]).unwrap();
    says(
        ShardSource::open(&shard),
        "no member is whole: get another copy of the shard",
    );
}

#[test]
fn wrong_members_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    let path = folder.path().join("s.tar");
    says(
        ShardSource::open(folder.path()),
        "expected .tar files, found none",
    );
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("a.txt"), "no clip").unwrap();
    pack(&inside, &path);
    says(ShardSource::open(&path), "expected shards with .mp4");
    write(&inside.join("a.mp4"), &clip(3, 10));
    fs::write(inside.join("a.json"), "{\"txt\": \"x\"}").unwrap();
    pack(&inside, &path);
    says(
        ShardSource::open(&path),
        "s.tar/a: its JSON: unknown field `txt`",
    );
    fs::write(inside.join("a.json"), "{\"boxes\": [[]]}").unwrap();
    pack(&inside, &path);
    says(
        ShardSource::open(&path),
        "s.tar/a: it has 3 frames and boxes for 1",
    );
    fs::remove_file(inside.join("a.json")).unwrap();
    write(&inside.join("a.png"), &clip(1, 10));
    pack(&inside, &path);
    says(
        ShardSource::open(&path),
        "s.tar/a: expected one clip of this name, found .mp4 and .png",
    );
}

#[test]
fn errors_name_the_member() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    let path = folder.path().join("s.tar");
    write(&inside.join("a.mp4"), &clip(40, 10));
    super::damage_pictures(&inside.join("a.mp4"));
    pack(&inside, &path);
    let at = Placement {
        time: 0.99,
        ..Placement::default()
    };
    let source = ShardSource::open(&path).unwrap();
    says(source.read(0, &window(2, None), at), "s.tar/a.mp4: damaged");
}
