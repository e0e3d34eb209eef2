//! What a scan finds out about clips, as it is kept in `vldm-scan.json`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use vldm_media::{Fps, Info};

use super::sample::ClipInfo;
use super::statistics::Statistics;
use crate::checkpoint::{CheckpointError, write_atomically};
use crate::error::{Error, Result};

/// The name of a report beside the data.
pub const SCAN_FILE: &str = "vldm-scan.json";
/// The version of the file's layout.
const FORMAT: u32 = 1;

/// A report of `vldm data scan`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanReport {
    /// Version of the layout, 1.
    pub format: u32,
    /// All clips that were found, in the order of the source.
    pub clips: Vec<ClipRecord>,
    /// Clips that are not to be used, and why.
    pub quarantine: Vec<Quarantined>,
    /// Captions that belong to no clip.
    pub orphans: Vec<String>,
    /// Lines of `metadata.jsonl` that cannot be used and name no clip.
    pub faults: Vec<String>,
    /// Counts over the clips that can be used.
    pub statistics: Statistics,
}

/// What is known of one clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipRecord {
    /// The clip's name.
    pub id: String,
    /// The file as it was when it was read.
    pub file: Fingerprint,
    /// What came out of it.
    pub decoded: Decoded,
    /// Length of the caption in characters; nothing where there is none.
    pub caption: Option<usize>,
    /// The clip's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, usize>,
    /// Boxes on all frames together; nothing where the clip has no list of them.
    pub boxes: Option<usize>,
}

/// A clip that is not to be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// The clip's name.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A file's size and time, by which it is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Size in bytes; of a folder, of all files in it.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since 1970; of a folder, the latest.
    pub modified: u64,
}

/// What came out of a file when all of it was decoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decoded {
    /// A clip.
    Clip(Facts),
    /// Nothing: it cannot be used.
    Broken {
        /// What is wrong with it.
        reason: String,
        /// Whether another scan should try again: it may be able to when ffmpeg is installed or the disk
        /// is back.
        #[serde(default)]
        again: bool,
    },
}

/// A clip's size, length and contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Number of frames, all of which were decoded.
    pub frames: usize,
    /// Frames per second.
    pub fps: Fps,
    /// SHA-256 of the file in hexadecimal; of a folder, of its files one after the other.
    pub sha256: String,
}

impl Facts {
    /// Length in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.fps.seconds(self.frames)
    }

    /// As a reader tells it.
    pub(super) fn info(&self) -> Result<Info> {
        if self.frames == 0 || self.width == 0 || self.height == 0 {
            return Err(Error::Input(format!(
                "{SCAN_FILE}: a clip of {} frames of {}x{}: delete the file and scan again",
                self.frames, self.width, self.height
            )));
        }
        Ok(Info {
            width: self.width,
            height: self.height,
            num_frames: self.frames,
            fps: self.fps,
        })
    }
}

impl Fingerprint {
    /// The file and what is in it, in one line.
    pub(super) fn with(self, info: &ClipInfo) -> String {
        format!(
            "a file of {} bytes, changed at {} ns: {info}",
            self.bytes, self.modified
        )
    }

    /// Of a file, or of a folder of pictures.
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_dir() {
            let since = metadata.modified()?.duration_since(UNIX_EPOCH);
            let modified = since.map_or(0, |time| time.as_nanos() as u64);
            return Ok(Self {
                bytes: metadata.len(),
                modified,
            });
        }
        let mut whole = Self {
            bytes: 0,
            modified: 0,
        };
        for entry in fs::read_dir(path)? {
            let part = Self::of(&entry?.path())?;
            whole.bytes += part.bytes;
            whole.modified = whole.modified.max(part.modified);
        }
        Ok(whole)
    }
}

impl ScanReport {
    /// Reads a report; nothing where there is none.
    ///
    /// # Errors
    /// [`Error::Input`] when it is not one of this format.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(super::file::unreadable(path, &error)),
        };
        let wrong = |what: String| {
            Error::Input(format!(
                "{}: not a report of this version's `vldm data scan` ({what}): delete it and scan \
                 again",
                path.display()
            ))
        };
        let report: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        match report.format {
            FORMAT => Ok(Some(report)),
            other => Err(wrong(format!("format {other}, expected {FORMAT}"))),
        }
    }

    /// The version that is written.
    pub(super) fn format() -> u32 {
        FORMAT
    }

    /// Writes the report; what was there before stays until all of it is on the disk.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let failed = |error| Error::Input(format!("{}: cannot write it: {error}", path.display()));
        let mut text = serde_json::to_string_pretty(self).map_err(failed)?;
        text.push('\n');
        save_whole(path, text.as_bytes())
    }
}

/// Writes a file under a temporary name, syncs it and gives it its name.
pub(super) fn save_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let fill = |out: &mut dyn Write| {
        out.write_all(bytes)
            .map_err(|error| CheckpointError::write(path, error))
    };
    write_atomically(path, fill).map_err(|error| {
        Error::Input(format!(
            "{}: cannot write it: {error}; name another folder",
            path.display()
        ))
    })
}

/// What an earlier scan says, by clip.
#[derive(Debug, Default)]
pub(super) struct Known {
    clips: HashMap<String, ClipRecord>,
    quarantine: HashMap<String, String>,
}

impl Known {
    /// From a report.
    pub(super) fn new(report: ScanReport) -> Self {
        let clips = report.clips.into_iter();
        let quarantine = report.quarantine.into_iter();
        Self {
            clips: clips.map(|clip| (clip.id.clone(), clip)).collect(),
            quarantine: quarantine.map(|clip| (clip.id, clip.reason)).collect(),
        }
    }

    /// From the report in a folder of data. One that cannot be read is told of and not used.
    pub(super) fn beside(folder: &Path) -> Self {
        match ScanReport::load(&folder.join(SCAN_FILE)) {
            Ok(report) => report.map(Self::new).unwrap_or_default(),
            Err(error) => {
                tracing::warn!("{error}");
                Self::default()
            }
        }
    }

    /// What came out of a clip, if its file has not changed since.
    pub(super) fn decoded(&self, id: &str, file: Fingerprint) -> Option<&Decoded> {
        let clip = self.clips.get(id).filter(|clip| clip.file == file)?;
        Some(&clip.decoded)
    }

    /// All that is known of a clip, whether or not its file has changed.
    pub(super) fn clip(&self, id: &str) -> Option<&ClipRecord> {
        self.clips.get(id)
    }

    /// Why a clip was found not to be usable.
    pub(super) fn reason(&self, id: &str) -> Option<&str> {
        self.quarantine.get(id).map(String::as_str)
    }

    /// Whether the clip was found not to be usable, for whatever reason.
    pub(super) fn is_quarantined(&self, id: &str) -> bool {
        self.quarantine.contains_key(id)
    }
}
