//! Pictures of what is there, for people.

use std::fs;
use std::path::{Path, PathBuf};

use vldm_media::{Clip, Fps, Frame, contact_sheet_of, write_image};

use super::Shown;
use super::read::SHOWN;
use crate::data::record::{ClipRecord, Quarantined, save_whole};
use crate::error::{Error, Result};

/// Contact sheet: a row per clip.
const SHEET: &str = "vldm-scan.png";
/// Which clips its rows show.
const LEGEND: &str = "vldm-scan-rows.txt";
/// Why clips are quarantined.
const QUARANTINE: &str = "vldm-scan-quarantine.txt";

/// The rows of a contact sheet.
#[derive(Debug, Default)]
pub(super) struct Previews {
    rows: Vec<(String, Vec<Frame>)>,
}

impl Previews {
    pub(super) fn add(&mut self, record: &ClipRecord, frames: Shown) {
        if !frames.is_empty() {
            self.rows.push((record.id.clone(), frames));
        }
    }

    /// Writes the sheet, its legend and the quarantine into a folder; what is empty is left out,
    /// and what an earlier scan left of it removed.
    pub(super) fn write(&self, out: &Path, quarantine: &[Quarantined]) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let clips = self.rows.iter();
        let clips = clips.map(|(_, frames)| Clip::new(frames.clone(), Fps::FILM));
        let clips = clips.collect::<vldm_media::Result<Vec<Clip>>>()?;
        let sheet = out.join(SHEET);
        if clips.is_empty() {
            remove(&sheet)?;
        } else {
            let picture = contact_sheet_of(&clips.iter().collect::<Vec<_>>(), SHOWN)?;
            write_image(&sheet, &picture, &vldm_media::WriteOptions::default())?;
            files.push(sheet);
        }
        let rows = self.rows.iter().zip(1..);
        let rows: Vec<String> = rows
            .map(|((id, _), row)| format!("{row}\t{id}\n"))
            .collect();
        files.extend(text(&out.join(LEGEND), &rows)?);
        let reasons = quarantine.iter();
        let reasons: Vec<String> = reasons
            .map(|q| format!("{}\t{}\n", q.id, q.reason))
            .collect();
        files.extend(text(&out.join(QUARANTINE), &reasons)?);
        Ok(files)
    }
}

fn text(path: &Path, lines: &[String]) -> Result<Option<PathBuf>> {
    if lines.is_empty() {
        remove(path)?;
        return Ok(None);
    }
    save_whole(path, lines.concat().as_bytes())?;
    Ok(Some(path.to_owned()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::Input(format!(
            "{}: cannot remove what an earlier scan wrote: {error}",
            path.display()
        ))),
        _ => Ok(()),
    }
}
