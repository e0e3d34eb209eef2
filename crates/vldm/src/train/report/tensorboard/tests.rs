//! Event files against bytes that TensorBoard's own package wrote.

use std::collections::BTreeMap;
use std::fs;

use super::*;

/// A PNG file of a red and a blue pixel.
const PNG: &str = "\
    89504e470d0a1a0a0000000d49484452000000020000000108020000007b40e8dd0000000d49444154789c63f8cf\
    0004ff01070001ffe2239e590000000049454e44ae426082";

/// What the Python package `tensorboard` 2.21.0 writes: `Event` messages of
/// `tensorboard.compat.proto`, serialised and put through its `RecordWriter`. They are
/// `file_version="brain.Event:2"` at 1700000000.25 s; at the same time, of step 301,
/// `SessionLog(status=START)`; at 1700000001.5 s, of step 0, `train/loss` = 0.1 and `zero` = 0; at
/// 1700000002 s, of step 302, an image `samples`, [`PNG`].
const REFERENCE: &str = "\
    1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9100000000000\
    000095fbfe180900001040fc54d94110ad023a020801cb79b93b2b00000000000000861bc34b0900006040fc54d9\
    412a200a110a0a747261696e2f6c6f737315cdcccc3d0a0b0a047a65726f1500000000545b53d369000000000000\
    00360b3c6e0900008040fc54d94110ae022a5b0a590a0773616d706c6573224e080110021803224689504e470d0a\
    1a0a0000000d49484452000000020000000108020000007b40e8dd0000000d49444154789c63f8cf0004ff010700\
    01ffe2239e590000000049454e44ae426082fb13b811";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[test]
fn files_are_the_reference_packages_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder
        .path()
        .join(event_file_name(1_700_000_000, "host", 1));
    let at = |step, unix_seconds| Moment { step, unix_seconds };
    let mut events = EventFile::resume(&path, at(300, 1_700_000_000.25)).unwrap();
    let values = [("train/loss", 0.1), ("zero", 0.0)];
    events.scalars(at(0, 1_700_000_001.5), values).unwrap();
    let late = at(302, 1_700_000_002.0);
    events.image(late, "samples", &bytes(PNG)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes(REFERENCE));

    let error = EventFile::create(&path, 0.0).unwrap_err();
    assert!(error.to_string().contains("cannot create"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes(REFERENCE));
}

#[test]
fn only_png_files_are_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = EventFile::create(folder.path().join("a.tfevents"), 1.0).unwrap();
    let at = Moment {
        step: 1,
        unix_seconds: 2.0,
    };
    for picture in [&b""[..], b"GIF89a", &bytes(PNG)[..20]] {
        let error = events.image(at, "samples", picture).unwrap_err();
        assert!(error.to_string().contains("not a PNG file"), "{error}");
    }
    events.image(at, "samples", &bytes(PNG)).unwrap();
}

#[test]
fn names_sort_by_time_and_hold_no_separators() {
    let check = |host: &str, expected: &str| assert_eq!(event_file_name(17, host, 4), expected);
    check(
        "box-1.local",
        "events.out.tfevents.0000000017.box-1.local.4",
    );
    check("../a b\\ü", "events.out.tfevents.0000000017..._a_b__.4");
}

#[test]
fn records_become_scalars_with_names() {
    let step = StepRecord {
        step: 5,
        loss: 0.5,
        parts: BTreeMap::from([("kl".into(), 2.0)]),
        ..StepRecord::default()
    };
    let tags = |values: Vec<(String, f64)>| {
        let named = values
            .into_iter()
            .map(|(tag, value)| format!("{tag}={value}"));
        named.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        tags(step_values(&step)),
        "train/loss=0.5 train/learning_rate=0 train/gradient_norm=0 train/skipped=0 \
         speed/examples_per_second=0 speed/waited_share=0 train/parts/kl=2"
    );
    let evaluation = EvaluationRecord {
        step: 5,
        losses: vec![(0.5, 1.0), (20.0, 3.0)],
        mean: 2.0,
    };
    assert_eq!(
        tags(evaluation_values(&evaluation)),
        "held_out/sigma_0.5=1 held_out/sigma_20=3 held_out/mean=2"
    );
}
