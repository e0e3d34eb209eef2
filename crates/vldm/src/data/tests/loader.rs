//! Batches read ahead: order, failures, ends.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vldm_media::Fps;

use super::{clip, says, write};
use crate::data::{
    BrokenPolicy, ClipInfo, ClipSource, Fit, FolderSource, Loader, LoaderSettings, Order,
    OrderSettings, Placement, Sample, Window, WorldConfig, WorldSource,
};
use crate::error::{Error, Result};

fn order(source: &dyn ClipSource, batch: usize, frames: usize) -> Arc<Order> {
    let settings = OrderSettings {
        seed: 3,
        batch,
        buckets: vec![[24, 32]],
        lengths: vec![frames],
        rates: vec![],
        fit: Fit::Crop,
    };
    Arc::new(Order::new(source, &settings).unwrap())
}

fn settings(threads: usize, ahead: usize, max_broken: Option<usize>) -> LoaderSettings {
    LoaderSettings {
        threads,
        ahead,
        broken: BrokenPolicy { max_broken },
    }
}

/// What a batch holds, in short: names, places and a sum over the pixels.
fn gist(samples: &[Sample]) -> Vec<(String, u64, u64)> {
    let sum = |sample: &Sample| {
        let bytes = sample.frames.iter().flat_map(|frame| frame.rgb());
        (1_u64..).zip(bytes).map(|(n, &b)| n * u64::from(b)).sum()
    };
    samples
        .iter()
        .map(|s| (s.id.clone(), s.start_seconds.to_bits(), sum(s)))
        .collect()
}

fn batches(
    source: &Arc<dyn ClipSource>,
    order: &Arc<Order>,
    numbers: std::ops::Range<u64>,
    settings: &LoaderSettings,
) -> Vec<Vec<(String, u64, u64)>> {
    let mut loader = Loader::start(
        Arc::clone(source),
        Arc::clone(order),
        numbers.start,
        settings,
    )
    .unwrap();
    numbers
        .map(|number| {
            let loaded = loader.next_batch().unwrap();
            assert_eq!(loaded.number, number);
            assert_eq!(loaded.epoch, order.epoch(number));
            assert!(
                loaded
                    .samples
                    .iter()
                    .all(|s| s.frames.len() == loaded.window.frames)
            );
            gist(&loaded.samples)
        })
        .collect()
}

#[test]
fn batches_depend_neither_on_threads_nor_on_the_start() {
    let config = WorldConfig {
        seconds: 1.0,
        height: 24,
        width: 32,
        ..WorldConfig::new(5, 1)
    };
    let source: Arc<dyn ClipSource> = Arc::new(WorldSource::new(config).unwrap());
    let order = order(&*source, 2, 2);
    let all = batches(&source, &order, 0..12, &settings(1, 1, None));
    assert_eq!(batches(&source, &order, 0..12, &settings(5, 3, None)), all);
    assert_eq!(
        batches(&source, &order, 7..12, &settings(2, 8, None)),
        all[7..]
    );
}

#[test]
fn a_clip_that_is_cut_short_is_replaced_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..4 {
        write(&folder.path().join(format!("{n}.mp4")), &clip(40, 10));
    }
    let source: Arc<dyn ClipSource> =
        Arc::new(FolderSource::open(folder.path(), Fps::FILM).unwrap());
    let order = order(&*source, 2, 8);
    // Only now: opening would have noticed.
    let path = folder.path().join("2.mp4");
    let length = path.metadata().unwrap().len();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(length / 2).unwrap();
    let one = settings(1, 1, None);
    let all = batches(&source, &order, 0..8, &one);
    assert_eq!(batches(&source, &order, 0..8, &settings(3, 4, None)), all);
    assert_eq!(
        batches(&source, &order, 5..8, &settings(2, 2, None)),
        all[5..]
    );
    let ids: BTreeSet<&str> = all.iter().flatten().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(
        ids.into_iter().collect::<Vec<_>>(),
        ["0.mp4", "1.mp4", "3.mp4"]
    );

    let mut loader = Loader::start(Arc::clone(&source), Arc::clone(&order), 0, &one).unwrap();
    (0..8).for_each(|_| drop(loader.next_batch().unwrap()));
    assert_eq!(loader.broken().len(), 1);
    assert!(loader.failures() >= 4, "{}", loader.failures());
    let broken = &loader.broken()[0];
    assert_eq!(broken.id, "2.mp4");
    assert!(broken.reason.contains("2.mp4"), "{}", broken.reason);
}

/// Clips that are not there.
#[derive(Debug)]
struct Imagined {
    infos: Vec<ClipInfo>,
    broken: usize,
    reads: std::sync::Mutex<Vec<usize>>,
    slow: Duration,
}

impl Imagined {
    fn new(clips: usize, broken: usize, slow: Duration) -> Arc<Self> {
        let info = |n| ClipInfo {
            id: format!("clip{n}"),
            width: 32,
            height: 24,
            frames: 2,
            fps: 10.0,
        };
        Arc::new(Self {
            infos: (0..clips).map(info).collect(),
            broken,
            reads: std::sync::Mutex::default(),
            slow,
        })
    }
}

impl ClipSource for Imagined {
    fn len(&self) -> usize {
        self.infos.len()
    }

    fn clip(&self, index: usize) -> &ClipInfo {
        &self.infos[index]
    }

