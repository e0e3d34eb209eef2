//! The 256 colours of a GIF.
//!
//! One palette serves the whole clip, so that colours do not flicker from frame to frame. Clips
//! with few colours keep them exactly; others are dithered by error diffusion, so that smooth
//! skies do not fall into bands.
//!
//! # Source
//! Dekker 1994, "Kohonen neural networks for optimal colour quantization" (the palette); Floyd and
//! Steinberg 1976, "An adaptive algorithm for spatial grayscale" (the dithering).

use std::collections::HashMap;

use color_quant::NeuQuant;

use crate::frame::{Clip, Frame};

/// The palette is chosen from about so many pixels, evenly spread over the clip.
const SAMPLE: usize = 1 << 18;

/// At most 256 colours, and how to find them.
pub(crate) enum Palette {
    /// All colours of the clip.
    Exact(HashMap<[u8; 3], u8>),
    /// The best of too many.
    Chosen(Box<Chosen>),
}

impl Palette {
    /// The palette of a clip; `effort` from 1 (slowest, best) to 30.
    pub(crate) fn new(clip: &Clip, effort: i32) -> Self {
        let mut exact = HashMap::new();
        let pixels = || {
            clip.frames()
                .iter()
                .flat_map(|frame| frame.rgb().as_chunks::<3>().0)
        };
        for pixel in pixels() {
            let next = exact.len();
            exact.entry(*pixel).or_insert(next as u8);
            if exact.len() > 256 {
                let count = clip.num_frames() * clip.frames()[0].rgb().len() / 3;
                // An odd step, so that no column of pixels is met again and again.
                let step = count.div_ceil(SAMPLE) | 1;
                let sample: Vec<u8> = pixels()
                    .step_by(step)
                    .flat_map(|&[r, g, b]| [r, g, b, 255])
                    .collect();
                return Self::Chosen(Box::new(Chosen::new(&sample, effort)));
            }
        }
        Self::Exact(exact)
    }

    /// The colours, one after the other.
    pub(crate) fn colors(&self) -> Vec<u8> {
        match self {
            Self::Exact(colors) => {
                let mut list = vec![0; colors.len() * 3];
                for (color, &index) in colors {
                    list[usize::from(index) * 3..][..3].copy_from_slice(color);
                }
                list
            }
            Self::Chosen(chosen) => chosen.colors.as_flattened().to_vec(),
        }
    }

    /// The frame in numbers of colours.
    pub(crate) fn apply(&self, frame: &Frame) -> Vec<u8> {
        match self {
            Self::Exact(colors) => frame
                .rgb()
                .as_chunks::<3>()
                .0
                .iter()
                .map(|pixel| colors[pixel])
                .collect(),
            Self::Chosen(chosen) => dither(frame, chosen),
        }
    }
}

/// The eight corners of the box around all colours, and 248 within.
///
/// The network alone stays away from the outermost colours; mixtures of those it has could then
/// never become quite black or white.
pub(crate) struct Chosen {
    network: NeuQuant,
    colors: Vec<[u8; 3]>,
}

impl Chosen {
    const WITHIN: usize = 248;

    fn new(sample: &[u8], effort: i32) -> Self {
        let network = NeuQuant::new(effort.clamp(1, 30), Self::WITHIN, sample);
        let mut colors = network.color_map_rgb().as_chunks::<3>().0.to_vec();
        let (mut low, mut high) = ([255; 3], [0; 3]);
        for pixel in sample.as_chunks::<4>().0 {
            for c in 0..3 {
                low[c] = pixel[c].min(low[c]);
                high[c] = pixel[c].max(high[c]);
            }
        }
        let corner =
            |bits: usize| [0, 1, 2].map(|c| if bits >> c & 1 == 1 { high[c] } else { low[c] });
        colors.extend((0..8).map(corner));
        Self { network, colors }
    }

    /// The nearest colour.
    fn index_of(&self, [r, g, b]: [u8; 3]) -> usize {
        let within = self.network.index_of(&[r, g, b, 255]);
        let distance = |index: &usize| {
            let color = self.colors[*index];
            let apart = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
            apart(color[0], r) + apart(color[1], g) + apart(color[2], b)
        };
        let corners = Self::WITHIN..self.colors.len();
        std::iter::once(within)
            .chain(corners)
            .min_by_key(distance)
            .unwrap_or(within)
    }
}

/// What a pixel lacks is given to its neighbours: 7/16 to the right, 3, 5 and 1 below.
fn dither(frame: &Frame, chosen: &Chosen) -> Vec<u8> {
    let width = frame.width() as usize;
    let mut indices = Vec::with_capacity(width * frame.height() as usize);
    // What this row and the next are owed, with one pixel of margin on both sides.
    let mut here = vec![[0i32; 3]; width + 2];
    let mut below = here.clone();
    for y in 0..frame.height() {
        for (x, pixel) in frame.row(y).as_chunks::<3>().0.iter().enumerate() {
            let owed = here[x + 1];
            let wanted = [0, 1, 2].map(|c| (i32::from(pixel[c]) + owed[c] / 16).clamp(0, 255));
            let index = chosen.index_of(wanted.map(|level| level as u8));
            indices.push(index as u8);
            for c in 0..3 {
                let lack = wanted[c] - i32::from(chosen.colors[index][c]);
                here[x + 2][c] += lack * 7;
                below[x][c] += lack * 3;
                below[x + 1][c] += lack * 5;
                below[x + 2][c] += lack;
            }
        }
        std::mem::swap(&mut here, &mut below);
        below.fill([0; 3]);
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fps::Fps;

    fn clip(frame: Frame) -> Clip {
        Clip::new(vec![frame], Fps::FILM).unwrap()
    }

    #[test]
    fn few_colours_are_kept_exactly() {
        let frame = Frame::from_fn(16, 16, |x, y| [(x * 16) as u8, (y * 16) as u8, 3]).unwrap();
        let palette = Palette::new(&clip(frame.clone()), 10);
        let colors = palette.colors();
        assert_eq!(colors.len(), 256 * 3);
        let painted: Vec<u8> = palette
            .apply(&frame)
            .iter()
            .flat_map(|&index| colors[usize::from(index) * 3..][..3].to_vec())
            .collect();
        assert_eq!(painted, frame.rgb());
    }

    /// Dithering shows the right colour on average, even one that the palette lacks.
    #[test]
    fn averages_are_right() {
        let frame = Frame::from_fn(128, 128, |x, y| {
            [(x * 2) as u8, (y * 2) as u8, (x + y) as u8]
        });
        let frame = frame.unwrap();
        let palette = Palette::new(&clip(frame.clone()), 10);
        let (colors, indices) = (palette.colors(), palette.apply(&frame));
        for (block_x, block_y) in [(16, 16), (48, 80), (96, 32)] {
            let (mut went, mut came) = ([0i32; 3], [0i32; 3]);
            for (x, y) in (0..256).map(|i| (block_x + i % 16, block_y + i / 16)) {
                let index = usize::from(indices[(y * 128 + x) as usize]);
                for c in 0..3 {
                    went[c] += i32::from(frame.pixel(x, y)[c]);
                    came[c] += i32::from(colors[index * 3 + c]);
                }
            }
            for c in 0..3 {
                let off = (went[c] - came[c]).abs() / 256;
                assert!(
                    off <= 3,
                    "channel {c} at {block_x},{block_y} is off by {off}"
                );
            }
        }
    }
}
