//! Laws of the order.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn clip(id: usize, (width, height): (u32, u32), frames: usize, fps: f64) -> ClipInfo {
    ClipInfo {
        id: format!("clip{id}"),
        width,
        height,
        frames,
        fps,
    }
}

fn settings() -> OrderSettings {
    OrderSettings {
        seed: 7,
        batch: 4,
        buckets: vec![[48, 64], [64, 48]],
        lengths: vec![4, 8],
        rates: vec![],
        fit: Fit::Crop,
    }
}

/// 23 clips: wide and tall ones, short and long ones.
fn clips() -> Vec<ClipInfo> {
    (0..23)
        .map(|i| {
            let size = if i % 3 == 0 { (120, 160) } else { (160, 120) };
            clip(i, size, if i % 2 == 0 { 6 } else { 20 }, 10.0)
        })
        .collect()
}

fn order(clips: &[ClipInfo], settings: &OrderSettings) -> Order {
    Order::of(&clips.iter().collect::<Vec<_>>(), settings).unwrap()
}

#[test]
fn a_batch_is_of_one_window_that_all_its_clips_hold() {
    let clips = clips();
    let order = order(&clips, &settings());
    assert_eq!(order.report().windows.len(), 4);
    for number in 0..40 {
        let plan = order.batch(number);
        assert_eq!([plan.clips.len(), plan.placements.len()], [4, 4]);
        for &clip in &plan.clips {
            assert!(clips[clip].holds(&plan.window));
            assert_eq!(
                plan.window.frames,
                if clips[clip].frames > 8 { 8 } else { 4 }
            );
            let tall = clips[clip].height > clips[clip].width;
            assert_eq!(plan.window.height > plan.window.width, tall);
        }
        let shares = plan.placements.iter().flat_map(|p| [p.time, p.x, p.y]);
        assert!(shares.into_iter().all(|share| (0.0..1.0).contains(&share)));
    }
}

#[test]
fn a_batch_depends_on_its_number_and_the_seed_alone() {
    let clips = clips();
    let forward = order(&clips, &settings());
    let batches: Vec<BatchPlan> = (0..200).map(|number| forward.batch(number)).collect();
    let backward = order(&clips, &settings());
    for number in (0..200).rev() {
        assert_eq!(backward.batch(number), batches[number as usize]);
    }
    let other = OrderSettings {
        seed: 8,
        ..settings()
    };
    let other = order(&clips, &other);
    assert!((0..10).any(|number| other.batch(number) != batches[number as usize]));
}

#[test]
fn every_clip_is_seen_once_in_an_epoch() {
    let clips = clips();
    let order = order(&clips, &settings());
    // Four epochs of 23 clips are 23 batches of four, if every window's clips come to whole
    // batches by then: 4 · n / 4 = n.
    let mut seen = BTreeMap::new();
    for number in 0..23 {
        assert!(order.epoch(number) < 4);
        for clip in order.batch(number).clips {
            *seen.entry(clip).or_insert(0) += 1;
        }
    }
    assert_eq!(order.epoch(23), 4);
    assert_eq!(seen.len(), 23);
    assert!(seen.values().all(|&times| times == 4), "{seen:?}");
}

#[test]
fn epochs_are_in_fresh_orders() {
    let clips: Vec<ClipInfo> = (0..8).map(|i| clip(i, (160, 120), 8, 10.0)).collect();
    let order = order(&clips, &settings());
    let orders: BTreeSet<Vec<usize>> = (0..6)
        .map(|epoch| {
            let batches = [2 * epoch, 2 * epoch + 1];
            let mut epoch = batches.map(|number| order.batch(number).clips).concat();
            let order = epoch.clone();
            epoch.sort_unstable();
            assert_eq!(epoch, (0..8).collect::<Vec<_>>());
            order
        })
        .collect();
    assert_eq!(orders.len(), 6);
}

#[test]
fn few_clips_repeat() {
    let clips: Vec<ClipInfo> = (0..3).map(|i| clip(i, (160, 120), 8, 10.0)).collect();
    let order = order(&clips, &settings());
    let seen: Vec<usize> = (0..3)
        .flat_map(|number| order.batch(number).clips)
        .collect();
    for third in seen.chunks(3) {
        let mut third = third.to_vec();
        third.sort_unstable();
        assert_eq!(third, [0, 1, 2]);
    }
    assert!(order.batch(u64::MAX / 1024).clips.len() == 4);
}

