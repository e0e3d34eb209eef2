//! Plots of runs that went well, badly, or not at all.

use std::time::{Duration, Instant};

use super::super::record::{EvaluationRecord, StepRecord};
use super::*;

fn step(step: u64, loss: f64) -> Record {
    Record::Step(StepRecord {
        step,
        loss,
        learning_rate: 1e-4,
        seconds: step as f64,
        ..StepRecord::default()
    })
}

fn evaluation(step: u64, losses: &[(f64, f64)], mean: f64) -> Record {
    Record::Evaluation(EvaluationRecord {
        step,
        losses: losses.to_vec(),
        mean,
    })
}

/// The pixels of a plot.
fn pixels(records: &[Record], title: &str) -> Vec<u8> {
    let png = plot(records, title).unwrap();
    let decoder = png::Decoder::new(std::io::Cursor::new(png));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (PLOT_WIDTH, PLOT_HEIGHT));
    assert_eq!(info.color_type, png::ColorType::Rgb);
    pixels
}

/// How many pixels have a colour of a curve.
fn count(pixels: &[u8], color: [u8; 3]) -> usize {
    pixels.chunks(3).filter(|pixel| *pixel == color).count()
}

const LOSS: [u8; 3] = [0x00, 0x72, 0xb2];
const RATE: [u8; 3] = [0x00, 0x9e, 0x73];
const LOST: [u8; 3] = [0xd5, 0x5e, 0x00];

#[test]
fn a_run_has_curves_of_loss_and_learning_rate() {
    let records: Vec<_> = (1..=500).map(|i| step(i, 1.0 / i as f64)).collect();
    let pixels = pixels(&records, "run");
    assert!(count(&pixels, LOSS) > 800 && count(&pixels, RATE) > 800);
    assert_eq!(count(&pixels, LOST), 0);
    assert_eq!(pixels[..3], [255; 3]);
}

#[test]
fn lost_steps_are_marked() {
    let mut records: Vec<_> = (1..=100).map(|i| step(i, 1.0)).collect();
    records[40] = step(41, f64::NAN);
    let Record::Step(skipped) = &mut records[60] else {
        panic!("another kind");
    };
    skipped.skipped = true;
    // Two marks, and the legend's.
    let marked = count(&pixels(&records, "run"), LOST);
    assert!((40..150).contains(&marked), "{marked}");
}

#[test]
fn nothing_makes_a_page_that_says_so() {
    let empty = pixels(&[], "");
    assert!(empty.chunks(3).any(|pixel| pixel != [255; 3]));
    assert_ne!(empty, pixels(&[], "title"));
}

#[test]
fn odd_runs_are_drawn_all_the_same() {
    let check = |records: &[Record]| drop(pixels(records, "odd 车\n\0 title ".repeat(20).as_str()));
    check(&[step(7, 0.5)]);
    check(&[step(0, 0.0)]);
    check(&[step(u64::MAX, -1.0), step(0, 1.0)]);
    check(&[evaluation(3, &[(0.5, 1.0)], 1.0)]);
    check(&[evaluation(3, &[], f64::NAN)]);
    check(&[evaluation(
        3,
        &[(f64::NAN, 1.0), (f64::INFINITY, 0.0), (-1.0, -1e9)],
        0.0,
    )]);
    for value in [0.0, 0.25, -3.0, f64::NAN, f64::INFINITY, f64::MAX, 5e-324] {
        let records: Vec<_> = (1..=40).map(|i| step(i, value)).collect();
        check(&records);
    }
    let wide = |i: u64| 10_f64.powi(15 * i as i32 - 300);
    let records: Vec<_> = (0..40).map(|i| step(i, wide(i))).collect();
    check(&records);
    let extremes = [f64::MAX, f64::MIN, 0.0, f64::NAN, f64::NEG_INFINITY];
    let records: Vec<_> = (0..100)
        .map(|i| step(i, extremes[i as usize % 5]))
        .collect();
    check(&records);
    let levels: Vec<_> = (0..200).map(|i| (f64::from(i), 10.0)).collect();
    check(&[evaluation(3, &levels, 10.0), step(3, 2.0), step(3, 3.0)]);
}

#[test]
fn the_order_of_records_does_not_matter() {
    let mut records: Vec<_> = (1..=50).map(|i| step(i, 1.0 / i as f64)).collect();
    records.push(evaluation(25, &[(0.5, 0.1)], 0.1));
    let in_order = plot(&records, "run").unwrap();
    records.reverse();
    assert!(plot(&records, "run").unwrap() == in_order);
}

#[test]
fn a_million_steps_take_seconds_at_most() {
    let noise = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / 2e7;
    let records: Vec<_> = (1..=1_000_000).map(|i| step(i, 0.1 + noise(i))).collect();
    let start = Instant::now();
    let drawn = pixels(&records, "run");
    assert!(count(&drawn, LOSS) > 800);
    // Well below a second on an idle machine.
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}
