//! Event files, as TensorBoard reads them: `events.out.tfevents.…`.
//!
//! A file is a list of framed `Event` messages (see `frame` and `message`). A run that is resumed
//! begins another file in the same folder; [`EventFile::resume`] tells TensorBoard which points
//! of the earlier ones to forget. The time is the caller's: nothing here reads a clock.

mod frame;
mod message;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::failed;
use super::record::{EvaluationRecord, Record, StepRecord};
use crate::{Error, Result};

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Steps of the optimiser done.
    pub step: u64,
    /// Seconds since 1970.
    pub unix_seconds: f64,
}

/// The name by which TensorBoard knows an event file. It reads a folder's files in the order of
/// their names, and only knows those with `tfevents` in it.
///
/// Characters of `host` other than letters, digits, `.`, `_` and `-` become `_`.
pub fn event_file_name(unix_seconds: u64, host: &str, process: u32) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let host = host.replace(|c| !is_plain(c), "_");
    format!("events.out.tfevents.{unix_seconds:010}.{host}.{process}")
}

/// An event file that is being written. Events reach the system at once, unbuffered.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Begins a file; see [`event_file_name`] for its name.
    ///
    /// # Errors
    ///
    /// When there is such a file already, or it cannot be written.
    pub fn create(path: impl AsRef<Path>, unix_seconds: f64) -> Result<Self> {
        let path = path.as_ref();
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(path)
            .map_err(failed("create", path))?;
        let mut events = Self {
            file,
            path: path.to_path_buf(),
        };
        events.write(&message::first_event(unix_seconds))?;
        Ok(events)
    }

    /// Begins the file of a run that goes on after the step `after.step`: TensorBoard forgets the
    /// later points of the folder's earlier files.
    ///
    /// # Errors
    ///
    /// As [`EventFile::create`].
    pub fn resume(path: impl AsRef<Path>, after: Moment) -> Result<Self> {
        let mut events = Self::create(path, after.unix_seconds)?;
        let next = Moment {
            step: after.step.saturating_add(1),
            ..after
        };
        events.write(&message::event(next, &message::session_start()))?;
        Ok(events)
    }

    /// Writes one value for each tag, as f32. A tag is `group/name`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn scalars<'a>(
        &mut self,
        at: Moment,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<()> {
        let values = values.into_iter();
        let values = values.map(|(tag, value)| message::scalar(tag, value as f32));
        self.write(&message::event(at, &message::summary(values)))
    }

    /// Writes a picture: the bytes of an RGB PNG file.
    ///
    /// # Errors
    ///
    /// When the bytes do not begin as a PNG file does, and when the file cannot be written.
    pub fn image(&mut self, at: Moment, tag: &str, png: &[u8]) -> Result<()> {
        let image = message::image(tag, png).ok_or_else(|| {
            let first = &png[..png.len().min(8)];
            Error::Input(format!(
                "the picture `{tag}` is not a PNG file: it begins with {first:02x?}"
            ))
        })?;
        self.write(&message::event(at, &message::summary([image])))
    }

    /// Writes the numbers of a record: `train/…` of a step, `held_out/…` of an evaluation.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn record(&mut self, record: &Record, unix_seconds: f64) -> Result<()> {
        let step = record.step();
        let values = match record {
            Record::Step(record) => step_values(record),
            Record::Evaluation(record) => evaluation_values(record),
        };
        let values = values.iter().map(|(tag, value)| (tag.as_str(), *value));
        self.scalars(Moment { step, unix_seconds }, values)
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        self.file
            .write_all(&frame::framed(event))
            .map_err(failed("write", &self.path))
    }
}

fn step_values(record: &StepRecord) -> Vec<(String, f64)> {
    let mut values: Vec<_> = [
        ("train/loss", record.loss),
        ("train/learning_rate", record.learning_rate),
        ("train/gradient_norm", record.gradient_norm),
        ("train/skipped", f64::from(u8::from(record.skipped))),
        ("speed/examples_per_second", record.examples_per_second),
        ("speed/waited_share", record.waited_share),
    ]
    .map(|(tag, value)| (tag.to_owned(), value))
    .into();
    let parts = record.parts.iter();
    values.extend(parts.map(|(name, &value)| (format!("train/parts/{name}"), value)));
    values
}

fn evaluation_values(record: &EvaluationRecord) -> Vec<(String, f64)> {
    let losses = record.losses.iter();
    losses
        .map(|(sigma, loss)| (format!("held_out/sigma_{sigma}"), *loss))
        .chain([("held_out/mean".to_owned(), record.mean)])
        .collect()
}

#[cfg(test)]
mod tests;
