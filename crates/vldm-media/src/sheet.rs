//! Contact sheets: many frames in one picture.

use crate::error::{Error, Result};
use crate::frame::{Clip, Frame};
use crate::resize::{Filter, resize};

/// Pixels between the frames.
const GAP: u32 = 4;
/// The colour between the frames.
const PAPER: [u8; 3] = [32, 32, 32];
/// The widest sheet; larger frames are shrunk to fit.
const MAX_WIDTH: u32 = 4096;

/// All frames of a clip, row by row, `columns` to a row.
///
/// Frames are shrunk where the sheet would become wider than 4,096 pixels.
///
/// # Errors
/// [`Error::Input`] when `columns` is zero, or too many for a sheet.
pub fn contact_sheet(clip: &Clip, columns: usize) -> Result<Frame> {
    lay(
        &clip.frames().iter().collect::<Vec<_>>(),
        columns.min(clip.num_frames()),
    )
}

/// One row for each clip, `columns` frames in each, evenly spread over its length, first and last
/// included. Frames are fitted to the size of the first clip's.
///
/// # Errors
/// [`Error::Input`] when there are no clips, or `columns` is zero, or too many for a sheet.
pub fn contact_sheet_of(clips: &[&Clip], columns: usize) -> Result<Frame> {
    let frames: Vec<_> = clips
        .iter()
        .flat_map(|clip| {
            let last = clip.num_frames() - 1;
            let steps = columns.saturating_sub(1).max(1);
            (0..columns).map(move |column| &clip.frames()[(column * last + steps / 2) / steps])
        })
        .collect();
    lay(&frames, columns)
}

fn lay(frames: &[&Frame], columns: usize) -> Result<Frame> {
    let Some(first) = frames.first().filter(|_| columns > 0) else {
        return Err(Error::Input(
            "a contact sheet needs a clip and at least one column".into(),
        ));
    };
    let too_many = || Error::Input(format!("{columns} columns do not fit on a contact sheet"));
    let columns = u32::try_from(columns).map_err(|_| too_many())?;
    let room = (MAX_WIDTH - GAP) / columns;
    let width = first.width().min(
        room.checked_sub(GAP)
            .filter(|&w| w > 0)
            .ok_or_else(too_many)?,
    );
    let scaled = u64::from(first.height()) * u64::from(width) / u64::from(first.width());
    let height = (scaled as u32).max(1);
    let rows = (frames.len() as u32).div_ceil(columns);
    let side = |tile: u32, count: u32| GAP + (tile + GAP) * count;
    let mut sheet = Frame::filled(side(width, columns), side(height, rows), PAPER)?;
    for (frame, number) in frames.iter().zip(0..) {
        let tile = resize(frame, width, height, Filter::Area)?;
        let (column, row) = (number % columns, number / columns);
        sheet.paste(&tile, side(width, column), side(height, row));
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fps::Fps;

    fn clip(width: u32, num_frames: u8) -> Clip {
        let frames = (0..num_frames)
            .map(|t| Frame::filled(width, 10, [t; 3]).unwrap())
            .collect();
        Clip::new(frames, Fps::FILM).unwrap()
    }

    #[test]
    fn frames_lie_row_by_row() {
        let sheet = contact_sheet(&clip(20, 5), 3).unwrap();
        assert_eq!(sheet.size(), (4 + 3 * 24, 4 + 2 * 14));
        assert_eq!(sheet.pixel(0, 0), PAPER);
        assert_eq!(sheet.pixel(4, 4), [0; 3]);
        assert_eq!(sheet.pixel(4 + 24 * 2, 4), [2; 3]);
        assert_eq!(sheet.pixel(4 + 24, 4 + 14), [4; 3]);
        assert_eq!(sheet.pixel(4 + 48, 4 + 14), PAPER);
        assert_eq!(contact_sheet(&clip(20, 1), 8).unwrap().size(), (28, 18));
    }

    #[test]
    fn clips_lie_below_each_other() {
        let (long, short) = (clip(8, 9), clip(16, 1));
        let sheet = contact_sheet_of(&[&long, &short], 3).unwrap();
        let at = |column: u32, row: u32| sheet.pixel(4 + 12 * column, 4 + 14 * row)[0];
        assert_eq!([at(0, 0), at(1, 0), at(2, 0)], [0, 4, 8]);
        assert_eq!([at(0, 1), at(1, 1), at(2, 1)], [0, 0, 0]);
        assert!(contact_sheet_of(&[&long], 1).is_ok());
    }

    #[test]
    fn wide_frames_are_shrunk() {
        let sheet = contact_sheet(&clip(3000, 4), 4).unwrap();
        assert!(sheet.width() <= MAX_WIDTH);
        assert!(contact_sheet(&clip(2, 1), 0).is_err());
        assert!(contact_sheet_of(&[&clip(2, 1)], 5000).is_err());
        assert!(contact_sheet_of(&[], 2).is_err());
    }
}
