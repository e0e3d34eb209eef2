//! Reads everything once, before training does, and says what is there.
//!
//! A [`Scan`] is an iterator: each item is a clip that was read, and the last one holds the report.
//! Every frame is decoded. What cannot be used goes to the report's quarantine with the reason:
//! clips that cannot be decoded or differ from what their header says, captions that are no text,
//! boxes that do not fit. A source that is opened later finds the report beside the data, takes
//! sizes and lengths from it and leaves the quarantined clips out.
//!
//! A scan goes on where an earlier one ended: files of the same size and time are not read again.
//! The report is written anew every hundred clips, so little is lost when it is interrupted.

mod preview;
mod read;
mod targets;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::thread;

use vldm_media::{Fps, Frame};

pub use targets::DataKind;

use preview::Previews;
pub(crate) use read::hash;
use read::{Outcome, read};
use targets::{Target, Targets};

use super::order::word;
use super::record::{ClipRecord, Decoded, Known, Quarantined, SCAN_FILE, ScanReport};
use super::statistics::Statistics;
use crate::error::{Error, Result};

/// What the choice of previews is drawn for.
const PREVIEWS: u64 = 0x7072_6576;
/// Clips between two reports that are written on the way.
const SAVED_EVERY: usize = 100;

/// What is scanned, and where the report goes.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanSettings {
    /// The folder for the report and the previews; beside the data unless set. Sources find
    /// reports only beside the data.
    pub out: Option<PathBuf>,
    /// How many clips the previews show, at most.
    pub previews: usize,
    /// The rate of folders of numbered pictures, which carry none.
    pub picture_fps: Fps,
    /// Clips that are read at the same time, at least 1.
    pub threads: usize,
}

impl Default for ScanSettings {
    /// Beside the data, 24 clips in the previews, 24 frames per second, as many threads as the
    /// machine has cores but at most 8.
    fn default() -> Self {
        Self {
            out: None,
            previews: 24,
            picture_fps: Fps::FILM,
            threads: thread::available_parallelism().map_or(1, |count| count.get().min(8)),
        }
    }
}

/// What happens in a scan.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ScanEvent {
    /// A clip was read, or was known from before.
    Clip {
        /// How many clips are behind us, this one included.
        done: usize,
        /// How many there are.
        total: usize,
        /// The clip's name.
        id: String,
        /// Whether its file is as it was when an earlier scan read it.
        known: bool,
        /// Why it goes to the quarantine, if it does.
        broken: Option<String>,
    },
    /// The end: the report has been written.
    Finished {
        /// The report.
        report: Box<ScanReport>,
        /// What was written: the report first, then previews.
        files: Vec<PathBuf>,
    },
}

/// A scan under way. See the [module](self).
#[derive(Debug)]
pub struct Scan {
    targets: Targets,
    known: Known,
    settings: ScanSettings,
    out: PathBuf,
    shown: BTreeSet<usize>,
    previews: Previews,
    /// Clips that have been read, but not been told of.
    ready: VecDeque<Outcome>,
    clips: Vec<ClipRecord>,
    quarantine: Vec<Quarantined>,
    finished: bool,
}

impl Scan {
    /// Lists what is to be read: a folder of clips, a tar file or a folder of tar files.
    ///
    /// # Errors
    /// [`Error::Input`] when nothing is there to be scanned, a shard is damaged, or `out` is no
    /// folder.
    pub fn start(path: &Path, settings: ScanSettings) -> Result<Self> {
        let targets = Targets::list(path)?;
        let out = settings.out.clone();
        let out = out.unwrap_or_else(|| targets.folder().to_owned());
        if !out.is_dir() {
            return Err(Error::Input(format!(
                "{}: expected a folder for the report: create it, or name another",
                out.display()
            )));
        }
        let report = ScanReport::load(&out.join(SCAN_FILE))?;
        Ok(Self {
            known: report.map(Known::new).unwrap_or_default(),
            shown: choice(targets.clips.len(), settings.previews),
            previews: Previews::default(),
            ready: VecDeque::new(),
            clips: Vec::new(),
            quarantine: Vec::new(),
            finished: false,
            targets,
            settings,
            out,
        })
    }

    /// Number of clips to read.
    #[must_use]
    pub fn total(&self) -> usize {
        self.targets.clips.len()
    }

