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
use crate::mp4::sps::Color;

/// The largest index we read, in bytes; an index of 100,000 pictures takes two megabytes.
const MAX_INDEX: u64 = 64 << 20;
/// The largest number of pictures we index.
const MAX_SAMPLES: u64 = 1 << 22;

/// Where one encoded picture lies, and when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SampleAt {
    pub(crate) offset: u64,
    pub(crate) size: u32,
    /// When it is shown, in ticks.
    pub(crate) time: i64,
    pub(crate) is_key: bool,
}

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

/// Why a file could not be indexed.
#[derive(Debug)]
enum Problem {
    Damaged(&'static str),
    Unsupported(String),
}

impl From<&'static str> for Problem {
    fn from(reason: &'static str) -> Self {
        Self::Damaged(reason)
    }
}

type Parsed<T> = std::result::Result<T, Problem>;

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

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u64::from_be_bytes(*b))
}

/// The boxes within `bytes`: name and content. Ends at the first that does not fit.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let size = u32_at(bytes, 0)? as usize;
        let size = if size == 0 { bytes.len() } else { size };
        if size < 8 || size > bytes.len() {
            return None;
        }
        let (this, rest) = bytes.split_at(size);
        bytes = rest;
        Some((&this[4..8], &this[8..]))
    })
}

fn child<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes)
        .find(|(n, _)| n == name)
        .map(|(_, content)| content)
}

fn descend<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(bytes, |bytes, name| child(bytes, name))
}

