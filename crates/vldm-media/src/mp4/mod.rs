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
pub(crate) use encode::{Encoding, check_size};

use crate::error::{Error, Result};
use crate::frame::Clip;
use crate::options::{Limits, ReadOptions};
use crate::probe::Info;

/// The largest sides of a picture that the bundled encoder takes: the longer, the shorter.
pub(crate) const MAX_SIDES: (u32, u32) = (3840, 2160);
/// The shortest side that it takes.
pub(crate) const MIN_SIDE: u32 = 16;

/// Decodes what was written as `path` and compares size, count and rate with `written`.
pub(crate) fn verify(reader: &mut (impl Read + Seek), written: &Info, path: &Path) -> Result<()> {
    let options = ReadOptions {
        limits: Limits::none(),
        ..ReadOptions::default()
    };
    let video = decode::open(reader, path, &options.limits)?;
    let (fps, color, (width, height)) = (video.fps(), video.color(), video.size());
    let mut num_frames = 0;
    video.each(&options, |_| {
        num_frames += 1;
        Ok(())
    })?;
    let found = Info {
        width,
        height,
        num_frames,
        fps,
    };
    let expected = Info {
        width: written.width.next_multiple_of(2),
        height: written.height.next_multiple_of(2),
        ..*written
    };
    if expected != found {
        return Err(Error::verify(path, expected.to_string(), found.to_string()));
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