    /// What is being scanned.
    #[must_use]
    pub fn kind(&self) -> DataKind {
        self.targets.kind
    }

    fn step(&mut self) -> Result<ScanEvent> {
        if self.ready.is_empty() {
            self.ready = self.read_some()?;
        }
        let Some(outcome) = self.ready.pop_front() else {
            return self.finish();
        };
        let Outcome {
            record,
            reason,
            known,
            frames,
        } = outcome;
        if let Some(frames) = frames {
            self.previews.add(&record, frames);
        }
        let id = record.id.clone();
        let broken = reason.or_else(|| self.targets.fault_of(&id));
        if let Some(reason) = broken.clone() {
            let id = id.clone();
            self.quarantine.push(Quarantined { id, reason });
        }
        self.clips.push(record);
        if self.clips.len().is_multiple_of(SAVED_EVERY) {
            self.report().save(&self.out.join(SCAN_FILE))?;
        }
        Ok(ScanEvent::Clip {
            done: self.clips.len(),
            total: self.targets.clips.len(),
            id,
            known,
            broken,
        })
    }

    /// Reads the next clips, as many as there are threads.
    fn read_some(&self) -> Result<VecDeque<Outcome>> {
        let first = self.clips.len();
        let next = self.targets.clips[first..].iter();
        let (known, picture_fps) = (&self.known, self.settings.picture_fps);
        thread::scope(|scope| {
            let threads: Vec<_> = next
                .zip(first..)
                .take(self.settings.threads.max(1))
                .map(|(target, index)| {
                    let show = self.shown.contains(&index);
                    scope.spawn(move || read(target, known, picture_fps, show))
                })
                .collect();
            let outcomes = threads.into_iter().map(|thread| {
                let panicked = |_| Error::Input("reading a clip panicked: this is a bug".into());
                thread.join().map_err(panicked)?
            });
            outcomes.collect()
        })
    }

    /// What is known by now; of clips that are still to come, what an earlier scan said.
    fn report(&self) -> ScanReport {
        let rest = self.targets.clips[self.clips.len()..]
            .iter()
            .map(Target::id);
        let earlier = rest.clone().filter_map(|id| self.known.clip(id).cloned());
        let clips: Vec<ClipRecord> = self.clips.iter().cloned().chain(earlier).collect();
        let earlier = rest.filter_map(|id| {
            Some(Quarantined {
                id: id.to_owned(),
                reason: self.known.reason(id)?.to_owned(),
            })
        });
        let quarantine: Vec<Quarantined> = self.quarantine.iter().cloned().chain(earlier).collect();
        let quarantined: BTreeSet<&str> = quarantine.iter().map(|q| q.id.as_str()).collect();
        let good = |clip: &&ClipRecord| !quarantined.contains(clip.id.as_str());
        ScanReport {
            format: ScanReport::format(),
            statistics: Statistics::of(clips.iter().filter(good)),
            clips,
            quarantine,
            orphans: self.targets.orphans.clone(),
            faults: self.targets.loose_faults(),
        }
    }

    fn finish(&mut self) -> Result<ScanEvent> {
        let path = self.out.join(SCAN_FILE);
        let report = self.report();
        report.save(&path)?;
        let mut files = vec![path];
        files.extend(self.previews.write(&self.out, &report.quarantine)?);
        self.finished = true;
        Ok(ScanEvent::Finished {
            report: Box::new(report),
            files,
        })
    }
}

impl Iterator for Scan {
    type Item = Result<ScanEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let event = self.step();
        self.finished |= event.is_err();
        Some(event)
    }
}

/// Which clips are shown: the same ones whenever the same number of clips is scanned.
fn choice(total: usize, count: usize) -> BTreeSet<usize> {
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by_key(|&index| word(0, PREVIEWS, index as u64));
    order.into_iter().take(count).collect()
}

/// A few frames of a clip, for its preview.
type Shown = Vec<Frame>;

/// What is quarantined: the decoder's word, or that of the annotations.
fn reason_of(decoded: &Decoded) -> Option<String> {
    match decoded {
        Decoded::Broken { reason, .. } => Some(reason.clone()),
        Decoded::Clip(_) => None,
    }
}
