//! The record of a run on disk: one JSON object per line, appended as the run goes.
//!
//! A run that was killed and goes on from a checkpoint does some steps again. Its file is cut
//! back to the checkpoint first, so that in the end it is the file of a run that was never
//! interrupted, except for what was measured with a clock.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::failed;
use super::record::Record;
use crate::{Error, Result};

/// A file of [`Record`]s, open for more of them.
#[derive(Debug)]
pub struct MetricsFile {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines.
    length: u64,
}

impl MetricsFile {
    /// Opens the file of a new run, or of one that goes on after the step `resume_after`.
    ///
    /// To go on, lines of later steps and a last line that was not written to its end are cut
    /// off: what is left is written beside the file and renamed, so that being killed here loses
    /// nothing. Lines that stay keep their bytes. A file that is not there begins empty.
    ///
    /// # Errors
    ///
    /// When a new run finds the records of another; when a line is not a [`Record`] (the last
    /// one excepted, if its end is missing); and when the file cannot be read or written.
    pub fn open(path: impl AsRef<Path>, resume_after: Option<u64>) -> Result<Self> {
        let path = path.as_ref();
        if path.exists() {
            let step = resume_after.map_or_else(|| refuse_records(path).map(|()| 0), Ok)?;
            cut_after(path, step)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(failed("open", path))?;
        let length = file.metadata().map_err(failed("read", path))?.len();
        Ok(Self {
            file,
            path: path.to_path_buf(),
            length,
        })
    }

    /// Appends a line. Other programs see it at once; see [`MetricsFile::sync`] for power cuts.
    ///
    /// # Errors
    ///
    /// When the line cannot be written; of a line that was written in part nothing is left.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record)
            .map_err(|error| failed("write", &self.path)(error.into()))?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // If this fails too, the torn line is cut off when the run goes on.
            let _ = self.file.set_len(self.length);
            return Err(failed("write", &self.path)(error));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Puts all lines on the disk for good: to be called before a checkpoint is written, which
    /// must not outlive the lines of its steps.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(failed("sync", &self.path))
    }
}

/// All records of a file, in its order, without a last line that was not written to its end.
///
/// # Errors
///
/// When the file cannot be read or another line is not a [`Record`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    visit(path.as_ref(), |_, record| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

/// Shows every line, without its line break, and the record in it. Says whether each byte of the
/// file belongs to a line that is whole.
fn visit(path: &Path, mut see: impl FnMut(&[u8], Record) -> Result<()>) -> Result<bool> {
    let mut reader = BufReader::new(File::open(path).map_err(failed("open", path))?);
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        if read.map_err(failed("read", path))? == 0 {
            break;
        }
        let is_ended = line.pop_if(|last| *last == b'\n').is_some();
        match serde_json::from_slice(&line) {
            Ok(record) => see(&line, record)?,
            // What is a record although its line break is missing was written in full.
            Err(_) if !is_ended => return Ok(false),
            Err(error) => {
                return Err(Error::Input(format!(
                    "line {number} of `{}` is not a record of training: {error}; remove the line \
                     or give another file",
                    path.display()
                )));
            }
        }
        if !is_ended {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Keeps a new run from going on in the file of another.
fn refuse_records(path: &Path) -> Result<()> {
    visit(path, |_, record| {
        Err(Error::Input(format!(
            "`{}` already holds a run, beginning with step {}: resume that run, or choose another \
             folder for the new one",
            path.display(),
            record.step()
        )))
    })
    .map(drop)
}

/// Removes all lines of steps after `step`, and a torn last one.
fn cut_after(path: &Path, step: u64) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let temporary = NamedTempFile::new_in(folder).map_err(failed("write beside", path))?;
    let mut writer = BufWriter::new(temporary);
    let mut is_cut = false;
    let is_whole = visit(path, |line, record| {
        if record.step() > step {
            is_cut = true;
            return Ok(());
        }
        writer
            .write_all(line)
            .and_then(|()| writer.write_all(b"\n"))
            .map_err(failed("write beside", path))
    })?;
    if is_whole && !is_cut {
        return Ok(());
    }
    let temporary = writer
        .into_inner()
        .map_err(|error| failed("write beside", path)(error.into_error()))?;
    // Temporary files are private; the new one is for whom the old one was for.
    let permissions = fs::metadata(path).map(|metadata| metadata.permissions());
    permissions
        .and_then(|permissions| temporary.as_file().set_permissions(permissions))
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(failed("write beside", path))?;
    temporary
        .persist(path)
        .map_err(|error| failed("replace", path)(error.error))?;
    // Makes the new name last, where the system can open folders.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
