//! Files of runs that were killed at any byte.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::record::{EvaluationRecord, StepRecord};
use super::*;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    (folder, path)
}

/// What step `step` of a run writes: its line, and a measurement after every third.
fn records(step: u64) -> Vec<Record> {
    let loss = 1.0 / (step as f64 + 0.3);
    let mut records = vec![Record::Step(StepRecord {
        step,
        loss,
        ..StepRecord::default()
    })];
    if step.is_multiple_of(3) {
        records.push(Record::Evaluation(EvaluationRecord {
            step,
            losses: vec![(0.5, loss), (20.0, f64::NAN)],
            mean: loss,
        }));
    }
    records
}

fn train(path: &Path, resume_after: Option<u64>, last: u64) -> Result<()> {
    let mut file = MetricsFile::open(path, resume_after)?;
    for step in resume_after.unwrap_or(0) + 1..=last {
        for record in records(step) {
            file.append(&record)?;
        }
    }
    Ok(())
}

#[test]
fn a_run_killed_at_any_byte_and_resumed_leaves_the_file_of_one_that_was_not() {
    let (_folder, path) = folder();
    train(&path, None, 6).unwrap();
    let whole = fs::read(&path).unwrap();
    // The checkpoint is of step 4: its lines were synced before it.
    let known: usize = (1..=4).flat_map(records).map(|r| length(&r)).sum();
    for killed_at in known..=whole.len() {
        fs::write(&path, &whole[..killed_at]).unwrap();
        train(&path, Some(4), 6).unwrap();
        assert_eq!(
            fs::read(&path).unwrap(),
            whole,
            "killed at byte {killed_at}"
        );
    }
}

fn length(record: &Record) -> usize {
    serde_json::to_vec(record).unwrap().len() + 1
}

#[test]
fn a_record_that_lacks_only_its_line_break_is_kept() {
    let (_folder, path) = folder();
    train(&path, None, 4).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(read(&path).unwrap().len(), 5);
    drop(MetricsFile::open(&path, Some(4)).unwrap());
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn reading_passes_over_a_torn_last_line_only() {
    let (_folder, path) = folder();
    train(&path, None, 2).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"kind\":\"st")).unwrap();
    assert_eq!(read(&path).unwrap(), [records(1), records(2)].concat());
    // As a file system may leave it after a power cut.
    fs::write(&path, format!("{whole}\0\0\0\0")).unwrap();
    assert_eq!(read(&path).unwrap().len(), 2);

    fs::write(&path, format!("{whole}{{\"kind\":\"st\n{whole}")).unwrap();
    for error in [
        read(&path).unwrap_err(),
        MetricsFile::open(&path, Some(1)).unwrap_err(),
    ] {
        assert!(error.to_string().contains("line 3 of"), "{error}");
    }
    assert!(fs::read_to_string(&path).unwrap().starts_with(&whole));
}

#[test]
fn values_that_are_not_finite_are_read_as_nan() {
    let (_folder, path) = folder();
    train(&path, None, 3).unwrap();
    let Some(Record::Evaluation(last)) = read(&path).unwrap().pop() else {
        panic!("another kind");
    };
    assert_eq!(last.losses[0], (0.5, 1.0 / 3.3));
    assert!(last.losses[1].1.is_nan());
}

#[test]
fn a_new_run_does_not_go_on_in_the_file_of_another() {
    let (_folder, path) = folder();
    train(&path, None, 2).unwrap();
    let before = fs::read(&path).unwrap();
    let error = MetricsFile::open(&path, None).unwrap_err();
    assert!(error.to_string().contains("already holds a run"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);

    // Not one line was written in full: nothing is lost.
    fs::write(&path, &before[..20]).unwrap();
    train(&path, None, 2).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_without_later_lines_is_left_alone_and_a_missing_one_begins() {
    let (folder, path) = folder();
    train(&path, Some(2), 4).unwrap();
    assert_eq!(read(&path).unwrap().len(), 3);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    MetricsFile::open(&path, Some(4)).unwrap().sync().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(read(folder.path().join("other")).is_err());
}

#[cfg(unix)]
#[test]
fn cutting_keeps_the_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = folder();
    train(&path, None, 4).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    drop(MetricsFile::open(&path, Some(2)).unwrap());
    assert_eq!(read(&path).unwrap().len(), 2);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
}
