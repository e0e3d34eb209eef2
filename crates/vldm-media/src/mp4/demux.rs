//! Finds the pictures of an MP4 file: one pass over its boxes, trusting nothing.
//!
//! Reads what cameras, phones, ffmpeg and this crate write: one H.264 track, in one piece, with
//! or without reordered pictures, an edit list with one part, and rotation by quarter turns.
//! Files in fragments, other codecs and several edits are left to ffmpeg. Every count is checked
//! against the bytes that hold it before anything is allocated.
//!
//! # Source
//! ISO/IEC 14496-12 sections 8.3 to 8.7 (tracks, samples, edits), 14496-15 section 5 (avcC).

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, Result};
use crate::fps::Fps;
use crate::mp4::boxes::{Parsed, Problem, boxes, child, descend, u16_at, u32_at, u64_at};
use crate::mp4::sps::Color;
use crate::mp4::tables::{SampleAt, edit, samples};

/// The largest index we read, in bytes; an index of 100,000 pictures takes two megabytes.
const MAX_INDEX: u64 = 64 << 20;
/// The video of a file.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) fps: Fps,
    /// Bytes of the length in front of each NAL unit: 1 to 4.
    pub(crate) length_size: usize,
    /// Sequence, then picture parameter sets.
    pub(crate) parameter_sets: Vec<Vec<u8>>,
    /// The colours, if the container says.
    pub(crate) color: Option<Color>,
    /// Clockwise quarter turns to be made before showing.
    pub(crate) quarter_turns: u8,
    /// In the order of decoding.
    pub(crate) samples: Vec<SampleAt>,
    /// The ticks to be shown: from, to.
    pub(crate) shown: (i64, i64),
}

impl Index {
    /// Reads the index of the file in `reader`; `path` is for messages.
    pub(crate) fn read(reader: &mut (impl Read + Seek), path: &Path) -> Result<Self> {
        let (moov, len) = find_moov(reader, path)?;
        parse_moov(&moov, len).map_err(|problem| match problem {
            Problem::Damaged(reason) => Error::damaged(path, format!("MP4 {reason}")),
            Problem::Unsupported(what) => Error::unsupported(path, what),
        })
    }

    /// Only the comment: it is read even where the video cannot be.
    pub(crate) fn comment(reader: &mut (impl Read + Seek), path: &Path) -> Result<Option<String>> {
        Ok(comment(&find_moov(reader, path)?.0))
    }
}

/// The content of the `moov` box, and the length of the file.
fn find_moov(reader: &mut (impl Read + Seek), path: &Path) -> Result<(Vec<u8>, u64)> {
    let len = reader
        .seek(SeekFrom::End(0))
        .map_err(Error::io("read", path))?;
    let mut at = 0;
    while at + 8 <= len {
        let mut head = [0; 16];
        let head_len = (len - at).min(16) as usize;
        reader
            .seek(SeekFrom::Start(at))
            .map_err(Error::io("read", path))?;
        reader
            .read_exact(&mut head[..head_len])
            .map_err(Error::io("read", path))?;
        let (size, body) = match u32_at(&head, 0) {
            Some(0) => (len - at, 8),
            Some(1) if head_len == 16 => (u64_at(&head, 8).unwrap_or(0), 16),
            small => (u64::from(small.unwrap_or(0)), 8),
        };
        if size < body || size > len - at {
            return Err(Error::damaged(
                path,
                format!(
                    "an MP4 box at byte {at} claims {size} bytes, {} are left",
                    len - at
                ),
            ));
        }
        match &head[4..8] {
            b"moov" if size > MAX_INDEX => {
                let reason = format!("its index takes {size} bytes, at most {MAX_INDEX} are read");
                return Err(Error::too_large(path, reason));
            }
            b"moov" => {
                let mut moov = vec![0; (size - body) as usize];
                reader
                    .seek(SeekFrom::Start(at + body))
                    .map_err(Error::io("read", path))?;
                reader
                    .read_exact(&mut moov)
                    .map_err(Error::io("read", path))?;
                return Ok((moov, len));
            }
            _ => at += size,
        }
    }
    Err(Error::damaged(
        path,
        "an MP4 file holds a `moov` box, this one ends without",
    ))
}

