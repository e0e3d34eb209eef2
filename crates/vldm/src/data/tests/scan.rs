//! Scans of good and bad data, and what sources make of them.

use std::fs;
use std::path::Path;

use vldm_media::Fps;

use super::{clip, damage_pictures, says, window, write};
use crate::data::{
    ClipSource, DataKind, Decoded, FolderSource, Placement, SCAN_FILE, Scan, ScanEvent, ScanReport,
    ScanSettings, ShardSource,
};

/// Scans, and returns the report with the clips that were read anew.
fn scan(path: &Path, settings: ScanSettings) -> (ScanReport, Vec<String>) {
    let mut read = Vec::new();
    for event in Scan::start(path, settings).unwrap() {
        match event.unwrap() {
            ScanEvent::Clip { id, known, .. } => read.extend((!known).then_some(id)),
            ScanEvent::Finished { report, files } => {
                assert!(files.iter().all(|file| file.is_file()), "{files:?}");
                let written = ScanReport::load(&files[0]).unwrap().unwrap();
                assert_eq!(written, *report);
                return (*report, read);
            }
        }
    }
    panic!("no end");
}

fn quarantine(report: &ScanReport) -> Vec<(&str, &str)> {
    let list = report.quarantine.iter();
    list.map(|q| (q.id.as_str(), q.reason.as_str())).collect()
}

/// Two good clips, two that are the same, and one of each kind of bad ones.
fn bad_data(root: &Path) {
    write(&root.join("good.mp4"), &clip(20, 10));
    write(&root.join("same/a.png"), &clip(1, 24));
    fs::copy(root.join("same/a.png"), root.join("same/b.png")).unwrap();
    write(&root.join("frames"), &clip(5, 24));
    write(&root.join("damaged.mp4"), &clip(40, 10));
    damage_pictures(&root.join("damaged.mp4"));
    fs::write(root.join("empty.gif"), "").unwrap();
    write(&root.join("boxes.mp4"), &clip(3, 10));
    write(&root.join("latin.mp4"), &clip(4, 10));
    fs::write(root.join("latin.txt"), b"caf\xe9").unwrap();
    fs::write(root.join("good.txt"), "a grey wall").unwrap();
    fs::write(root.join("lost.txt"), "no clip").unwrap();
    let lines = "{\"file_name\": \"boxes.mp4\", \"boxes\": [[], []]}\n\
                 {\"file_name\": \"frames\", \"text\": \"x\", \"labels\": {\"night\": 1}}\n\
                 {\"file_name\": \"same/a.png\", \"txt\": \"x\"}\n\
                 {\"text\": \"nowhere\"}\n";
    fs::write(root.join("metadata.jsonl"), lines).unwrap();
}

#[test]
fn everything_is_read_and_what_is_broken_is_told() {
    let folder = tempfile::tempdir().unwrap();
    bad_data(folder.path());
    let (report, _) = scan(folder.path(), ScanSettings::default());
    let expected = [
        ("boxes.mp4", "it has 3 frames and boxes for 2"),
        ("damaged.mp4", "damaged"),
        ("empty.gif", "does not begin like a .gif file"),
        ("latin.mp4", "its caption is not UTF-8 (byte 3)"),
        ("same/a.png", "metadata.jsonl, line 3: unknown field `txt`"),
    ];
    let found = quarantine(&report);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((id, reason), (name, text)) in found.iter().zip(expected) {
        assert_eq!(*id, name);
        assert!(reason.contains(text), "{reason}");
    }
    assert_eq!(report.orphans, ["lost.txt"]);
    assert_eq!(report.faults.len(), 1);
    assert!(report.faults[0].contains("line 4: expected a `file_name`"));
    let good = report
        .clips
        .iter()
        .find(|clip| clip.id == "good.mp4")
        .unwrap();
    assert_eq!(good.caption, Some(11));
    let Decoded::Clip(facts) = &good.decoded else {
        panic!("{good:?}");
    };
    assert_eq!((facts.width, facts.height, facts.frames), (64, 48, 20));
    assert_eq!(facts.seconds(), 2.0);
    assert_eq!(facts.sha256.len(), 64);
    for name in ["vldm-scan.png", "vldm-scan-rows.txt"] {
        assert!(folder.path().join(name).is_file());
    }
    let reasons = fs::read_to_string(folder.path().join("vldm-scan-quarantine.txt")).unwrap();
    assert_eq!(reasons.lines().count(), 5);
}

#[test]
fn statistics_count_what_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    bad_data(folder.path());
    fs::remove_file(folder.path().join("metadata.jsonl")).unwrap();
    let (report, _) = scan(folder.path(), ScanSettings::default());
    let found = &report.statistics;
    assert_eq!((found.clips, found.pictures, found.frames), (5, 2, 30));
    assert!((found.seconds - (2.0 + 0.3 + 5.0 / 24.0)).abs() < 1e-9);
    let list = |counts: &[crate::data::Count]| -> Vec<(String, usize)> {
        counts
            .iter()
            .map(|count| (count.of.clone(), count.clips))
            .collect()
    };
    assert_eq!(list(&found.sizes), [("64×48".to_owned(), 5)]);
    assert_eq!(
        list(&found.rates),
        [("10".to_owned(), 2), ("24".to_owned(), 1)]
    );
    let lengths = [("1", 2), ("2–3", 1), ("4–7", 1), ("16–31", 1)];
    assert_eq!(
        list(&found.lengths),
        lengths.map(|(of, n)| (of.to_owned(), n))
    );
    assert_eq!(found.without_caption, 4);
    assert_eq!(found.share_without_caption(), 0.8);
    assert_eq!(found.duplicates, [["same/a.png", "same/b.png"]]);
}