#[test]
fn every_rate_is_a_regime_of_its_own() {
    let clips = [
        clip(0, (64, 48), 100, 30.0),
        clip(1, (64, 48), 100, 30.0),
        clip(2, (64, 48), 20, 30.0),
        clip(3, (64, 48), 100, 10.0),
        clip(4, (64, 48), 2, 10.0),
    ];
    let settings = OrderSettings {
        rates: vec![30.0, 7.5, 2.0],
        lengths: vec![4],
        ..settings()
    };
    let order = order(&clips, &settings);
    let counts: Vec<(Option<f64>, usize)> = order
        .report()
        .windows
        .iter()
        .map(|(window, count)| (window.fps, *count))
        .collect();
    assert_eq!(
        counts,
        [(Some(30.0), 3), (Some(7.5), 4), (Some(2.0), 3)],
        "{}",
        order.report()
    );
    assert_eq!(order.report().unfit, 1);
    let text = order.report().to_string();
    assert!(text.ends_with("; 1 clips fit no window"), "{text}");
}

#[test]
fn buckets_of_one_shape_are_chosen_by_size() {
    let check = |size, fit, expected: [u32; 2]| {
        let settings = OrderSettings {
            buckets: vec![[96, 128], [48, 64], [24, 32], [64, 64]],
            fit,
            ..settings()
        };
        let report = order(&[clip(0, size, 9, 10.0)], &settings).report().clone();
        let window = &report.windows[0].0;
        assert_eq!([window.height, window.width], expected);
        report.enlarged
    };
    assert_eq!(check((800, 600), Fit::Crop, [96, 128]), 0);
    assert_eq!(check((100, 75), Fit::Crop, [48, 64]), 0);
    assert_eq!(check((16, 12), Fit::Crop, [24, 32]), 1);
    assert_eq!(check((500, 490), Fit::Crop, [64, 64]), 0);
    // The nearest shape would be larger than the picture.
    assert_eq!(check((60, 60), Fit::Patch { of: None }, [24, 32]), 0);
}

#[test]
fn what_fits_nothing_is_told() {
    let check = |clips: &[ClipInfo], settings: OrderSettings, expected: &str| {
        let error = Order::of(&clips.iter().collect::<Vec<_>>(), &settings).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let short = [clip(0, (64, 48), 3, 10.0), clip(1, (64, 48), 2, 10.0)];
    check(
        &short,
        settings(),
        "none of 2 clips fits 4 frames of 48x64 or 4 frames of 64x48 or 8 frames of 48x64 or 8 \
         frames of 64x48: the longest, clip0, has 3 frames of 64x48 at 10 fps; ask for shorter",
    );
    check(&[], settings(), "there are no clips");
    let no_batch = OrderSettings {
        batch: 0,
        ..settings()
    };
    check(&short, no_batch, "expected at least one of each");
    let no_height = OrderSettings {
        buckets: vec![[0, 64]],
        ..settings()
    };
    check(&short, no_height, "must be at least 1");
}

#[test]
fn replacements_are_of_the_same_window() {
    let clips = clips();
    let order = order(&clips, &settings());
    let plan = order.batch(5);
    let drawn: Vec<usize> = (0..50).map(|n| order.replacement(&plan, 2, n)).collect();
    assert!(drawn.iter().all(|&clip| clips[clip].holds(&plan.window)));
    assert!(drawn.iter().collect::<BTreeSet<_>>().len() > 2);
    assert_eq!(order.replacement(&plan, 2, 9), drawn[9]);
}

#[test]
fn numbers_are_uniform_and_fixed() {
    let mean = (0..4000).map(|n| uniform(1, 2, n)).sum::<f64>() / 4000.0;
    assert!((mean - 0.5).abs() < 0.02, "{mean}");
    assert_ne!(uniform(1, 2, 3), uniform(1, 3, 2));
    assert_ne!(uniform(1, 2, 3), uniform(2, 1, 3));
    // The layout of the key is a promise: these are from another implementation of ChaCha8.
    assert_eq!(word(0, 0, 0), 17548006978319321217);
    assert_eq!(word(1, 2, 3), 2006585144958915902);
}
