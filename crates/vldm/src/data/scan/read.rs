//! Reading one clip to its end.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};
use vldm_media::{Filter, Fps, Frame, resize_to_fill};

use super::targets::Target;
use super::{Shown, reason_of};
use crate::data::annotations::Annotations;
use crate::data::file::{each_frame, probe, unreadable};
use crate::data::record::{ClipRecord, Decoded, Facts, Fingerprint, Known};
use crate::error::{Error, Result};

/// Frames in a preview.
pub(super) const SHOWN: usize = 6;
/// Headers that tell no number of frames, but how long they last, may be off by so many frames.
const ESTIMATE: usize = 2;
/// Size of a frame in a preview, in pixels.
const SIZE: (u32, u32) = (192, 108);

/// What came of reading a clip.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) record: ClipRecord,
    /// Why it is not to be used.
    pub(super) reason: Option<String>,
    /// Whether an earlier scan knew the file.
    pub(super) known: bool,
    /// For the preview, if it was asked for.
    pub(super) frames: Option<Shown>,
}

/// Reads a clip, unless it is known; `show` asks for frames for a preview.
pub(super) fn read(
    target: &Target,
    earlier: &Known,
    picture_fps: Fps,
    show: bool,
) -> Result<Outcome> {
    let file = target.fingerprint();
    let found = file.and_then(|file| earlier.decoded(target.id(), file));
    let found = found.filter(|found| !matches!(found, Decoded::Broken { again: true, .. }));
    let mut frames = None;
    let decoded = match found {
        Some(found) => {
            if show && let Decoded::Clip(facts) = found {
                // A preview that cannot be read any more says nothing about the clip.
                frames = shown(target, facts, picture_fps).ok();
            }
            found.clone()
        }
        None => match decode(target, picture_fps, show) {
            Ok((facts, shown)) => {
                frames = show.then_some(shown);
                Decoded::Clip(facts)
            }
            Err(error) => Decoded::Broken {
                again: matches!(
                    error,
                    Error::Media(
                        vldm_media::Error::Unsupported { .. } | vldm_media::Error::Io { .. }
                    )
                ),
                reason: target.named(error).to_string(),
            },
        },
    };
    let said = target.annotations();
    let reason = reason_of(&decoded).or_else(|| complaint(&decoded, &said));
    let said = said.unwrap_or_default();
    Ok(Outcome {
        record: ClipRecord {
            id: target.id().to_owned(),
            file: file.unwrap_or(Fingerprint {
                bytes: 0,
                modified: 0,
            }),
            caption: said.caption.as_ref().map(|text| text.chars().count()),
            boxes: said
                .boxes
                .as_ref()
                .map(|frames| frames.iter().map(Vec::len).sum()),
            labels: said.labels,
            decoded,
        },
        reason,
        known: found.is_some(),
        frames,
    })
}

/// What is wrong with what is said of a clip.
fn complaint(decoded: &Decoded, said: &std::result::Result<Annotations, String>) -> Option<String> {
    match (said, decoded) {
        (Err(reason), _) => Some(reason.clone()),
        (Ok(said), Decoded::Clip(facts)) => said.check(facts.frames).err(),
        (Ok(_), Decoded::Broken { .. }) => None,
    }
}

/// Decodes every frame.
fn decode(target: &Target, picture_fps: Fps, show: bool) -> Result<(Facts, Shown)> {
    let opened = target.open()?;
    let path = opened.path();
    let info = probe(path, picture_fps)?;
    if info.num_frames == 0 {
        return Err(Error::Input(format!("{}: it has no frames", target.id())));
    }
    let wanted = places(info.num_frames);
    let mut frames = Vec::new();
    let decoded = each_frame(path, &info, picture_fps, |number, frame| {
        if frame.size() != (info.width, info.height) {
            return Err(Error::Input(format!(
                "{}: frame {number} is {frame:?}, the first has {}x{} pixels",
                target.id(),
                info.width,
                info.height
            )));
        }
        if show && wanted.contains(&number) {
            frames.push(small(&frame)?);
        }
        Ok(())
    })?;
    if decoded + ESTIMATE < info.num_frames {
        return Err(Error::Input(format!(
            "{}: cut short: its header says {} frames, {decoded} came out",
            target.id(),
            info.num_frames
        )));
    }
    let facts = Facts {
        width: info.width,
        height: info.height,
        frames: decoded,
        fps: info.fps,
        sha256: hash(path)?,
    };
    Ok((facts, frames))
}

/// Frames for the preview of a clip that was read before.
fn shown(target: &Target, facts: &Facts, picture_fps: Fps) -> Result<Shown> {
    let opened = target.open()?;
    let info = facts.info()?;
    let wanted = places(facts.frames);
    let mut frames = Vec::new();
    each_frame(opened.path(), &info, picture_fps, |number, frame| {
        if wanted.contains(&number) {
            frames.push(small(&frame)?);
        }
        Ok(())
    })?;
    Ok(frames)
}

/// Frames spread over a clip, first and last included.
fn places(count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..SHOWN)
        .map(|n| n * count.saturating_sub(1) / (SHOWN - 1))
        .collect();
    places.dedup();
    places
}

fn small(frame: &Frame) -> Result<Frame> {
    Ok(resize_to_fill(frame, SIZE.0, SIZE.1, Filter::Area)?)
}

/// SHA-256 of a file, or of the files of a folder in the order of their names.
pub(crate) fn hash(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    feed(path, &mut hasher).map_err(|error| unreadable(path, &error))?;
    let digest = hasher.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn feed(path: &Path, hasher: &mut Sha256) -> io::Result<()> {
    if path.is_dir() {
        let entries = fs::read_dir(path)?;
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        return paths.iter().try_for_each(|path| feed(path, hasher));
    }
    let mut file = File::open(path)?;
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(()),
            count => hasher.update(&part[..count]),
        }
    }
}
