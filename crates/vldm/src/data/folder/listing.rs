//! What lies in a folder: clips, captions, and which belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::data::annotations::{self, Annotations, Fault};
use crate::data::file::{ending, is_clip, is_picture, unreadable};
use crate::error::{Error, Result};

/// Folders within folders; more is a loop of links.
const MAX_DEPTH: usize = 32;
/// The file with a line per clip.
const METADATA: &str = "metadata.jsonl";
/// Names of what we write beside the data begin like this, and none of it is data.
const OWN: [&str; 2] = ["vldm-scan", "vldm-sheet"];

/// A clip by its looks: nothing of it has been read.
#[derive(Debug)]
pub(in crate::data) struct Candidate {
    /// Path from the folder, with `/` between its parts.
    pub(in crate::data) id: String,
    /// The file, or the folder of numbered pictures.
    pub(in crate::data) path: PathBuf,
    caption: Option<PathBuf>,
    line: Option<Annotations>,
}

/// Everything in a folder.
#[derive(Debug, Default)]
pub(in crate::data) struct Listing {
    /// Clips in the order of their names.
    pub(in crate::data) clips: Vec<Candidate>,
    /// Captions and lines that speak of no clip.
    pub(in crate::data) orphans: Vec<String>,
    /// Lines that cannot be used: the clip where it is known, and what is wrong.
    pub(in crate::data) faults: Vec<(Option<String>, String)>,
    /// Clips with a caption beside them and in a line.
    pub(in crate::data) both: usize,
}

/// Files by folder, all as paths from the root with `/`.
#[derive(Debug, Default)]
struct Tree {
    folders: BTreeMap<String, Vec<String>>,
}

impl Candidate {
    /// Reads what is said of the clip.
    pub(in crate::data) fn annotations(&self) -> std::result::Result<Annotations, String> {
        if let Some(line) = &self.line {
            return Ok(line.clone());
        }
        let Some(path) = &self.caption else {
            return Ok(Annotations::default());
        };
        let read = || {
            let size = fs::metadata(path)?.len();
            match size > annotations::MAX_CAPTION {
                true => Ok(vec![b' '; size.min(annotations::MAX_CAPTION * 2) as usize]),
                false => fs::read(path),
            }
        };
        let bytes = read().map_err(|error| format!("cannot read its caption: {error}"))?;
        Ok(Annotations {
            caption: annotations::caption(&bytes)?,
            ..Annotations::default()
        })
    }
}

impl Listing {
    /// Lists a folder.
    pub(in crate::data) fn read(root: &Path) -> Result<Self> {
        let mut tree = Tree::default();
        tree.walk(root, "", 0)?;
        let mut lines = BTreeMap::new();
        let mut listing = Self::default();
        listing.read_lines(root, &tree, &mut lines)?;
        let mut captions = tree.captions();
        let named: BTreeSet<String> = listing
            .faults
            .iter()
            .filter_map(|(id, _)| id.clone())
            .chain(lines.keys().cloned())
            .collect();
        for id in tree.clips(&named, &captions) {
            let path = root.join(&id);
            let beside = stem(&id).map(|stem| format!("{stem}.txt"));
            let name = if path.is_dir() {
                Some(format!("{id}.txt"))
            } else {
                beside
            };
            let caption = name.filter(|name| captions.contains_key(name));
            if let Some(name) = &caption {
                captions.insert(name.clone(), true);
            }
            let line = lines.remove(&id);
            listing.both += usize::from(line.is_some() && caption.is_some());
            listing.clips.push(Candidate {
                path,
                caption: caption.map(|name| root.join(name)),
                line,
                id,
            });
        }
        let unused = captions.into_iter().filter(|(_, used)| !used);
        listing.orphans = unused.map(|(name, _)| name).collect();
        let missing = lines.into_keys().map(|id| format!("{METADATA}: {id}"));
        listing.orphans.extend(missing);
        Ok(listing)
    }

