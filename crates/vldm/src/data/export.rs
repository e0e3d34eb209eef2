//! Writes clips of a source as a folder of MP4 files, so that worlds can be looked at, trained on
//! by other programs, and read back like anybody's data.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use vldm_media::{Clip, Fps, Info, WriteOptions, contact_sheet_of, write_image};

use super::file::unreadable;
use super::record::save_whole;
use super::sample::{ClipInfo, ClipSource, Fit, Placement, Sample, Window};
use crate::conditioning::boxes::ObjectBox;
use crate::error::{Error, Result};

/// Clips on the contact sheet.
const SHEET_ROWS: usize = 24;
/// Frames of each of them.
const SHEET_COLUMNS: usize = 6;
/// The contact sheet; sources pass over names that begin like this.
const SHEET: &str = "vldm-sheet.png";
/// What is said of the clips.
const METADATA: &str = "metadata.jsonl";

/// What happens while clips are written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportEvent {
    /// A clip has been written.
    Clip {
        /// How many clips are behind us, this one included.
        done: usize,
        /// How many there are.
        total: usize,
        /// Its file.
        path: PathBuf,
    },
    /// The end: captions and the contact sheet have been written.
    Finished {
        /// `metadata.jsonl` and the contact sheet.
        files: Vec<PathBuf>,
    },
}

/// Writes all clips of a source, whole, into a folder: `00000.mp4` and so on, their captions,
/// labels and boxes in `metadata.jsonl`, and a contact sheet. An iterator with an item per clip.
#[derive(Debug)]
pub struct Export {
    source: Arc<dyn ClipSource>,
    out: PathBuf,
    lines: String,
    rows: Vec<Clip>,
    done: usize,
    finished: bool,
}

/// After how many clips their lines are written, in case the program is killed.
const SAVE_EVERY: usize = 100;

/// A line of `metadata.jsonl`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    file_name: &'a str,
    text: Option<&'a str>,
    labels: &'a BTreeMap<String, usize>,
    boxes: Vec<Vec<Corners>>,
}

/// A box: x0, y0, x1, y1 and its class.
type Corners = (f32, f32, f32, f32, usize);

/// Who stops early keeps what is written, with what is known of it.
impl Drop for Export {
    fn drop(&mut self) {
        if self.done > 0 && self.done < self.total() {
            // There is no one left to tell.
            let _ = self.save_lines();
        }
    }
}

impl Export {
    /// Makes the folder, which must be new or empty.
    ///
    /// # Errors
    /// [`Error::Input`] when there is something in it, [`Error::Media`] when clips of this size
    /// cannot be written as MP4.
    pub fn start(source: Arc<dyn ClipSource>, out: &Path) -> Result<Self> {
        fs::create_dir_all(out).map_err(|error| unreadable(out, &error))?;
        let mut entries = fs::read_dir(out).map_err(|error| unreadable(out, &error))?;
        if entries.next().is_some() {
            return Err(Error::Input(format!(
                "{}: the folder is not empty: name a new one",
                out.display()
            )));
        }
        let export = Self {
            out: out.to_owned(),
            lines: String::new(),
            rows: Vec::new(),
            done: 0,
            finished: false,
            source,
        };
        let infos = (0..export.source.len()).map(|index| export.source.clip(index));
        let mut last = None;
        for info in infos {
            let size = (info.width, info.height);
            if last.replace(size) != Some(size) {
                check(info, &export.path(0))?;
            }
        }
        Ok(export)
    }

    /// Number of clips to write.
    #[must_use]
    pub fn total(&self) -> usize {
        self.source.len()
    }

    fn path(&self, index: usize) -> PathBuf {
        self.out.join(format!("{index:05}.mp4"))
    }

    fn step(&mut self) -> Result<ExportEvent> {
        if self.done == self.total() {
            return self.finish();
        }
        let info = self.source.clip(self.done);
        let whole = Window {
            frames: info.frames,
            fps: None,
            height: info.height,
            width: info.width,
            fit: Fit::Crop,
        };
        let fps = Fps::from_f64(info.fps)?;
        let mut sample = self.source.read(self.done, &whole, Placement::default())?;
        let frames = std::mem::take(&mut sample.frames);
        let clip = Clip::new(frames, fps)?;
        let path = self.path(self.done);
        vldm_media::write(&path, &clip, &WriteOptions::default())?;
        self.lines.push_str(&line(&path, &sample)?);
        if self.rows.len() < SHEET_ROWS {
            self.rows.push(a_few(&clip)?);
        }
        self.done += 1;
        if self.done.is_multiple_of(SAVE_EVERY) {
            self.save_lines()?;
        }
        Ok(ExportEvent::Clip {
            done: self.done,
            total: self.total(),
            path,
        })
    }

