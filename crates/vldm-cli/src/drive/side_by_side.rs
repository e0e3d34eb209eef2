//! Several clips of one size in one picture.

use std::path::{Path, PathBuf};

use vldm::Error;
use vldm_media::{Clip, ClipWriter, Frame, ReadOptions, WriteOptions};

/// Pixels between two clips.
const GAP: u32 = 4;
const COLUMNS: u32 = 2;

/// Width and height of so many clips of this size beside each other.
pub(super) fn size(clips: usize, (width, height): (u32, u32)) -> (u32, u32) {
    let columns = clips.clamp(1, COLUMNS as usize) as u32;
    let rows = (clips as u32).div_ceil(columns);
    (
        columns * width + (columns - 1) * GAP,
        rows * height + (rows - 1) * GAP,
    )
}

/// Writes the clips at `paths` beside each other, two in a row.
pub(super) fn write(out: &Path, paths: &[PathBuf]) -> anyhow::Result<()> {
    let clips: Vec<Clip> = paths
        .iter()
        .map(|path| vldm_media::read(path, &ReadOptions::default()))
        .collect::<Result<_, _>>()?;
    let first = clips
        .first()
        .ok_or_else(|| Error::Input("no clips to show side by side".into()))?;
    let (width, height) = (first.width(), first.height());
    let size = size(clips.len(), (width, height));
    let mut writer = ClipWriter::create(out, size, first.fps(), &WriteOptions::default())?;
    let frames = clips.iter().map(Clip::num_frames).min().unwrap_or(0);
    for number in 0..frames {
        let mut picture = Frame::filled(size.0, size.1, [255; 3])?;
        for (index, clip) in clips.iter().enumerate() {
            let (column, row) = (index as u32 % COLUMNS, index as u32 / COLUMNS);
            let place = (column * (width + GAP), row * (height + GAP));
            picture.paste(&clip.frames()[number], place.0, place.1);
        }
        writer.push(&picture)?;
    }
    Ok(writer.finish()?)
}