    fn read(&self, index: usize, window: &Window, _: Placement) -> Result<Sample> {
        self.reads.lock().unwrap().push(index);
        std::thread::sleep(self.slow);
        if index < self.broken {
            return Err(Error::Input(format!("clip{index} has a hole")));
        }
        assert_ne!(index, 777, "a bug");
        let frame = vldm_media::Frame::filled(window.width, window.height, [index as u8; 3])?;
        Ok(Sample {
            id: self.infos[index].id.clone(),
            frames: vec![frame; window.frames],
            fps: 10.0,
            start_seconds: 0.0,
            caption: None,
            labels: Default::default(),
            boxes: vec![vec![]; window.frames],
            encoded: None,
        })
    }
}

#[test]
fn too_many_broken_clips_stop_the_run() {
    let stop = |threads, ahead| {
        let source = Imagined::new(40, 10, Duration::ZERO);
        let order = order(&*source, 4, 2);
        let mut loader = Loader::start(source, order, 0, &settings(threads, ahead, None)).unwrap();
        let mut given = 0;
        let error = loop {
            match loader.next_batch() {
                Ok(_) => given += 1,
                Err(error) => break error.to_string(),
            }
        };
        says(loader.next_batch(), &error);
        assert!(
            error.starts_with(
                "9 clips cannot be read, more than the 8 that may fail; run `vldm data scan` on \
                 the data, which finds all such clips and leaves them out:\n  clip"
            ),
            "{error}"
        );
        assert_eq!(error.matches("has a hole").count(), 5);
        (given, error)
    };
    let first = stop(1, 1);
    assert_eq!(stop(4, 6), first);
}

#[test]
fn the_ceiling_is_a_hundredth_or_what_is_set() {
    let check = |max_broken, clips, expected| {
        assert_eq!(BrokenPolicy { max_broken }.ceiling(clips), expected);
    };
    check(None, 10, 8);
    check(None, 5000, 50);
    check(Some(0), 5000, 0);
}

#[test]
fn a_batch_of_nothing_but_broken_clips_stops_the_run() {
    let source = Imagined::new(60, 59, Duration::ZERO);
    let order = order(&*source, 4, 2);
    let mut loader = Loader::start(source, order, 0, &settings(2, 2, Some(1000))).unwrap();
    let error = loop {
        if let Err(error) = loader.next_batch() {
            break error.to_string();
        }
    };
    assert!(error.starts_with("batch 0: "), "{error}");
    assert!(
        error.contains("clips cannot be read; run `vldm data scan`"),
        "{error}"
    );
    // A set of one broken clip has no other.
    let source = Imagined::new(1, 1, Duration::ZERO);
    let order = self::order(&*source, 2, 2);
    let mut loader = Loader::start(source, order, 0, &settings(1, 1, None)).unwrap();
    says(loader.next_batch(), "batch 0: 2 clips cannot be read");
}

#[test]
fn what_failed_is_not_read_again() {
    let source = Imagined::new(6, 2, Duration::ZERO);
    let order = order(&*source, 3, 2);
    let mut loader = Loader::start(source.clone(), order, 0, &settings(1, 1, None)).unwrap();
    (0..20).for_each(|_| drop(loader.next_batch().unwrap()));
    assert_eq!(loader.broken().len(), 2);
    assert!(loader.failures() >= 20);
    let reads = source.reads.lock().unwrap();
    assert_eq!(reads.iter().filter(|&&index| index < 2).count(), 2);
}

#[test]
fn dropping_it_ends_the_threads() {
    let source = Imagined::new(50, 0, Duration::from_millis(50));
    let order = order(&*source, 10, 2);
    let loader = Loader::start(source.clone(), order, 0, &settings(3, 50, None)).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let begin = Instant::now();
    drop(loader);
    assert!(
        begin.elapsed() < Duration::from_millis(500),
        "{:?}",
        begin.elapsed()
    );
    let reads = source.reads.lock().unwrap().len();
    std::thread::sleep(Duration::from_millis(120));
    assert_eq!(source.reads.lock().unwrap().len(), reads);
    assert_eq!(Arc::strong_count(&source), 1);
}

#[test]
fn no_more_than_asked_for_is_read_ahead() {
    let source = Imagined::new(50, 0, Duration::ZERO);
    let order = order(&*source, 5, 2);
    let mut loader = Loader::start(source.clone(), order, 0, &settings(2, 3, None)).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(source.reads.lock().unwrap().len(), 15);
    loader.next_batch().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(source.reads.lock().unwrap().len(), 20);
}

#[test]
fn a_bug_in_a_reader_ends_the_run_and_does_not_hang() {
    let source = Imagined::new(778, 0, Duration::ZERO);
    let order = order(&*source, 389, 2);
    let mut loader = Loader::start(source, order, 0, &settings(2, 2, None)).unwrap();
    let error = (0..2)
        .find_map(|_| loader.next_batch().err())
        .unwrap()
        .to_string();
    assert!(
        error.contains("reading a clip panicked, which is a bug"),
        "{error}"
    );
}

#[test]
fn a_loader_of_nothing_is_refused() {
    let source = Imagined::new(5, 0, Duration::ZERO);
    let order = order(&*source, 5, 2);
    says(
        Loader::start(source, order, 0, &settings(0, 3, None)),
        "0 threads and 3 batches ahead: expected at least 1 of each",
    );
    let read: LoaderSettings = serde_json::from_str("{\"broken\": {\"max_broken\": 3}}").unwrap();
    assert_eq!(read, settings(2, 4, Some(3)));
}
