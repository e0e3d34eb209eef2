//! A picture of a run: training loss, held-out loss at each noise level, learning rate.
//!
//! Drawn with tiny-skia and a font of our own, because the picture has to look the same on
//! machines without fonts.

mod axis;
mod canvas;
mod curves;
mod font;
mod labels;
mod page;
mod panel;

use super::record::Record;
use crate::{Error, Result};

/// Width of a plot in pixels.
pub const PLOT_WIDTH: u32 = 1200;
/// Height of a plot in pixels.
pub const PLOT_HEIGHT: u32 = 800;

/// Draws a run: the bytes of an RGB PNG file of [`PLOT_WIDTH`] × [`PLOT_HEIGHT`] pixels.
///
/// The training loss stands on top, each step faint and a running mean strong; below it, as far
/// as there are any, the held-out losses at each noise level and their mean; then the learning
/// rate. Losses that span more than a decade stand on a logarithmic axis. Of more than a thousand
/// steps, the highest and the lowest thousandth may lie outside. Steps that were skipped, or
/// whose loss is not finite, are marked below. A legend beside each panel tells the last values;
/// of many noise levels it names some. Records may come in any order and any number.
///
/// # Errors
///
/// When there is no memory for the picture.
pub fn plot(records: &[Record], title: &str) -> Result<Vec<u8>> {
    let unable = |problem: &str| Error::Input(format!("cannot draw the plot: {problem}"));
    let curves = curves::Curves::of(records);
    let mut canvas = canvas::Canvas::new(PLOT_WIDTH, PLOT_HEIGHT)
        .ok_or_else(|| unable("there is no memory for its pixels"))?;
    page::draw(&mut canvas, &curves, title);
    canvas.png().map_err(|error| unable(&error.to_string()))
}

#[cfg(test)]
mod tests;
