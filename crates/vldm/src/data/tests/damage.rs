//! Damaged and hostile files: an error or a clip that is left out, never a panic.

use std::fs;
use std::path::Path;

use vldm_media::Fps;

use super::{clip, write};
use crate::data::order::word;
use crate::data::{FolderSource, Scan, ScanReport, ScanSettings, ShardSource};

/// The bytes with a few of them changed, cut off or written twice, as `round` says.
fn damaged(bytes: &[u8], round: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let draw = |purpose: u64, below: usize| (word(1, purpose, round) % below as u64) as usize;
    for change in 0..1 + draw(0, 4) as u64 {
        let at = draw(10 + change, bytes.len());
        bytes[at] = draw(20 + change, 256) as u8;
    }
    match draw(1, 4) {
        0 => bytes.truncate(draw(2, bytes.len()) + 1),
        1 => {
            let part = bytes[draw(3, bytes.len())..].to_vec();
            bytes.extend(part);
        }
        _ => {}
    }
    bytes
}

fn each(bytes: &[u8], path: &Path, rounds: u64, mut check: impl FnMut()) {
    for round in 0..rounds {
        fs::write(path, damaged(bytes, round)).unwrap();
        check();
    }
}

#[test]
fn shards() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    // No MP4: a damaged one is handed to ffmpeg, where that is installed.
    write(&inside.join("a.gif"), &clip(2, 10));
    write(&inside.join("b.png"), &clip(1, 10));
    let json = "{\"text\": \"b\", \"labels\": {\"night\": 1}, \"boxes\": [[[0,0,1,1]]]}";
    fs::write(inside.join("b.json"), json).unwrap();
    fs::write(inside.join("a.txt"), "a").unwrap();
    let path = folder.path().join("s.tar");
    super::shards::pack(&inside, &path);
    let bytes = fs::read(&path).unwrap();
    let mut opened = 0;
    each(&bytes, &path, 300, || {
        opened += usize::from(ShardSource::open(&path).is_ok());
    });
    assert!((1..300).contains(&opened), "{opened}");
}

#[test]
fn metadata() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.png"), &clip(1, 10));
    let line = "{\"file_name\": \"a.png\", \"text\": \"a\", \"labels\": {\"night\": 1}, \
                \"boxes\": [[[0, 0, 0.5, 1, 2], {\"x0\": 0, \"y0\": 0, \"x1\": 1, \"y1\": 1}]]}\n";
    let mut opened = 0;
    let path = folder.path().join("metadata.jsonl");
    each(line.as_bytes(), &path, 1000, || {
        opened += usize::from(FolderSource::open(folder.path(), Fps::FILM).is_ok());
    });
    assert!((1..1000).contains(&opened), "{opened}");
}

#[test]
fn reports() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.png"), &clip(1, 10));
    Scan::start(folder.path(), ScanSettings::default())
        .unwrap()
        .for_each(|event| drop(event.unwrap()));
    let path = folder.path().join("vldm-scan.json");
    let bytes = fs::read(&path).unwrap();
    let mut read = 0;
    each(&bytes, &path, 500, || {
        read += usize::from(ScanReport::load(&path).is_ok());
        // A report that cannot be read is told of, and the clip is asked itself.
        let _ = FolderSource::open(folder.path(), Fps::FILM);
    });
    assert!((1..500).contains(&read), "{read}");
}
