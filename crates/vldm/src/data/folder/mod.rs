//! A folder of clips and pictures with captions beside them.
//!
//! Everything below the folder that is a clip or a picture counts, whatever the depth. A caption
//! lies beside its clip (`a.mp4`, `a.txt`), or in a `metadata.jsonl` in the clip's folder or above
//! it, whose `file_name`s are paths from where it lies ([`Annotations`] says
//! what else a line holds). Where both speak of a clip, the line counts.
//!
//! A folder below it that holds nothing but pictures with one name and running numbers
//! (`frame_00001.png`, …), of which no caption and no line speaks, is one clip.
//!
//! Clips whose size and length `vldm data scan` found out are not opened again, and those it could
//! not read are left out, as long as the files are the same.

mod listing;
mod open;

use std::path::{Path, PathBuf};

use vldm_media::Fps;

pub(super) use listing::{Candidate, Listing};

use super::annotations::Annotations;
use super::file::{describe_window, read_window, unreadable};
use super::record::Fingerprint;
use super::sample::{ClipInfo, ClipSource, Placement, Sample, Skipped, Window};
use crate::error::Result;

/// A folder of clips. See the [module](self).
#[derive(Debug)]
pub struct FolderSource {
    picture_fps: Fps,
    clips: Vec<FolderClip>,
    skipped: Vec<Skipped>,
}

#[derive(Debug)]
struct FolderClip {
    path: PathBuf,
    info: ClipInfo,
    annotations: Annotations,
}

impl FolderSource {
    /// Lists the folder and finds out the size and length of each clip. Folders of numbered
    /// pictures play at `picture_fps`.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) when there is no clip, when captions, lines or boxes
    /// are wrong, or when more than a hundredth of the clips (and more than 8) cannot be read.
    pub fn open(path: &Path, picture_fps: Fps) -> Result<Self> {
        open::open(path, picture_fps)
    }
}

impl ClipSource for FolderSource {
    fn len(&self) -> usize {
        self.clips.len()
    }

    fn clip(&self, index: usize) -> &ClipInfo {
        &self.clips[index].info
    }

    fn read(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        let clip = &self.clips[index];
        let known = (&clip.info, &clip.annotations);
        read_window(&clip.path, known, window, (placement, self.picture_fps))
    }

    fn describe(&self, index: usize, window: &Window, placement: Placement) -> Result<Sample> {
        let clip = &self.clips[index];
        describe_window((&clip.info, &clip.annotations), window, placement)
    }

    fn identity(&self, index: usize) -> Result<String> {
        let clip = &self.clips[index];
        let file = Fingerprint::of(&clip.path).map_err(|error| unreadable(&clip.path, &error))?;
        Ok(file.with(&clip.info))
    }

    fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}