    /// Reads every `metadata.jsonl` of the tree.
    fn read_lines(
        &mut self,
        root: &Path,
        tree: &Tree,
        lines: &mut BTreeMap<String, Annotations>,
    ) -> Result<()> {
        for (folder, names) in &tree.folders {
            if !names.iter().any(|name| name == METADATA) {
                continue;
            }
            let place = join(folder, METADATA);
            let path = root.join(&place);
            let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            let text = String::from_utf8(bytes).map_err(|error| {
                let byte = error.utf8_error().valid_up_to();
                Error::Input(format!(
                    "{place}: not UTF-8 (byte {byte}): save it as UTF-8"
                ))
            })?;
            for line in annotations::lines(&text) {
                match line {
                    Ok((name, line)) => {
                        let id = join(folder, name.trim_end_matches('/').trim_start_matches("./"));
                        if lines.insert(id.clone(), line).is_some() {
                            let reason = format!("{place}: two lines speak of {id}: keep one");
                            self.faults.push((Some(id), reason));
                        }
                    }
                    Err(Fault { file_name, reason }) => {
                        let id = file_name.map(|name| join(folder, &name));
                        self.faults.push((id, format!("{place}, {reason}")));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Tree {
    fn walk(&mut self, root: &Path, folder: &str, depth: usize) -> Result<()> {
        let path = root.join(folder);
        if depth > MAX_DEPTH {
            return Err(Error::Input(format!(
                "{}: more than {MAX_DEPTH} folders within each other: is a link leading back?",
                path.display()
            )));
        }
        let failed = |error| unreadable(&path, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(Error::Input(format!(
                    "{}: its name is not UTF-8: rename it",
                    entry.path().display()
                )));
            };
            if name.starts_with('.') || OWN.iter().any(|own| name.starts_with(own)) {
                continue;
            }
            match entry.path().is_dir() {
                true => self.walk(root, &join(folder, &name), depth + 1)?,
                false => names.push(name),
            }
        }
        names.sort();
        self.folders.insert(folder.to_owned(), names);
        Ok(())
    }

    /// All `.txt` files, none of them used yet.
    fn captions(&self) -> BTreeMap<String, bool> {
        self.files()
            .filter(|(_, name)| ending(Path::new(name)).as_deref() == Some("txt"))
            .map(|(folder, name)| (join(folder, name), false))
            .collect()
    }

    /// Clips and pictures; folders of numbered pictures as one each.
    fn clips(&self, named: &BTreeSet<String>, captions: &BTreeMap<String, bool>) -> Vec<String> {
        let mut clips = Vec::new();
        for (folder, names) in &self.folders {
            if !folder.is_empty() && is_sequence(folder, names, named, captions) {
                clips.push(folder.clone());
                continue;
            }
            let is_clip =
                |name: &&String| ending(Path::new(name)).is_some_and(|ending| is_clip(&ending));
            clips.extend(names.iter().filter(is_clip).map(|name| join(folder, name)));
        }
        clips.sort();
        clips
    }

    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.folders
            .iter()
            .flat_map(|(folder, names)| names.iter().map(|name| (folder.as_str(), name.as_str())))
    }
}

/// Whether a folder's files are the frames of one clip.
fn is_sequence(
    folder: &str,
    names: &[String],
    named: &BTreeSet<String>,
    captions: &BTreeMap<String, bool>,
) -> bool {
    let mut prefixes = BTreeSet::new();
    for name in names {
        let Some(stem) = stem(name) else {
            return false;
        };
        let prefix = stem.trim_end_matches(|c: char| c.is_ascii_digit());
        let picture = ending(Path::new(name)).is_some_and(|ending| is_picture(&ending));
        let own = captions.contains_key(&join(folder, &format!("{stem}.txt")));
        if !picture || own || prefix.len() == stem.len() || named.contains(&join(folder, name)) {
            return false;
        }
        prefixes.insert(prefix);
    }
    names.len() > 1 && prefixes.len() == 1
}

/// A name without its ending.
fn stem(name: &str) -> Option<&str> {
    let (stem, ending) = name.rsplit_once('.')?;
    (!ending.contains('/')).then_some(stem)
}

fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}
