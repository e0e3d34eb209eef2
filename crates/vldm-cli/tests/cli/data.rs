//! `vldm data`: worlds are written and scanned.

use std::fs;

use crate::support::{listing, run};

const WORLD: &str = "data world --clips 2 --seconds 0.5 --fps 8 --width 64 --height 32 --seed 3";

#[test]
fn worlds_are_written_and_scanned() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), &format!("{WORLD} --out worlds"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "worlds/metadata.jsonl\nworlds/vldm-sheet.png\n");
    let worlds = folder.path().join("worlds");
    let files = ["00000.mp4", "00001.mp4", "metadata.jsonl", "vldm-sheet.png"];
    assert_eq!(listing(&worlds), files);

    let ran = run(folder.path(), "data scan worlds");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let expected = "2 clips, all of which can be used\n  length        0:00:01 in 2 clips";
    assert!(ran.stdout.starts_with(expected), "{}", ran.stdout);
    assert!(ran.stdout.contains("64×32 (2)"), "{}", ran.stdout);
    assert!(ran.stdout.contains("every clip has one"), "{}", ran.stdout);
    assert!(worlds.join("vldm-scan.json").is_file());

    let again = run(folder.path(), &format!("{WORLD} --out worlds"));
    assert_eq!(again.status, 2);
    assert!(
        again.stderr.contains("the folder is not empty"),
        "{}",
        again.stderr
    );
}

#[test]
fn the_same_seed_writes_the_same_clips() {
    let folder = tempfile::tempdir().unwrap();
    for out in ["a", "b"] {
        assert_eq!(
            run(folder.path(), &format!("{WORLD} --out {out}")).status,
            0
        );
    }
    for name in ["00001.mp4", "metadata.jsonl"] {
        let [a, b] = ["a", "b"].map(|out| fs::read(folder.path().join(out).join(name)).unwrap());
        assert!(a == b, "{name}");
    }
}

#[test]
fn what_is_broken_is_told_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        run(folder.path(), &format!("{WORLD} --out worlds")).status,
        0
    );
    let worlds = folder.path().join("worlds");
    fs::write(worlds.join("bad.gif"), "no picture").unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let ran = run(folder.path(), "data scan worlds --out out --json");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("quarantined: bad.gif: "),
        "{}",
        ran.stderr
    );
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["clips"], 3);
    assert_eq!(report["statistics"]["clips"], 2);
    assert_eq!(report["quarantine"][0]["id"], "bad.gif");
    assert!(!worlds.join("vldm-scan.json").exists());
    let ran = run(folder.path(), "data scan worlds --out out");
    let expected = "3 clips, of which 2 can be used and 1 are quarantined";
    assert!(ran.stdout.starts_with(expected), "{}", ran.stdout);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |line: &str, expected: &str| {
        let ran = run(folder.path(), line);
        assert_eq!(ran.status, 2, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{line}: {}", ran.stderr);
    };
    check(
        "data scan missing",
        "expected a folder of clips, a .tar file",
    );
    check("data scan .", "expected clips or pictures, found none");
    check("data world --clips 0 --out x", "--clips");
    check(
        "data world --clips 1 --out x --width 63",
        "expected even sizes",
    );
    check(
        "data world --clips 1 --out x --seconds 0",
        "of more than 0 seconds",
    );
}