    fn save_lines(&self) -> Result<()> {
        save_whole(&self.out.join(METADATA), self.lines.as_bytes())
    }

    fn finish(&mut self) -> Result<ExportEvent> {
        self.save_lines()?;
        let sheet = self.out.join(SHEET);
        let rows: Vec<&Clip> = self.rows.iter().collect();
        let picture = contact_sheet_of(&rows, SHEET_COLUMNS)?;
        write_image(&sheet, &picture, &WriteOptions::default())?;
        self.finished = true;
        Ok(ExportEvent::Finished {
            files: vec![self.out.join(METADATA), sheet],
        })
    }
}

impl Iterator for Export {
    type Item = Result<ExportEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let event = self.step();
        self.finished |= event.is_err();
        Some(event)
    }
}

/// MP4 pads odd sizes, so that clips would come back larger and boxes elsewhere.
fn check(info: &ClipInfo, path: &Path) -> Result<()> {
    if !info.width.is_multiple_of(2) || !info.height.is_multiple_of(2) {
        return Err(Error::Input(format!(
            "{}: {}x{} pixels, expected even sizes for an MP4",
            info.id, info.width, info.height
        )));
    }
    vldm_media::check_output(
        path,
        &Info {
            width: info.width,
            height: info.height,
            num_frames: info.frames,
            fps: Fps::from_f64(info.fps)?,
        },
    )?;
    Ok(())
}

fn line(path: &Path, sample: &Sample) -> Result<String> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let one = |b: &ObjectBox| -> Corners { (b.x0, b.y0, b.x1, b.y1, b.class) };
    let line = Line {
        file_name: &name.to_string_lossy(),
        text: sample.caption.as_deref(),
        labels: &sample.labels,
        boxes: sample
            .boxes
            .iter()
            .map(|frame| frame.iter().map(one).collect())
            .collect(),
    };
    let text = serde_json::to_string(&line);
    let text = text.map_err(|error| Error::Input(format!("{}: {error}", sample.id)))?;
    Ok(text + "\n")
}

/// The frames that the contact sheet shows.
fn a_few(clip: &Clip) -> Result<Clip> {
    let last = clip.num_frames() - 1;
    let frames = (0..SHEET_COLUMNS).map(|n| clip.frames()[n * last / (SHEET_COLUMNS - 1)].clone());
    Ok(Clip::new(frames.collect(), clip.fps())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FolderSource, WorldConfig, WorldSource};

    fn worlds(width: u32) -> Arc<dyn ClipSource> {
        let config = WorldConfig {
            seconds: 0.5,
            fps: Fps::new(8, 1).unwrap(),
            height: 48,
            width,
            ..WorldConfig::new(3, 4)
        };
        Arc::new(WorldSource::new(config).unwrap())
    }

    #[test]
    fn who_stops_early_keeps_what_is_known_of_the_clips() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("worlds");
        let mut export = Export::start(worlds(96), &out).unwrap();
        export.next().unwrap().unwrap();
        drop(export);
        let back = FolderSource::open(&out, Fps::FILM).unwrap();
        assert_eq!((back.len(), back.skipped().len()), (1, 0));
        let lines = fs::read_to_string(out.join(METADATA)).unwrap();
        assert_eq!(lines.lines().count(), 1);
    }

    #[test]
    fn worlds_come_back_as_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("worlds");
        let source = worlds(96);
        let events: Vec<ExportEvent> = Export::start(Arc::clone(&source), &out)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(events.len(), 4);
        let ExportEvent::Finished { files } = &events[3] else {
            panic!("{events:?}");
        };
        assert!(files.iter().all(|file| file.is_file()));
        let back = FolderSource::open(&out, Fps::FILM).unwrap();
        assert_eq!(back.len(), 3);
        let window = Window {
            frames: 4,
            fps: None,
            height: 48,
            width: 96,
            fit: Fit::Crop,
        };
        for index in 0..3 {
            let [a, b] = [&*source, &back as &dyn ClipSource]
                .map(|source| source.read(index, &window, Placement::default()).unwrap());
            assert_eq!((a.caption, a.labels), (b.caption, b.labels));
            assert_eq!(a.boxes, b.boxes);
            assert_eq!((a.fps, a.frames.len()), (b.fps, b.frames.len()));
        }
        let error = Export::start(source, &out).unwrap_err().to_string();
        assert!(
            error.contains("the folder is not empty: name a new one"),
            "{error}"
        );
    }

    #[test]
    fn odd_sizes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Export::start(worlds(97), folder.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("world/0: 97x48 pixels, expected even sizes for an MP4"),
            "{error}"
        );
    }
}
