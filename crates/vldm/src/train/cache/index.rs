//! The index of a cache: which file holds what.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::{CheckpointError, write_atomically};
use crate::data::hash;
use crate::error::{Error, Result};

/// A line: one file and what is in it, or a clip of which nothing can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    /// Latents of frames.
    Latents {
        file: CacheFile,
        /// Part `n` is the tensors `n.mean` and `n.logvar`.
        parts: Vec<Part>,
    },
    /// Embeddings of prompts.
    Prompts {
        file: CacheFile,
        /// SHA-256 of each prompt, by which its tensor is called.
        prompts: Vec<String>,
    },
    /// Some of the clip's frames cannot be read.
    Broken { clip: ClipKey, reason: String },
}

/// A file of a cache, as it was when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A clip at one size.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClipKey {
    /// As its source calls it.
    pub(super) id: String,
    /// What its pictures are made of.
    pub(super) identity: String,
    /// Height and width in pixels.
    pub(super) size: [u32; 2],
}

/// Frames of a clip that lie in one tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) clip: ClipKey,
    /// Runs of frames, each `[first, count]`, rising.
    pub(super) frames: Vec<[usize; 2]>,
}

impl Part {
    /// Of frames in rising order.
    pub(super) fn new(clip: ClipKey, frames: &[usize]) -> Self {
        let mut runs: Vec<[usize; 2]> = Vec::new();
        for &frame in frames {
            match runs.last_mut() {
                Some([first, count]) if *first + *count == frame => *count += 1,
                _ => runs.push([frame, 1]),
            }
        }
        Self { clip, frames: runs }
    }

    /// In which row of the tensor a frame lies.
    fn row(&self, frame: usize) -> Option<usize> {
        let mut before = 0_usize;
        for &[first, count] in &self.frames {
            match frame.checked_sub(first) {
                Some(later) if later < count => return before.checked_add(later),
                _ => before = before.saturating_add(count),
            }
        }
        None
    }
}

impl CacheFile {
    /// A file that has just been written.
    pub(super) fn of(folder: &Path, name: String) -> Result<Self> {
        let path = folder.join(&name);
        let metadata = fs::metadata(&path).map_err(|error| CheckpointError::read(&path, error))?;
        Ok(Self {
            bytes: metadata.len(),
            sha256: hash(&path)?,
            name,
        })
    }

    /// Whether the file is still what it was; says what is wrong with it.
    pub(super) fn verify(&self, folder: &Path) -> std::result::Result<(), String> {
        let path = folder.join(&self.name);
        let bytes = fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if bytes.len() != self.bytes {
            return Err(format!(
                "{}: it has {} bytes, expected {}",
                path.display(),
                bytes.len(),
                self.bytes
            ));
        }
        let found = hash(&path).map_err(|error| error.to_string())?;
        match found == self.sha256 {
            true => Ok(()),
            false => Err(format!("{}: its SHA-256 is another", path.display())),
        }
    }

    /// Lines are foreign bytes: a name could lead anywhere on this machine.
    fn is_ours(&self) -> bool {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        self.name
            .strip_suffix(".safetensors")
            .is_some_and(|stem| !stem.is_empty() && stem.chars().all(is_plain))
    }
}

impl Line {
    pub(super) fn file(&self) -> Option<&CacheFile> {
        match self {
            Self::Latents { file, .. } | Self::Prompts { file, .. } => Some(file),
            Self::Broken { .. } => None,
        }
    }

    fn text(&self) -> Result<String> {
        let text = serde_json::to_string(self);
        Ok(text.map_err(|error| Error::Config(format!("the cache's index: {error}")))? + "\n")
    }
}

/// The index of a cache, and how many of its lines mean nothing: a line that was cut short when the
/// work was killed, for one.
pub(super) fn read(folder: &Path) -> Result<(Vec<Line>, usize)> {
    let path = path(folder);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(CheckpointError::read(&path, error).into()),
    };
    let whole = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |end| end + 1);
    let mut lines = Vec::new();
    let mut bad = usize::from(whole < bytes.len());
    for text in bytes[..whole]
        .split(|&byte| byte == b'\n')
        .filter(|text| !text.is_empty())
    {
        let line: Option<Line> = serde_json::from_slice(text).ok();
        let is_ours = |line: &Line| line.file().is_none_or(CacheFile::is_ours);
        match line.filter(is_ours) {
            Some(line) => lines.push(line),
            None => bad += 1,
        }
    }
    Ok((lines, bad))
}

/// Adds a line, whose file is on the disk by now.
pub(super) fn append(folder: &Path, line: &Line) -> Result<()> {
    let path = path(folder);
    let failed = |error| CheckpointError::write(&path, error);
    let mut options = OpenOptions::new();
    let mut file = options
        .append(true)
        .create(true)
        .open(&path)
        .map_err(failed)?;
    file.write_all(line.text()?.as_bytes()).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    Ok(())
}

