//! Counts over a set of clips, for people to look at before they train.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{ClipRecord, Decoded, Facts};

/// Counts over clips that can be used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Clips, pictures included.
    pub clips: usize,
    /// Clips of a single frame.
    pub pictures: usize,
    /// Frames of all clips together.
    pub frames: usize,
    /// Length of all clips of more than one frame together, in seconds.
    pub seconds: f64,
    /// Clips by size, "width×height", the most frequent first.
    pub sizes: Vec<Count>,
    /// Clips of more than one frame by rate, in frames per second, the most frequent first.
    pub rates: Vec<Count>,
    /// Clips by number of frames, in classes that double: "1", "2–3", "4–7", …
    pub lengths: Vec<Count>,
    /// Clips by label and value.
    pub labels: BTreeMap<String, BTreeMap<usize, usize>>,
    /// Clips without a caption.
    pub without_caption: usize,
    /// Clips with boxes.
    pub with_boxes: usize,
    /// Clips whose files are the same, byte for byte: the names of each set.
    pub duplicates: Vec<Vec<String>>,
}

/// How many clips are of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// The kind.
    pub of: String,
    /// How many.
    pub clips: usize,
}

impl Statistics {
    /// Counts over clips.
    pub(super) fn of<'a>(clips: impl IntoIterator<Item = &'a ClipRecord>) -> Self {
        let mut counted = Self::default();
        let mut sizes = BTreeMap::new();
        let mut rates = BTreeMap::new();
        let mut lengths = BTreeMap::new();
        let mut hashes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for clip in clips {
            let Decoded::Clip(facts) = &clip.decoded else {
                continue;
            };
            counted.add(clip, facts);
            *sizes
                .entry(format!("{}×{}", facts.width, facts.height))
                .or_insert(0) += 1;
            *lengths.entry(facts.frames.max(1).ilog2()).or_insert(0) += 1;
            if facts.frames > 1 {
                *rates.entry(facts.fps.to_string()).or_insert(0) += 1;
            }
            hashes
                .entry(&facts.sha256)
                .or_default()
                .push(clip.id.clone());
        }
        counted.sizes = by_number(sizes);
        counted.rates = by_number(rates);
        let length = |(power, clips): (u32, usize)| Count {
            of: match power {
                0 => "1".to_owned(),
                _ => format!("{}–{}", 1_u64 << power, (2_u64 << power) - 1),
            },
            clips,
        };
        counted.lengths = lengths.into_iter().map(length).collect();
        counted.duplicates = hashes.into_values().filter(|ids| ids.len() > 1).collect();
        counted
    }

    fn add(&mut self, clip: &ClipRecord, facts: &Facts) {
        self.clips += 1;
        self.frames += facts.frames;
        match facts.frames {
            1 => self.pictures += 1,
            _ => self.seconds += facts.seconds(),
        }
        self.without_caption += usize::from(clip.caption.is_none());
        self.with_boxes += usize::from(clip.boxes.is_some());
        for (label, &value) in &clip.labels {
            let values = self.labels.entry(label.clone()).or_default();
            *values.entry(value).or_insert(0) += 1;
        }
    }

    /// Clips without a caption, as a share of all.
    #[must_use]
    pub fn share_without_caption(&self) -> f64 {
        self.without_caption as f64 / self.clips.max(1) as f64
    }
}

fn by_number(counts: BTreeMap<String, usize>) -> Vec<Count> {
    let counts = counts.into_iter().map(|(of, clips)| Count { of, clips });
    let mut counts: Vec<Count> = counts.collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.clips));
    counts
}
