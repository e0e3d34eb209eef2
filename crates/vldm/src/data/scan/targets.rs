//! What a scan goes through.

use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::data::annotations::Annotations;
use crate::data::folder::{Candidate, Listing};
use crate::data::record::Fingerprint;
use crate::data::shards::{self, Entry, Index};
use crate::error::{Error, Result};

/// What kind of data lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    /// A folder of clips.
    Folder,
    /// Tar files.
    Shards,
}

/// All clips to be read.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) kind: DataKind,
    pub(super) clips: Vec<Target>,
    pub(super) orphans: Vec<String>,
    folder: PathBuf,
    faults: Vec<(Option<String>, String)>,
}

/// One clip to be read.
#[derive(Debug)]
pub(super) enum Target {
    File(Candidate),
    Member(Entry),
}

/// Where a clip can be opened; what was copied out of a shard vanishes with it.
#[derive(Debug)]
pub(super) enum Opened {
    Path(PathBuf),
    Copy(NamedTempFile),
}

impl Opened {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Path(path) => path,
            Self::Copy(file) => file.path(),
        }
    }
}

impl Targets {
    /// A tar file, or a folder with tar files right in it, is shards; any other folder is clips.
    pub(super) fn list(path: &Path) -> Result<Self> {
        if path.is_file() || (path.is_dir() && shards::shards(path).is_ok()) {
            return Self::of_shards(path);
        }
        if !path.is_dir() {
            return Err(Error::Input(format!(
                "{}: expected a folder of clips, a .tar file or a folder of them: check the path",
                path.display()
            )));
        }
        let listing = Listing::read(path)?;
        Self {
            kind: DataKind::Folder,
            clips: listing.clips.into_iter().map(Target::File).collect(),
            orphans: listing.orphans,
            folder: path.to_owned(),
            faults: listing.faults,
        }
        .checked(path)
    }

    fn of_shards(path: &Path) -> Result<Self> {
        let mut targets = Self {
            kind: DataKind::Shards,
            clips: Vec::new(),
            orphans: Vec::new(),
            folder: shards::folder_of(path).to_owned(),
            faults: Vec::new(),
        };
        for shard in shards::shards(path)? {
            let index = Index::read(&shard)?;
            targets
                .clips
                .extend(index.entries.into_iter().map(Target::Member));
            targets.orphans.extend(index.orphans);
        }
        targets.checked(path)
    }

    fn checked(self, path: &Path) -> Result<Self> {
        if self.clips.is_empty() {
            return Err(Error::Input(format!(
                "{}: expected clips or pictures, found none ({} captions without a clip): name \
                 another folder",
                path.display(),
                self.orphans.len()
            )));
        }
        Ok(self)
    }

    /// Where a report belongs unless said otherwise.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is wrong with the line about a clip.
    pub(super) fn fault_of(&self, id: &str) -> Option<String> {
        let mut faults = self.faults.iter();
        let (_, reason) = faults.find(|(about, _)| about.as_deref() == Some(id))?;
        Some(reason.clone())
    }

    /// Lines that cannot be used and are about no clip that is there.
    pub(super) fn loose_faults(&self) -> Vec<String> {
        let is_there = |id: &String| self.clips.iter().any(|clip| clip.id() == id);
        let loose = self.faults.iter();
        let loose = loose.filter(|(about, _)| !about.as_ref().is_some_and(is_there));
        loose.map(|(_, reason)| reason.clone()).collect()
    }
}

impl Target {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::File(candidate) => &candidate.id,
            Self::Member(entry) => &entry.id,
        }
    }

    pub(super) fn annotations(&self) -> std::result::Result<Annotations, String> {
        match self {
            Self::File(candidate) => candidate.annotations(),
            Self::Member(entry) => entry.annotations(),
        }
    }

    /// How the file is known again; none where the system does not tell.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::File(candidate) => Fingerprint::of(&candidate.path).ok(),
            Self::Member(entry) => Some(entry.member.fingerprint()),
        }
    }

    /// A file that can be opened.
    pub(super) fn open(&self) -> Result<Opened> {
        Ok(match self {
            Self::File(candidate) => Opened::Path(candidate.path.clone()),
            Self::Member(entry) => Opened::Copy(entry.member.copy_out()?),
        })
    }

    /// The error with the clip's name in place of a temporary file's.
    pub(super) fn named(&self, error: Error) -> Error {
        match self {
            Self::File(_) => error,
            Self::Member(entry) => entry.member.named(error),
        }
    }
}
