//! WebDataset shards: tar files whose members belong together by their names.
//!
//! `000123.mp4`, `000123.txt` and `000123.json` are one clip, `shard.tar/000123`: a member's name
//! up to the first dot of its last part says to which clip it belongs. The JSON holds what a line
//! of a folder's `metadata.jsonl` holds, without `file_name`; where it is there, the text is not
//! read. Members of other endings are passed over.
//!
//! Opening reads the headers of all members, the captions, and of clips the parts that say how
//! large and long they are. A clip is read by copying it out of the shard into a temporary file.

mod index;
mod member;

use std::path::{Path, PathBuf};

use vldm_media::Fps;

pub(super) use index::{Entry, Index};
pub(super) use member::Member;

use super::annotations::Annotations;
use super::file::{clip_info, describe_window, read_window};
use super::loader::BrokenPolicy;
use super::record::{Decoded, Known};
use super::sample::{ClipInfo, ClipSource, Placement, Sample, Skipped, Window};
use crate::error::{Error, Result};

/// Tar files of clips. See the [module](self).
#[derive(Debug)]
pub struct ShardSource {
    clips: Vec<ShardClip>,
    skipped: Vec<Skipped>,
}

#[derive(Debug)]
struct ShardClip {
    member: Member,
    info: ClipInfo,
    annotations: Annotations,
}

impl ShardSource {
    /// Opens one tar file, or all `.tar` files that lie in a folder, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Input`] when there are no clips, a shard is cut short or holds what it should not,
    /// or more than a hundredth of the clips (and more than 8) cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let known = Known::beside(folder_of(path));
        let mut source = Self {
            clips: Vec::new(),
            skipped: Vec::new(),
        };
        let mut broken = 0;
        for shard in shards(path)? {
            for entry in Index::read(&shard)?.entries {
                broken += usize::from(source.add(entry, &known)?);
            }
        }
        source.judge(path, broken)?;
        Ok(source)
    }

    /// Takes in one clip; says whether it is newly found not to be readable.
    fn add(&mut self, entry: Entry, known: &Known) -> Result<bool> {
        let id = entry.id.clone();
        let scanned = known.decoded(&id, entry.member.fingerprint());
        let info = match scanned {
            Some(Decoded::Broken { reason, .. }) => Err(reason.clone()),
            Some(Decoded::Clip(facts)) => Ok(facts.info()?),
            None => entry.member.probe().map_err(|error| error.to_string()),
        };
        let info = match info {
            Ok(info) => info,
            Err(reason) => {
                self.skipped.push(Skipped { id, reason });
                return Ok(scanned.is_none());
            }
        };
        let annotations = entry.annotations().and_then(|annotations| {
            annotations.check(info.num_frames)?;
            Ok(annotations)
        });
        match annotations {
            Ok(annotations) => self.clips.push(ShardClip {
                member: entry.member,
                info: clip_info(id, &info),
                annotations,
            }),
            Err(reason) if known.is_quarantined(&id) => {
                self.skipped.push(Skipped { id, reason });
            }
            Err(reason) => {
                return Err(Error::Input(format!(
                    "{id}: {reason} (`vldm data scan` finds all such clips and leaves them out)"
                )));
            }
        }
        Ok(false)
    }

    fn judge(&self, path: &Path, broken: usize) -> Result<()> {
        let list = self.skipped.iter().take(5);
        let list: Vec<String> = list.map(|s| format!("{}: {}", s.id, s.reason)).collect();
        let list = list.join("\n  ");
        let total = self.clips.len() + self.skipped.len();
        if self.clips.is_empty() && self.skipped.is_empty() {
            return Err(Error::Input(format!(
                "{}: expected shards with .mp4, .gif, .png, .jpg or .webp members, found none in \
                 them",
                path.display()
            )));
        }
        if self.clips.is_empty() || broken > BrokenPolicy::default().ceiling(total) {
            return Err(Error::Input(format!(
                "{}: {} of {total} clips cannot be read; run `vldm data scan` for all of them:\n  \
                 {list}",
                path.display(),
                self.skipped.len()
            )));
        }
        if broken > 0 {
            tracing::warn!(
                "{}: {broken} clips cannot be read and are left out: {list}",
                path.display()
            );
        }
        Ok(())
    }
}

impl ClipSource for ShardSource {
    fn len(&self) -> usize {
        self.clips.len()
    }

    fn clip(&self, index: usize) -> &ClipInfo {
        &self.clips[index].info
    }

    fn read(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        let clip = &self.clips[index];
        let known = (&clip.info, &clip.annotations);
        clip.info.take(window, placement.time)?;
        let file = clip.member.copy_out()?;
        read_window(file.path(), known, window, (placement, Fps::FILM))
            .map_err(|error| clip.member.named(error))
    }

    fn describe(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        let clip = &self.clips[index];
        describe_window((&clip.info, &clip.annotations), window, placement)
    }

    fn identity(&self, index: usize) -> Result<String> {
        let clip = &self.clips[index];
        Ok(clip.member.fingerprint().with(&clip.info))
    }

    fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// The folder that a report about `path` lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.is_dir() {
        true => path,
        false => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        },
    }
}

/// The tar files that `path` stands for.
pub(super) fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error| super::file::unreadable(path, &error);
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?.path();
        if super::file::ending(&entry).as_deref() == Some("tar") {
            shards.push(entry);
        }
    }
    if shards.is_empty() {
        return Err(Error::Input(format!(
            "{}: expected .tar files, found none: name a shard or the folder they lie in",
            path.display()
        )));
    }
    shards.sort();
    Ok(shards)
}