/// The rows of a counted table: `width` numbers of four bytes in each.
fn rows(table: &[u8], width: usize) -> Option<impl Iterator<Item = &[u8]>> {
    let count = u32_at(table, 4)? as usize;
    let bytes = table.get(8..)?.get(..count.checked_mul(4 * width)?)?;
    Some(bytes.chunks_exact(4 * width))
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

/// The part of the track that is shown, in its ticks.
fn edit(elst: &[u8], scale: u32, movie_scale: u32) -> Parsed<(i64, i64)> {
    let wide = elst.first() == Some(&1);
    let table = rows(elst, if wide { 5 } else { 3 }).ok_or("edit list is cut short")?;
    let mut parts = Vec::new();
    for row in table {
        let (duration, start) = if wide {
            (
                u64_at(row, 0).unwrap_or(0),
                u64_at(row, 8).unwrap_or(0) as i64,
            )
        } else {
            let start = u32_at(row, 4).unwrap_or(0) as i32;
            (u64::from(u32_at(row, 0).unwrap_or(0)), i64::from(start))
        };
        // A start of -1 is a pause before the first picture.
        if start >= 0 {
            parts.push((start, duration));
        }
    }
    match parts[..] {
        [] => Ok((i64::MIN, i64::MAX)),
        [(start, 0)] => Ok((start, i64::MAX)),
        [(start, duration)] => {
            let ticks = u128::from(duration) * u128::from(scale);
            // Rounded up: the movie's clock may be coarser than the track's.
            let ticks = ticks.div_ceil(u128::from(movie_scale));
            let end = start.saturating_add(i64::try_from(ticks).unwrap_or(i64::MAX));
            Ok((start, end))
        }
        _ => Err(Problem::Unsupported(
            "a video with several edits is not read here".into(),
        )),
    }
}

/// The samples in the order of decoding, and how many ticks they last together.
fn samples(stbl: &[u8], file_len: u64) -> Parsed<(Vec<SampleAt>, u64)> {
    let sizes = sizes(stbl, file_len)?;
    if sizes.is_empty() {
        return Err("video track holds no pictures".into());
    }
    let offsets = offsets(stbl, &sizes, file_len)?;
    let (times, ticks) = times_of(stbl, sizes.len())?;
    let mut samples: Vec<_> = sizes
        .iter()
        .zip(offsets)
        .zip(times)
        .map(|((&size, offset), time)| SampleAt {
            offset,
            size,
            time,
            is_key: false,
        })
        .collect();
    match child(stbl, b"stss") {
        // Without a list, every picture is a key.
        None => samples.iter_mut().for_each(|sample| sample.is_key = true),
        Some(stss) => {
            for row in rows(stss, 1).ok_or("list of key pictures is cut short")? {
                let number = u32_at(row, 0).unwrap_or(0) as usize;
                if let Some(sample) = samples.get_mut(number.wrapping_sub(1)) {
                    sample.is_key = true;
                }
            }
        }
    }
    Ok((samples, ticks))
}

fn sizes(stbl: &[u8], file_len: u64) -> Parsed<Vec<u32>> {
    let stsz = child(stbl, b"stsz").ok_or("has no table of sizes")?;
    let cut = "table of sizes is cut short";
    let one_size = u32_at(stsz, 4).ok_or(cut)?;
    let count = u64::from(u32_at(stsz, 8).ok_or(cut)?);
    if count > MAX_SAMPLES {
        let reason = format!("more than {MAX_SAMPLES} pictures are not read here");
        return Err(Problem::Unsupported(reason));
    }
    if one_size > 0 {
        if u64::from(one_size) * count > file_len {
            return Err("is shorter than its pictures".into());
        }
        return Ok(vec![one_size; count as usize]);
    }
    let table = stsz
        .get(12..)
        .and_then(|table| table.get(..count as usize * 4))
        .ok_or(cut)?;
    Ok(table
        .chunks_exact(4)
        .filter_map(|row| u32_at(row, 0))
        .collect())
}

/// Where each sample begins; all lie within the file.
fn offsets(stbl: &[u8], sizes: &[u32], file_len: u64) -> Parsed<Vec<u64>> {
    let cut = "table of chunks is cut short";
    let chunks: Vec<u64> = if let Some(stco) = child(stbl, b"stco") {
        let rows = rows(stco, 1).ok_or(cut)?;
        rows.filter_map(|row| u32_at(row, 0))
            .map(u64::from)
            .collect()
    } else {
        let co64 = child(stbl, b"co64").ok_or("has no table of chunks")?;
        rows(co64, 2)
            .ok_or(cut)?
            .filter_map(|row| u64_at(row, 0))
            .collect()
    };
    let stsc = child(stbl, b"stsc").ok_or("has no table of samples in chunks")?;
    let mut runs = rows(stsc, 3)
        .ok_or("table of samples in chunks is cut short")?
        .peekable();
    let mut per_chunk = 0;
    let mut offsets = Vec::with_capacity(sizes.len());
    for (&chunk, number) in chunks.iter().zip(1u32..) {
        while let Some(row) =
            runs.next_if(|row| u32_at(row, 0).is_some_and(|first| first <= number))
        {
            per_chunk = u32_at(row, 4).unwrap_or(0);
        }
        let mut at = chunk;
        let rest = &sizes[offsets.len()..];
        for &size in rest.iter().take(per_chunk as usize) {
            offsets.push(at);
            at = at.saturating_add(u64::from(size));
            if at > file_len {
                return Err("is shorter than its index says".into());
            }
        }
    }
    if offsets.len() < sizes.len() {
        return Err("has fewer chunks than pictures need".into());
    }
    Ok(offsets)
}

/// When each of `count` samples is shown, and how many ticks they last together.
fn times_of(stbl: &[u8], count: usize) -> Parsed<(Vec<i64>, u64)> {
    let stts = child(stbl, b"stts").ok_or("has no table of times")?;
    let mut times = Vec::with_capacity(count);
    let mut now = 0u64;
    for row in rows(stts, 2).ok_or("table of times is cut short")? {
        let (run, step) = (u32_at(row, 0).unwrap_or(0), u32_at(row, 4).unwrap_or(0));
        for _ in 0..(run as usize).min(count - times.len()) {
            times.push(now as i64);
            // At most 2^22 samples of 2^32 ticks: no overflow.
            now += u64::from(step);
        }
    }
    if times.len() < count {
        return Err("table of times has too few entries".into());
    }
    if let Some(ctts) = child(stbl, b"ctts") {
        let mut at = 0;
        for row in rows(ctts, 2).ok_or("table of reordering is cut short")? {
            let run = u32_at(row, 0).unwrap_or(0) as usize;
            let shift = i64::from(u32_at(row, 4).unwrap_or(0) as i32);
            let end = at + run.min(count - at);
            times[at..end].iter_mut().for_each(|time| *time += shift);
            at = end;
        }
    }
    Ok((times, now))
}

/// The text of the comment item in the metadata list.
fn comment(moov: &[u8]) -> Option<String> {
    let meta = descend(moov, &[b"udta", b"meta"])?;
    let data = descend(meta.get(4..)?, &[b"ilst", b"\xa9cmt", b"data"])?;
    String::from_utf8(data.get(8..)?.to_vec()).ok()
}