/// Writes the index anew.
pub(super) fn rewrite(folder: &Path, lines: &[Line]) -> Result<()> {
    let path = path(folder);
    let text = lines.iter().map(Line::text).collect::<Result<String>>()?;
    write_atomically(&path, |out| {
        out.write_all(text.as_bytes())
            .map_err(|error| CheckpointError::write(&path, error))
    })?;
    Ok(())
}

fn path(folder: &Path) -> PathBuf {
    folder.join("index.jsonl")
}

/// What a cache holds, to be looked up.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) files: Vec<CacheFile>,
    clips: HashMap<ClipKey, Vec<Place>>,
    /// By the prompt's hash: its file.
    prompts: HashMap<String, usize>,
    broken: HashMap<ClipKey, String>,
}

#[derive(Debug)]
struct Place {
    file: usize,
    tensor: usize,
    part: Part,
}

impl Held {
    pub(super) fn new(lines: Vec<Line>) -> Self {
        let mut held = Self::default();
        for line in lines {
            let number = held.files.len();
            held.files.extend(line.file().cloned());
            match line {
                Line::Latents { parts, .. } => {
                    for (tensor, part) in parts.into_iter().enumerate() {
                        held.clips
                            .entry(part.clip.clone())
                            .or_default()
                            .push(Place {
                                file: number,
                                tensor,
                                part,
                            });
                    }
                }
                Line::Prompts { prompts, .. } => {
                    held.prompts
                        .extend(prompts.into_iter().map(|hash| (hash, number)));
                }
                Line::Broken { clip, reason } => {
                    held.broken.insert(clip, reason);
                }
            }
        }
        held
    }

    /// Where a frame lies: the file's number, the tensor's and the row.
    pub(super) fn frame(&self, clip: &ClipKey, frame: usize) -> Option<(usize, usize, usize)> {
        self.clips.get(clip)?.iter().find_map(|place| {
            let row = place.part.row(frame)?;
            Some((place.file, place.tensor, row))
        })
    }

    /// In which file a prompt lies.
    pub(super) fn prompt(&self, hash: &str) -> Option<usize> {
        self.prompts.get(hash).copied()
    }

    /// Why some of a clip's frames cannot be had.
    pub(super) fn broken(&self, clip: &ClipKey) -> Option<&str> {
        self.broken.get(clip).map(String::as_str)
    }

    /// What else there is of a clip, for messages: other sizes, other contents.
    pub(super) fn others(&self, id: &str) -> Vec<&ClipKey> {
        let mut others: Vec<&ClipKey> = self.clips.keys().filter(|key| key.id == id).collect();
        others.sort();
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip() -> ClipKey {
        ClipKey {
            id: "a.mp4".into(),
            identity: "a file".into(),
            size: [32, 64],
        }
    }

    fn line(name: &str, frames: Vec<[usize; 2]>) -> Line {
        Line::Latents {
            file: CacheFile {
                name: name.into(),
                bytes: 3,
                sha256: "00".into(),
            },
            parts: vec![Part {
                clip: clip(),
                frames,
            }],
        }
    }

    #[test]
    fn frames_are_found_in_their_runs() {
        let part = Part::new(clip(), &[3, 4, 5, 9, 12, 13]);
        assert_eq!(part.frames, [[3, 3], [9, 1], [12, 2]]);
        let rows: Vec<Option<usize>> = [2, 3, 5, 6, 9, 13, 14].map(|f| part.row(f)).into();
        assert_eq!(rows, [None, Some(0), Some(2), None, Some(3), Some(5), None]);
    }

    #[test]
    fn lines_are_read_back_and_foreign_ones_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let whole = [
            line("latents-00000.safetensors", vec![[0, 8]]),
            Line::Broken {
                clip: clip(),
                reason: "a hole".into(),
            },
        ];
        assert_eq!(read(folder.path()).unwrap(), (Vec::new(), 0));
        whole
            .iter()
            .for_each(|line| append(folder.path(), line).unwrap());
        append(folder.path(), &line("../away.safetensors", vec![[0, 8]])).unwrap();
        append(folder.path(), &line("/etc/x.safetensors", vec![[0, 8]])).unwrap();
        let mut text = fs::read(path(folder.path())).unwrap();
        text.extend(b"{}\n\xff\xfe\nnull\n[]\n{\"type\":\"la");
        fs::write(path(folder.path()), text).unwrap();
        let (lines, bad) = read(folder.path()).unwrap();
        assert_eq!((lines.as_slice(), bad), (whole.as_slice(), 7));
        rewrite(folder.path(), &lines).unwrap();
        assert_eq!(read(folder.path()).unwrap(), (whole.to_vec(), 0));
    }

    #[test]
    fn numbers_out_of_range_are_no_panic() {
        let huge = vec![[usize::MAX, usize::MAX], [0, usize::MAX], [5, usize::MAX]];
        let held = Held::new(vec![line("latents-00000.safetensors", huge)]);
        for frame in [0, 7, usize::MAX - 1, usize::MAX] {
            // Whatever row it is, the reader compares it with the tensor's.
            held.frame(&clip(), frame);
        }
    }
}