fn parse_moov(moov: &[u8], file_len: u64) -> Parsed<Index> {
    if child(moov, b"mvex").is_some() {
        return Err(Problem::Unsupported(
            "MP4 in fragments is not read here".into(),
        ));
    }
    let movie_scale = child(moov, b"mvhd")
        .and_then(times)
        .map_or(1000, |(scale, _)| scale);
    let trak = boxes(moov)
        .filter(|(name, _)| name == b"trak")
        .map(|(_, trak)| trak)
        .find(|trak| {
            let hdlr = descend(trak, &[b"mdia", b"hdlr"]);
            hdlr.and_then(|hdlr| hdlr.get(8..12)) == Some(b"vide")
        })
        .ok_or("holds no video track")?;
    let mdia = child(trak, b"mdia").ok_or("track holds no media")?;
    let (scale, _) = child(mdia, b"mdhd")
        .and_then(times)
        .ok_or("track has no clock")?;
    let stbl = descend(mdia, &[b"minf", b"stbl"]).ok_or("track has no sample table")?;
    let entry = child(stbl, b"stsd").ok_or("track has no sample description")?;
    let description = Description::parse(entry)?;

    let (samples, ticks) = samples(stbl, file_len)?;
    let fps = Fps::from_duration(samples.len() as u64, ticks, u64::from(scale))
        .ok_or("track has no usable frame rate")?;
    let shown = match descend(trak, &[b"edts", b"elst"]) {
        Some(elst) => edit(elst, scale, movie_scale)?,
        None => (i64::MIN, i64::MAX),
    };
    Ok(Index {
        fps,
        length_size: description.length_size,
        parameter_sets: description.parameter_sets,
        color: description.color,
        quarter_turns: child(trak, b"tkhd").map_or(0, quarter_turns),
        samples,
        shown,
    })
}

/// Ticks per second and duration of an `mvhd` or `mdhd` box.
fn times(content: &[u8]) -> Option<(u32, u64)> {
    let (scale, duration) = if *content.first()? == 1 {
        (u32_at(content, 20)?, u64_at(content, 24)?)
    } else {
        (u32_at(content, 12)?, u64::from(u32_at(content, 16)?))
    };
    (scale > 0).then_some((scale, duration))
}

/// What an `stsd` box says.
struct Description {
    length_size: usize,
    parameter_sets: Vec<Vec<u8>>,
    color: Option<Color>,
}

impl Description {
    fn parse(stsd: &[u8]) -> Parsed<Self> {
        let mut entries = boxes(stsd.get(8..).ok_or("sample description is cut short")?);
        let (codec, entry) = entries.next().ok_or("sample description is empty")?;
        if codec != b"avc1" && codec != b"avc3" {
            let codec = String::from_utf8_lossy(codec).into_owned();
            return Err(Problem::Unsupported(format!(
                "video codec `{codec}` is not read here"
            )));
        }
        if entries.next().is_some() {
            return Err(Problem::Unsupported(
                "video that changes its format is not read here".into(),
            ));
        }
        let extra = entry.get(78..).ok_or("sample description is cut short")?;
        let avcc = child(extra, b"avcC").ok_or("has no H.264 configuration")?;
        let length_size =
            usize::from(avcc.get(4).ok_or("H.264 configuration is cut short")? & 3) + 1;
        let parameter_sets = parameter_sets(avcc).ok_or("H.264 configuration is cut short")?;
        let color = child(extra, b"colr").and_then(nclx);
        Ok(Self {
            length_size,
            parameter_sets,
            color,
        })
    }
}

fn parameter_sets(avcc: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut sets = Vec::new();
    let mut at = 5;
    for mask in [0x1f, 0xff] {
        let count = avcc.get(at)? & mask;
        at += 1;
        for _ in 0..count {
            let len = usize::from(u16_at(avcc, at)?);
            sets.push(avcc.get(at + 2..)?.get(..len)?.to_vec());
            at += 2 + len;
        }
    }
    Some(sets)
}

fn nclx(colr: &[u8]) -> Option<Color> {
    if !matches!(colr.get(..4)?, b"nclx" | b"nclc") {
        return None;
    }
    Some(Color {
        primaries: u16_at(colr, 4)? as u8,
        transfer: u16_at(colr, 6)? as u8,
        matrix: u16_at(colr, 8)? as u8,
        full_range: colr.get(10).is_some_and(|flags| flags & 0x80 != 0),
    })
}

/// The clockwise quarter turns of a track's transformation; other transformations count as none.
fn quarter_turns(tkhd: &[u8]) -> u8 {
    let at = if tkhd.first() == Some(&1) { 52 } else { 40 };
    let cell = |i: usize| u32_at(tkhd, at + 4 * i).map_or(0, |n| (n as i32) >> 16);
    match (cell(0), cell(1), cell(3), cell(4)) {
        (0, 1, -1, 0) => 1,
        (-1, 0, 0, -1) => 2,
        (0, -1, 1, 0) => 3,
        _ => 0,
    }
}

/// The text of the comment item in the metadata list.
fn comment(moov: &[u8]) -> Option<String> {
    let meta = descend(moov, &[b"udta", b"meta"])?;
    let data = descend(meta.get(4..)?, &[b"ilst", b"\xa9cmt", b"data"])?;
    String::from_utf8(data.get(8..)?.to_vec()).ok()
}
