//! What an earlier run left in a cache: kept when it is whole, else taken out.

use std::fs;
use std::path::Path;

use super::index::{self, Line};
use crate::checkpoint::CheckpointError;
use crate::error::Result;

/// Looks at the files of a cache, one at a time.
#[derive(Debug)]
pub(super) struct Existing {
    waiting: std::vec::IntoIter<Line>,
    good: Vec<Line>,
    damaged: Vec<String>,
    bad_lines: usize,
    total: usize,
}

impl Existing {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        remove_partial(folder)?;
        let (lines, bad_lines) = index::read(folder)?;
        Ok(Self {
            total: lines.len(),
            waiting: lines.into_iter(),
            good: Vec::new(),
            damaged: Vec::new(),
            bad_lines,
        })
    }

    /// Verifies the next file; says how many lines are behind us and how many there are.
    pub(super) fn step(&mut self, folder: &Path) -> Option<(usize, usize)> {
        let line = self.waiting.next()?;
        match line.file().map(|file| (file, file.verify(folder))) {
            Some((file, Err(reason))) => {
                tracing::warn!("{reason}: it is made anew");
                self.damaged.push(file.name.clone());
            }
            _ => self.good.push(line),
        }
        Some((self.total - self.waiting.len(), self.total))
    }

    /// Takes out what is damaged; returns what is whole, and how much was not.
    pub(super) fn finish(self, folder: &Path) -> Result<(Vec<Line>, usize)> {
        let lost = self.damaged.len() + self.bad_lines;
        if lost > 0 {
            index::rewrite(folder, &self.good)?;
        }
        for name in &self.damaged {
            remove(&folder.join(name))?;
        }
        Ok((self.good, lost))
    }
}

/// Takes out the embeddings of all prompts.
pub(super) fn remove_prompts(folder: &Path) -> Result<()> {
    let (lines, _) = index::read(folder)?;
    let is_prompts = |line: &Line| matches!(line, Line::Prompts { .. });
    let (prompts, others): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(is_prompts);
    index::rewrite(folder, &others)?;
    let mut files = prompts.iter().filter_map(Line::file);
    files.try_for_each(|file| remove(&folder.join(&file.name)))
}

/// What was being written when an earlier run was killed.
fn remove_partial(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| CheckpointError::read(folder, error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".vldm-") && name.ends_with(".partial") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CheckpointError::write(path, error).into())
        }
        _ => Ok(()),
    }
}

/// The number of the next file of a kind (`"latents"`).
pub(super) fn next_number(lines: &[Line], kind: &str) -> usize {
    let number = |line: &Line| -> Option<usize> {
        let name = line.file()?.name.strip_prefix(kind)?.strip_prefix('-')?;
        name.strip_suffix(".safetensors")?.parse().ok()
    };
    let last = lines.iter().filter_map(number).max();
    last.map_or(0, |last| last.saturating_add(1))
}
