//! One clip inside a shard.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use tempfile::{Builder, NamedTempFile};
use vldm_media::{Fps, Info};

use super::index::file_name;
use crate::data::file::{probe, unreadable};
use crate::data::record::Fingerprint;
use crate::error::{Error, Result};

/// A stretch of a tar file that is a clip.
#[derive(Debug, Clone)]
pub(in crate::data) struct Member {
    pub(super) shard: Arc<PathBuf>,
    pub(super) name: String,
    pub(super) ending: String,
    pub(super) start: u64,
    pub(super) size: u64,
}

impl Member {
    /// Its size, and the time of its shard.
    pub(in crate::data) fn fingerprint(&self) -> Fingerprint {
        let modified = || {
            let time = self.shard.metadata().ok()?.modified().ok()?;
            Some(time.duration_since(UNIX_EPOCH).ok()?.as_nanos() as u64)
        };
        Fingerprint {
            bytes: self.size,
            modified: modified().unwrap_or(0),
        }
    }

    /// Copies the clip into a file of its own, which vanishes when it is dropped.
    pub(in crate::data) fn copy_out(&self) -> Result<NamedTempFile> {
        let copy = || {
            let mut source = self.open()?;
            let mut file = self.temporary()?;
            let copied = io::copy(&mut (&mut source).take(self.size), &mut file)?;
            match copied == self.size {
                true => Ok(file),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        copy().map_err(|error| self.failed(&error))
    }

    /// Size, length and rate. Of an MP4 file the pictures are not read.
    pub(super) fn probe(&self) -> Result<Info> {
        let file = match self.ending.as_str() {
            "mp4" | "m4v" | "mov" => self.copy_boxes().map_err(|error| self.failed(&error))?,
            _ => self.copy_out()?,
        };
        probe(file.path(), Fps::FILM).map_err(|error| self.named(error))
    }

    /// Copies an MP4 file but for its pictures, in whose place there is a hole. So a shard can be
    /// opened without reading all of it.
    fn copy_boxes(&self) -> io::Result<NamedTempFile> {
        let mut source = self.open()?;
        let mut file = self.temporary()?;
        let mut at = 0;
        while at + 8 <= self.size {
            let mut header = [0; 16];
            source.seek(SeekFrom::Start(self.start + at))?;
            let known = (self.size - at).min(16) as usize;
            source.read_exact(&mut header[..known])?;
            let length = match box_length(&header) {
                0 => self.size - at,
                length => length.clamp(8, self.size - at),
            };
            let copied = if &header[4..8] == b"mdat" {
                known as u64
            } else {
                length
            };
            source.seek(SeekFrom::Start(self.start + at))?;
            file.seek(SeekFrom::Start(at))?;
            io::copy(
                &mut (&mut source).take(copied.min(self.size - at)),
                &mut file,
            )?;
            at += length;
        }
        file.as_file().set_len(self.size)?;
        file.flush()?;
        Ok(file)
    }

    fn open(&self) -> io::Result<File> {
        let mut source = File::open(self.shard.as_path())?;
        source.seek(SeekFrom::Start(self.start))?;
        Ok(source)
    }

    fn temporary(&self) -> io::Result<NamedTempFile> {
        let ending = format!(".{}", self.ending);
        Builder::new().prefix("vldm-").suffix(&ending).tempfile()
    }

    fn failed(&self, error: &io::Error) -> Error {
        unreadable(&self.path(), error)
    }

    /// The member as people would name it: `shards/0001.tar/000123.mp4`.
    fn path(&self) -> PathBuf {
        self.shard.join(&self.name)
    }

    /// The error with the member's name in place of the temporary file's.
    pub(in crate::data) fn named(&self, error: Error) -> Error {
        use vldm_media::Error as Media;
        let path = PathBuf::from(format!("{}/{}", file_name(&self.shard), self.name));
        match error {
            Error::Media(Media::Unsupported { reason, .. }) => {
                Media::Unsupported { path, reason }.into()
            }
            Error::Media(Media::Damaged { reason, .. }) => Media::Damaged { path, reason }.into(),
            Error::Media(Media::TooLarge { reason, .. }) => Media::TooLarge { path, reason }.into(),
            Error::Media(Media::Io { action, source, .. }) => Media::Io {
                action,
                path,
                source,
            }
            .into(),
            other => other,
        }
    }
}

/// The length of an MP4 box with its header; 0 means to the end of the file.
fn box_length(header: &[u8; 16]) -> u64 {
    let [a, b, c, d, _, _, _, _, long @ ..] = *header;
    match u32::from_be_bytes([a, b, c, d]) {
        1 => u64::from_be_bytes(long),
        length => u64::from(length),
    }
}
