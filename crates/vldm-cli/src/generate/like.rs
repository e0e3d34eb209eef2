//! `--like`: each sample is told what is known of one clip of a set.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vldm::checkpoint::{CheckpointError, write_atomically};
use vldm::conditioning::boxes::ObjectBox;
use vldm::data::{Fit, Placement, Window};
use vldm::pipeline::Wishes;
use vldm::{Error, Result};

use super::GenerateArgs;
use crate::clips_name::ClipsName;
use crate::output::Outputs;

const METADATA: &str = "metadata.jsonl";

/// What the first `count` clips of a set show: the boxes are those of their middle frames, of which
/// captions speak.
///
/// # Errors
/// [`Error::Input`] when there are fewer clips.
pub(super) fn wishes(set: &ClipsName, count: usize) -> Result<Vec<Wishes>> {
    let source = set.open(count, (1.0, None))?;
    if source.len() < count {
        return Err(Error::Input(format!(
            "{set} has {} clips, --count asks for {count} samples",
            source.len()
        )));
    }
    (0..count)
        .map(|index| {
            let clip = source.clip(index);
            let one_frame = Window {
                frames: 1,
                fps: None,
                height: clip.height,
                width: clip.width,
                fit: Fit::Crop,
            };
            let middle = Placement {
                time: 0.5,
                ..Placement::default()
            };
            let mut clip = source.describe(index, &one_frame, middle)?;
            Ok(Wishes {
                prompt: clip.caption,
                negative_prompt: None,
                labels: clip.labels,
                boxes: clip.boxes.pop().unwrap_or_default(),
            })
        })
        .collect()
}

/// What the samples were asked to show, in the form in which training data says it.
#[derive(Debug)]
pub(super) struct Metadata {
    path: PathBuf,
    lines: String,
}

/// The lines for samples that are to be written; nothing without `--like`.
///
/// # Errors
/// [`Error::Input`] when there is such a file: it speaks of other clips.
pub(super) fn metadata(
    args: &GenerateArgs,
    outputs: &Outputs,
    wishes: &[Wishes],
) -> Result<Option<Metadata>> {
    if args.like.is_none() {
        return Ok(None);
    }
    let first = outputs.paths().first();
    let folder = first.and_then(|path| path.parent());
    let path = folder.unwrap_or(Path::new("")).join(METADATA);
    if path.exists() {
        return Err(Error::Input(format!(
            "{} is there already, and speaks of other clips: write into another folder",
            path.display()
        )));
    }
    let lines = outputs.paths().iter().zip(wishes);
    let lines = lines.map(|(output, wishes)| line(output, wishes)).collect();
    Ok(Some(Metadata { path, lines }))
}

impl Metadata {
    /// Writes the file, when all samples are there.
    pub(super) fn write(&self) -> Result<()> {
        let written = |error| CheckpointError::write(&self.path, error);
        write_atomically(&self.path, |file| {
            file.write_all(self.lines.as_bytes()).map_err(written)
        })?;
        Ok(())
    }
}

fn line(output: &Path, wishes: &Wishes) -> String {
    let name = output.file_name().unwrap_or(output.as_os_str());
    let corners = |b: &ObjectBox| json!([b.x0, b.y0, b.x1, b.y1, b.class]);
    let boxes: Vec<Value> = wishes.boxes.iter().map(corners).collect();
    let mut line = json!({
        "file_name": name.to_string_lossy(),
        "text": wishes.prompt,
        "labels": wishes.labels,
    });
    if !boxes.is_empty() {
        line["boxes"] = json!([boxes]);
    }
    format!("{line}\n")
}
