//! The members of one shard, by clip.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Member;
use crate::data::annotations::{self, Annotations};
use crate::data::file::{is_clip, unreadable};
use crate::error::{Error, Result};

/// The largest JSON beside a clip, in bytes.
const MAX_JSON: u64 = 64 << 20;

/// All clips of a shard.
#[derive(Debug, Default)]
pub(in crate::data) struct Index {
    /// In the order in which they stand there.
    pub(in crate::data) entries: Vec<Entry>,
    /// Captions without a clip.
    pub(in crate::data) orphans: Vec<String>,
}

/// A clip of a shard, and what lies beside it.
#[derive(Debug)]
pub(in crate::data) struct Entry {
    /// `shard.tar/000123`
    pub(in crate::data) id: String,
    pub(in crate::data) member: Member,
    text: Option<Vec<u8>>,
    json: Option<Vec<u8>>,
}

/// What has been found of a clip so far.
#[derive(Default)]
struct Parts {
    clips: Vec<Member>,
    text: Option<Vec<u8>>,
    json: Option<Vec<u8>>,
}

impl Index {
    /// Reads the headers of a shard.
    pub(in crate::data) fn read(shard: &Path) -> Result<Self> {
        let name = file_name(shard);
        let found = Members::read(shard)?;
        let mut index = Self::default();
        let mut parts = found.parts;
        for stem in found.order {
            let Some(part) = parts.remove(&stem) else {
                continue;
            };
            let id = format!("{name}/{stem}");
            let mut clips = part.clips.into_iter();
            match (clips.next(), clips.next()) {
                (Some(member), None) => index.entries.push(Entry {
                    id,
                    member,
                    text: part.text,
                    json: part.json,
                }),
                (None, _) => index.orphans.push(id),
                (Some(a), Some(b)) => {
                    return Err(Error::Input(format!(
                        "{id}: expected one clip of this name, found .{} and .{}: write the shard \
                         anew without one of them",
                        a.ending, b.ending
                    )));
                }
            }
        }
        Ok(index)
    }
}

impl Entry {
    /// Reads what is said of the clip.
    pub(in crate::data) fn annotations(&self) -> std::result::Result<Annotations, String> {
        if let Some(json) = &self.json {
            let text = std::str::from_utf8(json)
                .map_err(|error| format!("its JSON is not UTF-8 (byte {})", error.valid_up_to()))?;
            return annotations::object(text).map_err(|reason| format!("its JSON: {reason}"));
        }
        Ok(Annotations {
            caption: self
                .text
                .as_deref()
                .map_or(Ok(None), annotations::caption)?,
            ..Annotations::default()
        })
    }
}

/// The members of a tar file that mean something, by stem.
struct Members {
    order: Vec<String>,
    parts: BTreeMap<String, Parts>,
}

impl Members {
    fn read(shard: &Path) -> Result<Self> {
        let failed = |error| unreadable(shard, &error);
        let file = File::open(shard).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut archive = tar::Archive::new(BufReader::new(file));
        let mut found = Self {
            order: Vec::new(),
            parts: BTreeMap::new(),
        };
        let mut last = None;
        let shard: Arc<PathBuf> = Arc::new(shard.to_owned());
        let entries = archive.entries_with_seek();
        let entries = entries.map_err(|error| damaged(&shard, last.as_deref(), &error))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| damaged(&shard, last.as_deref(), &error))?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (start, size) = (entry.raw_file_position(), entry.size());
            if start.checked_add(size).is_none_or(|end| end > length) {
                return Err(damaged(
                    &shard,
                    last.as_deref(),
                    &format!("{path} ends past its end"),
                ));
            }
            if entry.header().entry_type().is_file() {
                found
                    .take((&shard, &path), (start, size), &mut entry)
                    .map_err(|error| damaged(&shard, last.as_deref(), &error))?;
            }
            last = Some(path);
        }
        Ok(found)
    }

    /// Notes a member, and reads it if it is a caption.
    fn take(
        &mut self,
        (shard, path): (&Arc<PathBuf>, &str),
        (start, size): (u64, u64),
        content: &mut impl Read,
    ) -> std::io::Result<()> {
        let path = path.trim_start_matches("./");
        let Some((stem, ending)) = split(path) else {
            return Ok(());
        };
        // The last part says what a member is, as in `000123.seg.txt`; those are of no use here.
        let ending = ending.to_lowercase();
        let is_text = ending == "txt" && size <= annotations::MAX_CAPTION * 2;
        let is_json = ending == "json" && size <= MAX_JSON;
        if !is_clip(&ending) && !is_text && !is_json {
            return Ok(());
        }
        if !self.parts.contains_key(stem) {
            self.order.push(stem.to_owned());
        }
        let part = self.parts.entry(stem.to_owned()).or_default();
        let mut bytes = Vec::new();
        match (is_text, is_json) {
            (false, false) => part.clips.push(Member {
                shard: Arc::clone(shard),
                name: path.to_owned(),
                ending,
                start,
                size,
            }),
            (is_text, _) => {
                content.read_to_end(&mut bytes)?;
                let place = if is_text {
                    &mut part.text
                } else {
                    &mut part.json
                };
                *place = Some(bytes);
            }
        }
        Ok(())
    }
}

/// A name up to the first dot of its last part, and the rest.
fn split(path: &str) -> Option<(&str, &str)> {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name + path[name..].find('.').filter(|&dot| dot > 0)?;
    Some((&path[..dot], &path[dot + 1..]))
}

/// The shard's name without the folder.
pub(super) fn file_name(shard: &Path) -> String {
    let name = shard.file_name().unwrap_or(shard.as_os_str());
    name.to_string_lossy().into_owned()
}

fn damaged(shard: &Path, last: Option<&str>, error: &dyn std::fmt::Display) -> Error {
    let last = match last {
        Some(last) => format!("the last whole member is {last}"),
        None => "no member is whole".to_owned(),
    };
    Error::Input(format!(
        "{}: cut short or damaged ({error}); {last}: get another copy of the shard, or write it \
         anew up to there",
        shard.display()
    ))
}
