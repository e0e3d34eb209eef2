//! Which frames of which clips a recipe can ask for.

use std::collections::BTreeMap;

use super::index::ClipKey;
use crate::data::{ClipInfo, ClipSource, Order, Window};
use crate::error::Result;

/// Frames of one clip at one size that windows can take.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The clip by its index in its source.
    pub(super) clip: usize,
    pub(super) key: ClipKey,
    /// Rising.
    pub(super) frames: Vec<usize>,
}

/// Everything that an order's windows can take of a source, by clip and size.
pub(super) fn wanted(source: &dyn ClipSource, order: &Order) -> Result<Vec<Wanted>> {
    let mut taken: BTreeMap<(usize, [u32; 2]), Vec<bool>> = BTreeMap::new();
    for (window, clips) in order.groups() {
        for &clip in clips {
            let info = source.clip(clip);
            let frames = taken
                .entry((clip, [window.height, window.width]))
                .or_insert_with(|| vec![false; info.frames]);
            take(info, window, frames)?;
        }
    }
    let wanted = taken.into_iter().map(|((clip, size), taken)| {
        let frames = taken.iter().enumerate().filter(|(_, taken)| **taken);
        Ok(Wanted {
            clip,
            key: ClipKey {
                id: source.clip(clip).id.clone(),
                identity: source.identity(clip)?,
                size,
            },
            frames: frames.map(|(frame, _)| frame).collect(),
        })
    });
    wanted.collect()
}

/// Marks every frame that a window takes, wherever in the clip it lies.
fn take(info: &ClipInfo, window: &Window, taken: &mut [bool]) -> Result<()> {
    let first = info.take(window, 0.0)?;
    let places = info.frames + 1 - first.span().len();
    for frame in first.indices() {
        taken[frame..frame + places].fill(true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Fit;

    #[test]
    fn every_place_of_a_window_is_covered() {
        let check = |frames: usize, fps: Option<f64>, length: usize, expected: usize| {
            let info = ClipInfo {
                id: "a.mp4".into(),
                width: 64,
                height: 32,
                frames,
                fps: 30.0,
            };
            let window = Window {
                frames: length,
                fps,
                height: 32,
                width: 64,
                fit: Fit::Crop,
            };
            let mut taken = vec![false; frames];
            take(&info, &window, &mut taken).unwrap();
            let mut drawn = vec![false; frames];
            for place in 0..1000 {
                let window = info.take(&window, f64::from(place) / 1000.0).unwrap();
                window.indices().for_each(|frame| drawn[frame] = true);
            }
            assert_eq!(taken, drawn, "{frames} frames, {length} at {fps:?}");
            assert_eq!(taken.iter().filter(|taken| **taken).count(), expected);
        };
        check(40, Some(7.5), 4, 40);
        check(40, None, 1, 40);
        // One place only: the frames between are not asked for.
        check(13, Some(7.5), 4, 4);
        // Two places.
        check(14, Some(7.5), 4, 8);
        check(30, Some(12.5), 8, 30);
    }
}
