//! The gradient of the kernel: the same transforms, turned.
//!
//! Where an output is Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, the gradient of the kernel is
//! Gᵀ[(Bᵀ d B) ⊙ (A dy Aᵀ)]G, summed over tiles: 36 products over the tiles.

use std::ops::Range;

use rayon::prelude::*;

use super::super::super::element::Element;
use super::super::super::level::Level;
use super::super::super::product::{Left, Right, product_of_task};
use super::super::super::shared::Shared;
use super::super::Conv;
use super::super::sinks::{Additions, Output};
use super::transform::{transform_gradient, transform_kernel_gradients};
use super::{LANES, OUT, POINTS, Winograd, copy_rows};
use crate::memory::pool::Buffer;

/// Transformed values held at once: the sums run over a strip of tiles before they are added up.
const STRIP: usize = 8 << 20;

/// Fewest tiles for which 36 products of that depth and their transforms pay.
const LEAST_TILES: usize = 64;

impl Winograd {
    /// The gradient of the kernel of a convolution, if it is of this kind and large enough. It sums
    /// over all images, so all of them count.
    pub(in super::super) fn weight(conv: &Conv) -> Option<Self> {
        let all = Self::plain(conv)?;
        let tiles = all.images * all.tiles().iter().product::<usize>();
        // Tiles that are hardly filled save nothing.
        let fits = tiles >= LEAST_TILES && conv.positions() >= tiles * OUT * OUT / 2;
        (fits && all.channels_fit()).then_some(all)
    }

    /// Computes it; `dweight` is `[taps, inputs, outputs]`.
    pub(in super::super) fn weight_gradient<T: Element>(
        &self,
        level: Level,
        x: [&[T]; 2],
        dy: &[T],
        dweight: &mut [f32],
    ) {
        let [channels, outputs] = [self.input_channels(), self.outputs];
        let plane = channels * outputs;
        assert_eq!(dweight.len(), 9 * plane);
        let all = self.images * self.tiles().iter().product::<usize>();
        let strip = (STRIP / (POINTS * (channels + outputs)))
            .max(LANES)
            .min(all.max(1));
        let mut values = Buffer::<f32>::new(POINTS * strip * channels);
        let mut gradients = Buffer::<f32>::new(POINTS * strip * outputs);
        let mut sums = Buffer::<f32>::new(POINTS * plane);
        for start in (0..all).step_by(strip) {
            let tiles = start..(start + strip).min(all);
            let count = tiles.len();
            self.transform_inputs(level, x, tiles.clone(), &mut values);
            self.transform_gradients(level, dy, tiles, &mut gradients);
            sums.par_chunks_mut(plane)
                .enumerate()
                .for_each(|(point, sums)| {
                    let left = Turned {
                        values: &values[point * strip * channels..][..count * channels],
                        columns: channels,
                    };
                    let right = Right {
                        values: &gradients[point * strip * outputs..][..count * outputs],
                        columns: outputs,
                        inner: None,
                    };
                    let product = |to: &mut [f32]| {
                        let to = Output::new(to, outputs, Additions::default());
                        product_of_task(level, [channels, count], &left, right, &to);
                    };
                    if start == 0 {
                        return product(sums);
                    }
                    let mut part = Buffer::<f32>::new(plane);
                    product(&mut part);
                    for (sum, part) in sums.iter_mut().zip(&*part) {
                        *sum += part;
                    }
                });
        }
        let to = Shared::new(dweight);
        (0..channels).into_par_iter().for_each(|channel| {
            let place = channel * outputs..(channel + 1) * outputs;
            transform_kernel_gradients(level, &sums, plane, place, &to);
        });
    }

    /// Fills `values`, `[POINTS, strip, outputs]`.
    fn transform_gradients<T: Element>(
        &self,
        level: Level,
        dy: &[T],
        tiles: Range<usize>,
        values: &mut [f32],
    ) {
        let point = values.len() / POINTS;
        let to = Shared::new(values);
        tiles
            .clone()
            .into_par_iter()
            .with_min_len(4)
            .for_each(|tile| {
                let start = (tile - tiles.start) * self.outputs;
                let place = [self.outputs, start, point];
                transform_gradient(level, dy, &self.outputs_of(tile), place, &to);
            });
    }

    /// The outputs in a tile; none outside.
    fn outputs_of(&self, tile: usize) -> [Option<usize>; OUT * OUT] {
        let [down, across] = self.tiles();
        let [height, width] = self.axes.map(|axis| axis.output());
        let (image, place) = (tile / (down * across), tile % (down * across));
        let (top, left) = (place / across * OUT, place % across * OUT);
        std::array::from_fn(|at| {
            let (y, x) = (top + at / OUT, left + at % OUT);
            (y < height && x < width).then(|| (image * height + y) * width + x)
        })
    }
}

/// A matrix in memory as the left operand whose depth are its rows.
struct Turned<'a> {
    values: &'a [f32],
    columns: usize,
}

impl Left for Turned<'_> {
    const DEPTH_FIRST: bool = true;

    fn copy<E: Element>(
        &self,
        level: Level,
        rows: Range<usize>,
        depth: Range<usize>,
        block: &mut [E],
        stride: usize,
    ) {
        let from = &self.values[depth.start * self.columns..depth.end * self.columns];
        copy_rows(level, from, self.columns, rows, block, stride);
    }
}
