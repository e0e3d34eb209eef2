//! The files of a run besides its checkpoints.
//!
//! ```text
//! OUT/recipe.toml      what is run, with everything that was left unsaid
//! OUT/metrics.jsonl    a line per step and measurement
//! OUT/events.out.…     the same for TensorBoard
//! OUT/plot.png         the curves, drawn at every checkpoint
//! OUT/samples/         clips, and a sheet of each set
//! ```

use std::path::{Path, PathBuf};

use vldm_media::{Clip, Fps, Frame, WriteOptions, contact_sheet, contact_sheet_of};

use super::report::{EventFile, MetricsFile, Moment, Record, event_file_name, plot, read};
use crate::checkpoint::{CheckpointError, write_atomically};
use crate::error::Result;

/// The open files of a run.
#[derive(Debug)]
pub(crate) struct Outputs {
    folder: PathBuf,
    metrics: MetricsFile,
    /// Opened with the first record, whose time it is named by.
    events: Option<EventFile>,
    resumed_after: Option<u64>,
}

impl Outputs {
    pub(crate) fn create(folder: &Path, recipe: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| CheckpointError::write(folder, error))?;
        write_file(&folder.join("recipe.toml"), recipe.as_bytes())?;
        // A run that ended before its first checkpoint begins anew.
        let metrics = folder.join("metrics.jsonl");
        if metrics.exists() {
            std::fs::remove_file(&metrics)
                .map_err(|error| CheckpointError::write(&metrics, error))?;
        }
        Ok(Self {
            metrics: MetricsFile::open(&metrics, None)?,
            folder: folder.to_path_buf(),
            events: None,
            resumed_after: None,
        })
    }

    pub(crate) fn resume(folder: &Path, step: u64) -> Result<Self> {
        Ok(Self {
            metrics: MetricsFile::open(folder.join("metrics.jsonl"), Some(step))?,
            folder: folder.to_path_buf(),
            events: None,
            resumed_after: Some(step),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.metrics.sync()
    }

    pub(crate) fn record(&mut self, record: &Record, unix_seconds: f64) -> Result<()> {
        self.metrics.append(record)?;
        self.events(unix_seconds)?.record(record, unix_seconds)
    }

    fn events(&mut self, unix_seconds: f64) -> Result<&mut EventFile> {
        let events = match self.events.take() {
            Some(events) => events,
            None => {
                let name = event_file_name(unix_seconds as u64, "vldm", std::process::id());
                let path = self.folder.join(name);
                match self.resumed_after {
                    None => EventFile::create(path, unix_seconds)?,
                    Some(step) => EventFile::resume(path, Moment { step, unix_seconds })?,
                }
            }
        };
        Ok(self.events.insert(events))
    }

    /// Draws the curves of the whole run.
    pub(crate) fn draw(&self, title: &str) -> Result<()> {
        let records = read(self.folder.join("metrics.jsonl"))?;
        write_file(&self.folder.join("plot.png"), &plot(&records, title)?)
    }

    /// Writes a set of samples and its sheet; returns the sheet's path.
    pub(crate) fn samples(
        &mut self,
        step: u64,
        clips: &[Clip],
        unix_seconds: f64,
    ) -> Result<PathBuf> {
        let folder = self.folder.join("samples");
        std::fs::create_dir_all(&folder).map_err(|error| CheckpointError::write(&folder, error))?;
        for (index, clip) in clips
            .iter()
            .enumerate()
            .filter(|(_, clip)| clip.frames().len() > 1)
        {
            let path = folder.join(format!("step-{step:08}-{index}.mp4"));
            if let Err(error) = vldm_media::write(&path, clip, &WriteOptions::default()) {
                // Samples of a young network are noise, which a video encoder may refuse.
                tracing::warn!("{}: {error}; written as GIF", path.display());
                vldm_media::write(path.with_extension("gif"), clip, &WriteOptions::default())?;
            }
        }
        let path = folder.join(format!("step-{step:08}.png"));
        vldm_media::write_image(&path, &sheet(clips)?, &WriteOptions::default())?;
        let png = std::fs::read(&path).map_err(|error| CheckpointError::read(&path, error))?;
        let at = Moment { step, unix_seconds };
        self.events(unix_seconds)?.image(at, "samples", &png)?;
        Ok(path)
    }
}

/// Clips in rows; pictures beside each other.
fn sheet(clips: &[Clip]) -> Result<Frame> {
    let longest = clips.iter().map(Clip::num_frames).max().unwrap_or(1);
    if longest > 1 {
        return Ok(contact_sheet_of(
            &clips.iter().collect::<Vec<_>>(),
            longest.min(8),
        )?);
    }
    let frames: Vec<Frame> = clips
        .iter()
        .flat_map(|clip| clip.frames().iter().cloned())
        .collect();
    let columns = frames.len();
    Ok(contact_sheet(&Clip::new(frames, Fps::FILM)?, columns)?)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |out| {
        std::io::Write::write_all(out, bytes).map_err(|error| CheckpointError::write(path, error))
    })?;
    Ok(())
}
