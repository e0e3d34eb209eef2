//! From a listing to clips of known size and length.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use vldm_media::{Fps, Info};

use super::{Candidate, FolderClip, FolderSource, Listing};
use crate::data::file::{clip_info, probe};
use crate::data::loader::BrokenPolicy;
use crate::data::record::{Decoded, Fingerprint, Known};
use crate::data::sample::Skipped;
use crate::error::{Error, Result};

/// How many examples a message gives.
const EXAMPLES: usize = 5;

pub(super) fn open(root: &Path, picture_fps: Fps) -> Result<FolderSource> {
    if !root.is_dir() {
        return Err(Error::Input(format!(
            "{}: expected a folder of clips, there is none: check the path",
            root.display()
        )));
    }
    let listing = Listing::read(root)?;
    let known = Known::beside(root);
    check(root, &listing, &known)?;
    let found = probe_all(&listing.clips, &known, picture_fps);
    let mut source = FolderSource {
        picture_fps,
        clips: Vec::new(),
        skipped: Vec::new(),
    };
    let mut unknown = Vec::new();
    let faults = listing.faults.into_iter();
    let faults: HashMap<String, String> = faults.filter_map(|(id, why)| Some((id?, why))).collect();
    for (candidate, decoded) in listing.clips.into_iter().zip(found) {
        if let Some(reason) = faults.get(&candidate.id).cloned() {
            let id = candidate.id;
            source.skipped.push(Skipped { id, reason });
            continue;
        }
        match decoded {
            Probe::New(Err(reason)) => unknown.push(Skipped {
                id: candidate.id,
                reason,
            }),
            Probe::Known(Decoded::Broken { reason, .. }) => source.skipped.push(Skipped {
                id: candidate.id,
                reason,
            }),
            Probe::New(Ok(info)) => source.add(candidate, &info, &known)?,
            Probe::Known(Decoded::Clip(facts)) => {
                let mut info = facts.info()?;
                if candidate.path.is_dir() {
                    info.fps = picture_fps;
                }
                source.add(candidate, &info, &known)?;
            }
        }
    }
    judge(root, &source, &unknown)?;
    source.skipped.extend(unknown);
    Ok(source)
}

/// What of the listing is an error, and what is only told.
fn check(root: &Path, listing: &Listing, known: &Known) -> Result<()> {
    let root = root.display();
    let fault = listing.faults.iter().find(|(id, _)| {
        // A scan has told of it already, and the rest is to be used.
        !id.as_ref().is_some_and(|id| known.is_quarantined(id))
    });
    if let Some((_, fault)) = fault {
        return Err(Error::Input(format!("{root}: {fault}")));
    }
    let orphans = listing.orphans.len();
    let examples = listing.orphans[..orphans.min(EXAMPLES)].join(", ");
    if listing.clips.is_empty() {
        let hint = match orphans {
            0 => "put .mp4, .gif, .png, .jpg or .webp files there, or name another folder".into(),
            _ => format!("{orphans} captions are there without a clip ({examples})"),
        };
        return Err(Error::Input(format!(
            "{root}: expected clips or pictures, found none: {hint}"
        )));
    }
    if orphans > 0 {
        tracing::warn!("{root}: {orphans} captions belong to no clip: {examples}");
    }
    let sequences = listing.clips.iter().filter(|clip| clip.path.is_dir());
    if let Some(first) = sequences.clone().next() {
        tracing::info!(
            "{root}: {} folders of numbered pictures are read as one clip each: {}",
            sequences.count(),
            first.id
        );
    }
    if listing.both > 0 {
        tracing::warn!(
            "{root}: {} clips have a .txt caption and a line in metadata.jsonl; the line counts",
            listing.both
        );
    }
    Ok(())
}

/// A few clips that cannot be read are left out; many are a reason to stop.
fn judge(root: &Path, source: &FolderSource, broken: &[Skipped]) -> Result<()> {
    let root = root.display();
    let total = source.clips.len() + broken.len();
    let list: Vec<String> = broken
        .iter()
        .take(EXAMPLES)
        .map(|clip| format!("{}: {}", clip.id, clip.reason))
        .collect();
    if broken.len() > BrokenPolicy::default().ceiling(total) || source.clips.is_empty() {
        return Err(Error::Input(format!(
            "{root}: {} of {} clips cannot be read; run `vldm data scan` for all of them:\n  {}",
            broken.len() + source.skipped.len(),
            total + source.skipped.len(),
            list.join("\n  ")
        )));
    }
    if !broken.is_empty() {
        tracing::warn!(
            "{root}: {} clips cannot be read and are left out: {}",
            broken.len(),
            list.join("; ")
        );
    }
    Ok(())
}

impl FolderSource {
    /// Takes in a clip of known size. What is said of it must be right, unless a scan has said
    /// that it is not.
    fn add(&mut self, candidate: Candidate, info: &Info, known: &Known) -> Result<()> {
        let annotations = candidate.annotations().and_then(|annotations| {
            annotations.check(info.num_frames)?;
            Ok(annotations)
        });
        let id = candidate.id;
        match annotations {
            Ok(annotations) => self.clips.push(FolderClip {
                path: candidate.path,
                info: clip_info(id, info),
                annotations,
            }),
            Err(reason) if known.is_quarantined(&id) => {
                self.skipped.push(Skipped { id, reason });
            }
            Err(reason) => {
                return Err(Error::Input(format!(
                    "{id}: {reason} (`vldm data scan` finds all such clips and leaves them out)"
                )));
            }
        }
        Ok(())
    }
}

/// What is known of a clip: from a scan, or found out now.
enum Probe {
    Known(Decoded),
    New(std::result::Result<Info, String>),
}

/// Asks all files for their size and length, several at a time: it is the disk that takes long.
fn probe_all(clips: &[Candidate], known: &Known, picture_fps: Fps) -> Vec<Probe> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Probe)>> = Mutex::new(Vec::with_capacity(clips.len()));
    let threads = thread::available_parallelism().map_or(1, |count| count.get().min(16));
    thread::scope(|scope| {
        for _ in 0..threads.min(clips.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(clip) = clips.get(index) else {
                        return;
                    };
                    let probe = probe_one(clip, known, picture_fps);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.push((index, probe));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, probe)| probe).collect()
}

fn probe_one(clip: &Candidate, known: &Known, picture_fps: Fps) -> Probe {
    let scanned = Fingerprint::of(&clip.path)
        .ok()
        .and_then(|file| known.decoded(&clip.id, file));
    match scanned {
        Some(decoded) => Probe::Known(decoded.clone()),
        None => Probe::New(probe(&clip.path, picture_fps).map_err(|error| error.to_string())),
    }
}
