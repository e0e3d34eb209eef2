//! MP4 with H.264: written and read inside this program, by the bundled OpenH264.

mod boxes;
mod decode;
mod demux;
mod encode;
mod mux;
mod sps;
mod tables;

use std::io::{Cursor, Read, Seek};
use std::path::Path;

pub(crate) use decode::{probe, read};
pub(crate) use encode::check_size;

use crate::error::{Error, Result};
use crate::frame::Clip;
use crate::options::{Limits, ReadOptions};

/// The largest sides of a picture that the bundled encoder takes: the longer, the shorter.
pub(crate) const MAX_SIDES: (u32, u32) = (3840, 2160);
/// The shortest side that it takes.
pub(crate) const MIN_SIDE: u32 = 16;

/// The bytes of an MP4 file with `clip`; `qp` is H.264's quantiser, 12 (finest) to 51.
pub(crate) fn to_bytes(clip: &Clip, qp: u8, comment: Option<String>) -> Result<Vec<u8>> {
    Ok(encode::encode(clip, qp, comment)?.to_file())
}

/// Decodes what was written as `path` and compares size, count and rate with `clip`.
pub(crate) fn verify(reader: &mut (impl Read + Seek), clip: &Clip, path: &Path) -> Result<()> {
    let even = |side: u32| side.next_multiple_of(2);
    let (width, height) = (even(clip.width()), even(clip.height()));
    let options = ReadOptions {
        limits: Limits::none(),
        ..ReadOptions::default()
    };
    let mut count = 0;
    let video = decode::open(reader, path, &options.limits)?;
    let (fps, color, size) = (video.fps(), video.color(), video.size());
    video.each(&options, |_| {
        count += 1;
        Ok(())
    })?;
    let describe = |count: usize, fps, size: (u32, u32)| {
        format!("{count} frames of {}x{} at {fps} fps", size.0, size.1)
    };
    let expected = describe(clip.num_frames(), clip.fps(), (width, height));
    let found = describe(count, fps, size);
    if expected != found {
        return Err(Error::verify(path, expected, found));
    }
    if color != Some(sps::Color::BT709) {
        return Err(Error::verify(path, "BT.709 colours", format!("{color:?}")));
    }
    Ok(())
}

/// The comment of an MP4 file: what made it.
pub(crate) fn comment(reader: &mut (impl Read + Seek), path: &Path) -> Result<Option<String>> {
    demux::Index::comment(reader, path)
}

/// Whether these first bytes of a file are those of an MP4 file.
pub(crate) fn is_mp4(head: &[u8]) -> bool {
    head.get(4..8) == Some(b"ftyp")
}

/// For fuzzing and tests: the file is in memory.
pub(crate) fn read_bytes(bytes: &[u8], options: &ReadOptions) -> Result<Clip> {
    read(&mut Cursor::new(bytes), Path::new("<bytes>"), options)
}
