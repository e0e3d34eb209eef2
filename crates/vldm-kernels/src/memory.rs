//! Memory: files read as memory, whose pages come in when they are first touched and are never
//! held twice, and a [`pool`] for results.

pub mod pool;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

/// A file mapped read-only into memory; clones and slices of [`Mapped::bytes`] keep it mapped.
#[derive(Debug, Clone)]
pub struct Mapped {
    bytes: Bytes,
    /// `None` for an empty file, which cannot be mapped, and for bytes that are in memory anyway.
    map: Option<Arc<Mmap>>,
}

/// What [`Bytes`] owns: one share of the map.
struct Share(Arc<Mmap>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Maps the file at `path`.
///
/// # Errors
///
/// When the file cannot be opened or mapped.
pub fn map(path: &Path) -> io::Result<Mapped> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if metadata.len() == 0 {
        return Ok(Mapped {
            bytes: Bytes::new(),
            map: None,
        });
    }
    // SAFETY: the map is private and read-only. What remains is another process truncating or
    // rewriting the file in place while it is mapped, which no reader of mapped files can exclude;
    // this workspace itself only ever replaces checkpoints by renaming, which leaves the mapped
    // file as it was.
    let map = Arc::new(unsafe { Mmap::map(&file)? });
    Ok(Mapped {
        bytes: Bytes::from_owner(Share(Arc::clone(&map))),
        map: Some(map),
    })
}

impl From<Bytes> for Mapped {
    /// Bytes in memory, in the place of a file.
    fn from(bytes: Bytes) -> Self {
        Self { bytes, map: None }
    }
}

impl Mapped {
    /// The whole file; slices of it share the map.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Lets the pages of `range` go, as far as the system allows; reading them again brings them
    /// back from the file. Call it when the range has been packed or converted.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Some(map) = &self.map {
            let range = range.start.min(map.len())..range.end.min(map.len());
            if range.is_empty() {
                return;
            }
            // SAFETY: the pages are clean, read-only and backed by a file: dropping them loses
            // nothing, the next access reads the same bytes again.
            let released = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
            // Advice only: a system that declines it keeps the pages, which is correct too.
            drop(released);
        }
        #[cfg(not(unix))]
        drop(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn slices_outlive_the_map_and_survive_release() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        file.write_all(&content).unwrap();
        let mapped = map(file.path()).unwrap();
        let slice = mapped.bytes().slice(5_000..90_000);
        mapped.release(0..content.len());
        mapped.release(99_000..1_000_000);
        drop(mapped);
        assert_eq!(&slice[..], &content[5_000..90_000]);
    }

    #[test]
    fn an_empty_file_is_empty_and_a_folder_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(map(file.path()).unwrap().bytes().is_empty());
        assert!(map(&std::env::temp_dir()).is_err());
    }
}
