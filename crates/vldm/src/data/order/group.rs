//! Which clip goes to which window.

use std::collections::{BTreeMap, BTreeSet};

use super::{OrderReport, OrderSettings};
use crate::data::sample::{ClipInfo, Fit, Window};
use crate::error::{Error, Result};

/// The clips of one window.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) window: Window,
    /// By their index in the source, rising.
    pub(super) clips: Vec<usize>,
}

/// Sorts clips into windows; windows without clips are left out.
pub(super) fn assign(
    infos: &[&ClipInfo],
    settings: &OrderSettings,
) -> Result<(Vec<Group>, OrderReport)> {
    let mut lengths = settings.lengths.clone();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.dedup();
    let mut places: BTreeMap<(usize, usize, usize), Vec<usize>> = BTreeMap::new();
    let (mut unfit, mut enlarged) = (0, 0);
    for (clip, info) in infos.iter().enumerate() {
        let buckets = by_preference(info, settings);
        let mut fits = false;
        let mut grows = false;
        for (rate, &fps) in settings.rates().iter().enumerate() {
            let window = |bucket: usize, length: usize| Window {
                frames: lengths[length],
                fps,
                height: settings.buckets[bucket][0],
                width: settings.buckets[bucket][1],
                fit: settings.fit,
            };
            let place = buckets.iter().find_map(|&bucket| {
                let mut lengths = 0..lengths.len();
                let length = lengths.find(|&length| info.holds(&window(bucket, length)))?;
                Some((bucket, length))
            });
            if let Some((bucket, length)) = place {
                fits = true;
                grows |= is_enlarged(info, &window(bucket, length));
                places.entry((rate, bucket, length)).or_default().push(clip);
            }
        }
        unfit += usize::from(!fits);
        enlarged += usize::from(grows);
    }
    let groups: Vec<Group> = places
        .into_iter()
        .map(|((rate, bucket, length), clips)| Group {
            window: Window {
                frames: lengths[length],
                fps: settings.rates()[rate],
                height: settings.buckets[bucket][0],
                width: settings.buckets[bucket][1],
                fit: settings.fit,
            },
            clips,
        })
        .collect();
    if groups.is_empty() {
        return Err(nothing_fits(infos, settings));
    }
    let windows = groups.iter().map(|g| (g.window.clone(), g.clips.len()));
    let report = OrderReport {
        windows: windows.collect(),
        unfit,
        enlarged,
        left_out: 0,
    };
    Ok((groups, report))
}

/// The buckets that a clip may go to, the best first. A crop only goes to the nearest shape; a
/// patch goes wherever it fits.
fn by_preference(info: &ClipInfo, settings: &OrderSettings) -> Vec<usize> {
    let shape = |height: u32, width: u32| (f64::from(width) / f64::from(height)).ln();
    let own = shape(info.height.max(1), info.width.max(1));
    let miss = |bucket: &[u32; 2]| {
        // Rounded, so that sizes that were rounded to multiples of 8 count as one shape.
        ((shape(bucket[0], bucket[1]) - own).abs() * 50.0).round() as u64
    };
    let area = |[height, width]: [u32; 2]| u64::from(height) * u64::from(width);
    let room = area([info.height, info.width]);
    let mut order: Vec<usize> = (0..settings.buckets.len()).collect();
    order.sort_by_key(|&index| {
        let bucket = settings.buckets[index];
        let area = area(bucket);
        let size = match area <= room {
            true => (0, u64::MAX - area),
            false => (1, area),
        };
        (miss(&bucket), size, index)
    });
    if settings.fit == Fit::Crop {
        order.truncate(1);
    }
    order
}

fn is_enlarged(info: &ClipInfo, window: &Window) -> bool {
    let (height, width) = match window.fit {
        Fit::Crop => (window.height, window.width),
        Fit::Patch { of: Some([h, w]) } => (h, w),
        Fit::Patch { of: None } => return false,
    };
    info.height < height || info.width < width
}

/// Says what the clips are, and what one of them lacks.
fn nothing_fits(infos: &[&ClipInfo], settings: &OrderSettings) -> Error {
    let windows: BTreeSet<String> = settings
        .windows()
        .map(|window| window.to_string())
        .collect();
    let windows: Vec<String> = windows.into_iter().collect();
    let Some(longest) = infos.iter().max_by_key(|info| info.frames) else {
        return Error::Input("there are no clips to make batches of".into());
    };
    Error::Input(format!(
        "none of {} clips fits {}: the longest, {}, has {} frames of {}x{} at {} fps; ask for \
         shorter windows, other rates or smaller patches",
        infos.len(),
        windows.join(" or "),
        longest.id,
        longest.frames,
        longest.width,
        longest.height,
        longest.fps
    ))
}