#[test]
fn a_source_leaves_out_what_a_scan_found() {
    let folder = tempfile::tempdir().unwrap();
    bad_data(folder.path());
    let open = || FolderSource::open(folder.path(), Fps::FILM);
    says(open(), "metadata.jsonl, line 3: unknown field `txt`");
    scan(folder.path(), ScanSettings::default());
    // A line about no clip is still to be mended.
    says(open(), "line 4: expected a `file_name`");
    let lines = fs::read_to_string(folder.path().join("metadata.jsonl")).unwrap();
    let lines = lines.lines().take(3).collect::<Vec<_>>().join("\n");
    fs::write(folder.path().join("metadata.jsonl"), lines).unwrap();
    let source = open().unwrap();
    let ids: Vec<&str> = (0..source.len())
        .map(|i| source.clip(i).id.as_str())
        .collect();
    assert_eq!(ids, ["frames", "good.mp4", "same/b.png"]);
    assert_eq!(source.skipped().len(), 5);
    assert!(
        source
            .read(1, &window(4, None), Placement::default())
            .is_ok()
    );
    // What was mended since is looked at again.
    write(&folder.path().join("damaged.mp4"), &clip(7, 10));
    let source = open().unwrap();
    assert_eq!((source.len(), source.clip(0).frames), (4, 7));
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    bad_data(folder.path());
    let (first, read) = scan(folder.path(), ScanSettings::default());
    assert_eq!(read.len(), 8);
    let sheet = fs::read(folder.path().join("vldm-scan.png")).unwrap();
    let (second, read) = scan(folder.path(), ScanSettings::default());
    assert!(read.is_empty(), "{read:?}");
    assert_eq!(second, first);
    assert_eq!(
        fs::read(folder.path().join("vldm-scan.png")).unwrap(),
        sheet
    );
    write(&folder.path().join("good.mp4"), &clip(9, 10));
    fs::write(folder.path().join("latin.txt"), "a café").unwrap();
    let (third, read) = scan(folder.path(), ScanSettings::default());
    assert_eq!(read, ["good.mp4"]);
    assert_eq!(third.quarantine.len(), 4);
}

#[test]
fn an_interrupted_scan_loses_little() {
    let folder = tempfile::tempdir().unwrap();
    let picture = clip(1, 24);
    write(&folder.path().join("000.png"), &picture);
    for n in 1..130 {
        let path = folder.path().join(format!("{n:03}.png"));
        fs::copy(folder.path().join("000.png"), path).unwrap();
    }
    fs::create_dir(folder.path().join("sub")).unwrap();
    let started = Scan::start(folder.path(), ScanSettings::default()).unwrap();
    assert_eq!(started.total(), 130);
    assert_eq!(started.kind(), DataKind::Folder);
    started.take(120).for_each(|event| drop(event.unwrap()));
    let (_, read) = scan(folder.path(), ScanSettings::default());
    assert_eq!(read.len(), 30);
}

#[test]
fn shards_are_scanned() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    write(&inside.join("a.mp4"), &clip(12, 10));
    write(&inside.join("b.mp4"), &clip(40, 10));
    damage_pictures(&inside.join("b.mp4"));
    let path = folder.path().join("s.tar");
    super::shards::pack(&inside, &path);
    let (report, read) = scan(folder.path(), ScanSettings::default());
    assert_eq!(read, ["s.tar/a", "s.tar/b"]);
    assert_eq!(report.quarantine.len(), 1);
    assert!(
        report.quarantine[0]
            .reason
            .starts_with("s.tar/b.mp4: damaged")
    );
    let source = ShardSource::open(&path).unwrap();
    assert_eq!(
        (source.len(), source.skipped()[0].id.as_str()),
        (1, "s.tar/b")
    );
    let (_, read) = scan(&path, ScanSettings::default());
    assert!(read.is_empty());
}

#[test]
fn reports_go_where_they_are_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.png"), &clip(1, 24));
    let settings = ScanSettings {
        out: Some(out.path().to_owned()),
        previews: 0,
        ..ScanSettings::default()
    };
    scan(folder.path(), settings.clone());
    assert!(out.path().join(SCAN_FILE).is_file());
    assert!(!out.path().join("vldm-scan.png").exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = ScanSettings {
        out: Some(out.path().join("missing")),
        ..settings
    };
    says(
        Scan::start(folder.path(), nowhere),
        "expected a folder for the report: create it",
    );
    says(
        Scan::start(&folder.path().join("missing"), ScanSettings::default()),
        "expected a folder of clips, a .tar file or a folder of them",
    );
    says(
        Scan::start(out.path(), ScanSettings::default()),
        "expected clips or pictures, found none (0 captions without a clip)",
    );
    fs::write(folder.path().join(SCAN_FILE), "{\"format\": 9}").unwrap();
    says(
        Scan::start(folder.path(), ScanSettings::default()),
        "not a report of this version's `vldm data scan`",
    );
}
