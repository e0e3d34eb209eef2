//! One file, or one folder of numbered pictures, as a clip.

use std::fs;
use std::path::Path;

use vldm_media::{Fps, Frame, Info, ReadOptions};

use super::annotations::Annotations;
use super::framing::Framing;
use super::sample::{ClipInfo, Placement, Sample, Window};
use super::times::Take;
use crate::error::{Error, Result};

/// Frames at their full size that are held at once, in bytes.
const HELD: usize = 256 << 20;

/// Endings of files that are clips.
const CLIPS: [&str; 18] = [
    "3gp", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ogv", "webm",
    "wmv", "jpeg", "jpg", "png", "webp",
];

/// Endings of pictures, which may be the frames of a clip.
const PICTURES: [&str; 4] = ["jpeg", "jpg", "png", "webp"];

/// Whether a file of this ending, in lower case, is a clip or a picture.
pub(super) fn is_clip(ending: &str) -> bool {
    CLIPS.contains(&ending)
}

/// Whether a file of this ending, in lower case, is a picture.
pub(super) fn is_picture(ending: &str) -> bool {
    PICTURES.contains(&ending)
}

/// A path's ending in lower case.
pub(super) fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_string_lossy().to_lowercase())
}

fn options(picture_fps: Fps) -> ReadOptions {
    ReadOptions {
        image_fps: picture_fps,
        ..ReadOptions::default()
    }
}

/// Size, length and rate. Of a folder of pictures only the first is decoded.
pub(super) fn probe(path: &Path, picture_fps: Fps) -> Result<Info> {
    let options = options(picture_fps);
    if !path.is_dir() {
        return Ok(vldm_media::probe(path, &options)?);
    }
    let first = ReadOptions {
        count: Some(1),
        ..options
    };
    let clip = vldm_media::read(path, &first)?;
    Ok(Info {
        num_frames: count_pictures(path)?,
        ..Info::from(&clip)
    })
}

/// As `vldm_media` counts them.
fn count_pictures(folder: &Path) -> Result<usize> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let is_frame = |entry: &fs::DirEntry| {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        !hidden && ending(&entry.path()).is_some_and(|ending| is_picture(&ending))
    };
    Ok(entries.flatten().filter(is_frame).count())
}

/// Reads all frames, a part of them at a time, and hands over each; returns their number, which is
/// smaller than the header's where that is an estimate.
pub(super) fn each_frame(
    path: &Path,
    info: &Info,
    picture_fps: Fps,
    mut take: impl FnMut(usize, Frame) -> Result<()>,
) -> Result<usize> {
    let part = part_of(path, info.width, info.height).max(1);
    let mut next = 0;
    while next < info.num_frames.max(1) {
        let count = part.min(info.num_frames.max(1) - next);
        let options = ReadOptions {
            start: next,
            count: Some(count),
            ..options(picture_fps)
        };
        let frames = vldm_media::read(path, &options)?.into_frames();
        let is_end = frames.len() < count;
        for frame in frames {
            take(next, frame)?;
            next += 1;
        }
        if is_end {
            break;
        }
    }
    Ok(next)
}

/// What is known of a window without reading it.
pub(super) fn describe_window(
    (info, annotations): (&ClipInfo, &Annotations),
    window: &Window,
    placement: Placement,
) -> Result<Sample> {
    let take = info.take(window, placement.time)?;
    let framing = Framing::new((info.width, info.height), window, placement);
    Ok(sample(info, annotations, (take, framing), Vec::new()))
}

/// Reads a window of the clip at `path`.
pub(super) fn read_window(
    path: &Path,
    (info, annotations): (&ClipInfo, &Annotations),
    window: &Window,
    (placement, picture_fps): (Placement, Fps),
) -> Result<Sample> {
    let take = info.take(window, placement.time)?;
    let framing = Framing::new((info.width, info.height), window, placement);
    let wanted: Vec<usize> = take.indices().collect();
    let part = part_of(path, info.width, info.height);
    let mut frames = Vec::with_capacity(wanted.len());
    let mut rest = wanted.as_slice();
    while let Some(&first) = rest.first() {
        let count = rest.iter().take_while(|&&at| at - first <= part).count();
        let (run, later) = rest.split_at(count);
        let options = ReadOptions {
            start: first,
            count: Some(run[count - 1] - first + 1),
            ..options(picture_fps)
        };
        let clip = vldm_media::read(path, &options)?;
        for at in run {
            let Some(frame) = clip.frames().get(at - first) else {
                return Err(Error::Input(format!(
                    "{}: expected {} frames, frame {at} is not there: the file changed or is cut \
                     short; run `vldm data scan`",
                    info.id, info.frames
                )));
            };
            check_size(info, frame)?;
            frames.push(framing.frame(frame)?);
        }
        rest = later;
    }
    Ok(sample(info, annotations, (take, framing), frames))
}

fn check_size(info: &ClipInfo, frame: &Frame) -> Result<()> {
    if frame.size() == (info.width, info.height) {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{}: expected pictures of {}x{} pixels, got {frame:?}: the file changed; run `vldm data \
         scan`",
        info.id, info.width, info.height
    )))
}

/// Frames that are there, with what is known of them.
fn sample(
    info: &ClipInfo,
    annotations: &Annotations,
    (take, framing): (Take, Framing),
    frames: Vec<Frame>,
) -> Sample {
    let boxes = take
        .indices()
        .map(|at| framing.boxes(annotations.boxes_of(at)))
        .collect();
    Sample {
        id: info.id.clone(),
        frames,
        fps: take.fps,
        start_seconds: take.start_seconds(),
        caption: annotations.caption.clone(),
        labels: annotations.labels.clone(),
        boxes,
        encoded: None,
    }
}

/// How many frames further a read goes on rather than begin anew.
///
/// Beginning anew costs video the frames from the key frame before. Of a folder it costs nothing,
/// and animations can only be read from their beginning.
fn part_of(path: &Path, width: u32, height: u32) -> usize {
    if path.is_dir() {
        return 0;
    }
    match ending(path).as_deref() {
        Some("gif" | "webp") => usize::MAX,
        _ => (HELD / (width as usize * height as usize * 3).max(1)).clamp(1, 256),
    }
}

/// What a clip is called, with its size.
pub(super) fn clip_info(id: String, info: &Info) -> ClipInfo {
    ClipInfo {
        id,
        width: info.width,
        height: info.height,
        frames: info.num_frames,
        fps: info.fps.as_f64(),
    }
}

/// A file or folder that the system does not let us read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Input(format!("{}: cannot read it: {error}", path.display()))
}
