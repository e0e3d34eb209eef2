//! Convolutions with kernel 3×3 and stride 1 in a quarter of the multiplications.
//!
//! An output tile of 4×4 is an inverse transform of products, element by element, of transforms
//! of the 6×6 inputs under it and of the kernel: F(4×4, 3×3). The sums over input channels are
//! then 36 matrix products, one per element of a tile. What is saved is paid for in rounding: an
//! output differs from the direct sum by some 1e-6 of the outputs' standard deviation.
//!
//! # Source
//! Lavin and Gray 2016 (arXiv:1509.09308), section 4.3.

#[cfg(test)]
mod tests;
mod transform;
mod weight;

use std::ops::Range;

use rayon::prelude::*;

use super::super::element::{Element, convert_into};
use super::super::level::Level;
use super::super::product::{Left, Right, Sink, Sums, product_of_task};
use super::super::shared::Shared;
use super::sinks::{Additions, Output};
use super::{Axis, Conv};
use crate::memory::pool::Buffer;
use transform::{transform_input, transform_kernels, transform_output};

/// Outputs of a tile along an axis.
const OUT: usize = 4;

/// Inputs of a tile along an axis.
const IN: usize = 6;

/// Elements of a transformed tile.
const POINTS: usize = IN * IN;

/// Channels transformed at once.
const LANES: usize = 16;

/// Fewest outputs of an image for which transforming the kernel pays.
const LEAST_OUTPUTS: usize = 512;

/// Largest product of input and output channels for which it pays, and fits.
const MOST_WEIGHTS: usize = 640 * 1024;

/// Transformed values held at once: strips of tiles are as long as this allows.
const STRIP: usize = 8 << 20;

/// An image convolution of this kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Winograd {
    images: usize,
    /// Height and width.
    axes: [Axis; 2],
    inputs: [usize; 2],
    outputs: usize,
    /// Whether the kernel is that of the convolution whose gradient this is: its taps are read in
    /// reverse, and its inputs and outputs change places.
    reversed: bool,
}

impl Winograd {
    /// The convolution, if it is of this kind and large enough; depends on one image only.
    pub(super) fn forward(conv: &Conv) -> Option<Self> {
        Self::plain(conv)?.if_fitting()
    }

    /// The convolution, if it is of this kind.
    fn plain(conv: &Conv) -> Option<Self> {
        let [time, height, width] = conv.axes;
        let is_square = [height, width]
            .iter()
            .all(|axis| axis.kernel == 3 && axis.stride == 1);
        let is_plain = time == Axis::point(time.input) && is_square;
        is_plain.then_some(Self {
            images: conv.batch * time.input,
            axes: [height, width],
            inputs: conv.inputs,
            outputs: conv.outputs,
            reversed: false,
        })
    }

    /// The gradient of its input, which is the convolution of the gradient of its output with the
    /// kernel reversed.
    pub(super) fn backward(conv: &Conv) -> Option<Self> {
        let plain = Self::plain(conv)?;
        let turned = |axis: Axis| Axis {
            input: axis.output(),
            scaled: axis.output(),
            before: 2usize.wrapping_sub(axis.before),
            after: 2usize.wrapping_sub(axis.after),
            ..axis
        };
        let is_padded_less = |axis: &Axis| axis.before <= 2 && axis.after <= 2;
        if !plain.axes.iter().all(is_padded_less) {
            return None;
        }
        Self {
            axes: plain.axes.map(turned),
            inputs: [conv.outputs, 0],
            outputs: conv.inputs.iter().sum(),
            reversed: true,
            ..plain
        }
        .if_fitting()
    }

    fn if_fitting(self) -> Option<Self> {
        let outputs: usize = self.axes.iter().map(Axis::output).product();
        (outputs >= LEAST_OUTPUTS && self.channels_fit()).then_some(self)
    }

    fn channels_fit(&self) -> bool {
        let channels = self.input_channels();
        channels.min(self.outputs) >= 32 && channels * self.outputs <= MOST_WEIGHTS
    }

    fn input_channels(&self) -> usize {
        self.inputs.iter().sum()
    }

    /// Tiles down, and across an image.
    fn tiles(&self) -> [usize; 2] {
        self.axes.map(|axis| axis.output().div_ceil(OUT))
    }

    /// Computes it; `weight` is `[taps, inputs, outputs]`, or `[taps, outputs, inputs]` if reversed.
    pub(super) fn run<T: Element, W: Element>(
        &self,
        level: Level,
        x: [&[T]; 2],
        weight: &[W],
        sink: &impl Sink,
    ) {
        let [channels, outputs] = [self.input_channels(), self.outputs];
        let kernels = self.transformed_kernels(level, weight);
        let all = self.images * self.tiles().iter().product::<usize>();
        let strip = (STRIP / (POINTS * (channels + outputs)))
            .max(LANES)
            .min(all.max(1));
        let mut values = Buffer::<f32>::new(POINTS * strip * channels);
        let mut sums = Buffer::<f32>::new(POINTS * strip * outputs);
        for start in (0..all).step_by(strip) {
            let tiles = start..(start + strip).min(all);
            self.transform_inputs(level, x, tiles.clone(), &mut values);
            let count = tiles.len();
            let points = sums.par_chunks_mut(strip * outputs).enumerate();
            points.for_each(|(point, sums)| {
                let left = Matrix {
                    values: &values[point * strip * channels..][..count * channels],
                    columns: channels,
                };
                let right = Right {
                    values: &kernels[point * channels * outputs..][..channels * outputs],
                    columns: outputs,
                    inner: self.reversed.then_some(channels),
                };
                let to = Output::new(&mut sums[..count * outputs], outputs, Additions::default());
                product_of_task(level, [count, channels], &left, right, &to);
            });
            self.deliver(level, tiles, &sums, strip, sink);
        }
    }

    /// `[POINTS, inputs, outputs]`, or `[POINTS, outputs, inputs]` if reversed.
    fn transformed_kernels<W: Element>(&self, level: Level, weight: &[W]) -> Buffer<f32> {
        let [channels, outputs] = [self.input_channels(), self.outputs];
        let plane = channels * outputs;
        assert_eq!(weight.len(), 9 * plane);
        let mut kernels = Buffer::<f32>::new(POINTS * plane);
        let to = Shared::new(&mut kernels);
        (0..channels).into_par_iter().for_each(|channel| {
            let place = channel * outputs..(channel + 1) * outputs;
            transform_kernels(level, weight, plane, place, self.reversed, &to);
        });
        kernels
    }

    /// Fills `values`, `[POINTS, strip, inputs]`.
    fn transform_inputs<T: Element>(
        &self,
        level: Level,
        x: [&[T]; 2],
        tiles: Range<usize>,
        values: &mut [f32],
    ) {
        let point = values.len() / POINTS;
        let channels = self.input_channels();
        let to = Shared::new(values);
        tiles
            .clone()
            .into_par_iter()
            .with_min_len(4)
            .for_each(|tile| {
                let pixels = self.pixels(tile);
                let start = (tile - tiles.start) * channels;
                let [first, second] = self.inputs;
                transform_input(level, x[0], &pixels, [first, start, point], &to);
                if second > 0 {
                    transform_input(level, x[1], &pixels, [second, start + first, point], &to);
                }
            });
    }

    /// The pixels under a tile; none outside.
    fn pixels(&self, tile: usize) -> [Option<usize>; POINTS] {
        let [down, across] = self.tiles();
        let (image, place) = (tile / (down * across), tile % (down * across));
        let corner = [place / across * OUT, place % across * OUT];
        let [height, width] = self.axes;
        std::array::from_fn(|at| {
            let offset = [at / IN, at % IN];
            let source = |axis: &Axis, which: usize| {
                let at = (corner[which] + offset[which]).checked_sub(axis.before)?;
                (at < axis.scaled).then(|| at * axis.input / axis.scaled)
            };
            let (y, x) = (source(&height, 0)?, source(&width, 1)?);
            Some((image * height.input + y) * width.input + x)
        })
    }

    /// Transforms the sums `[POINTS, strip, outputs]` back, and hands them over.
    fn deliver(
        &self,
        level: Level,
        tiles: Range<usize>,
        sums: &[f32],
        strip: usize,
        sink: &impl Sink,
    ) {
        let [height, width] = self.axes.map(|axis| axis.output());
        let [down, across] = self.tiles();
        tiles
            .clone()
            .into_par_iter()
            .with_min_len(4)
            .for_each(|tile| {
                // As many columns at once as a sink takes.
                const COLUMNS: usize = 64;
                let mut lines = [0.0; OUT * OUT * COLUMNS];
                let (image, place) = (tile / (down * across), tile % (down * across));
                let (top, left) = (place / across * OUT, place % across * OUT);
                for start in (0..self.outputs).step_by(COLUMNS) {
                    let columns = start..(start + COLUMNS).min(self.outputs);
                    let from = &sums[(tile - tiles.start) * self.outputs + start..];
                    let size = [columns.len(), strip * self.outputs, COLUMNS];
                    transform_output(level, from, size, &mut lines);
                    for y in top..(top + OUT).min(height) {
                        let row = (image * height + y) * width + left;
                        let count = OUT.min(width - left);
                        sink.write(
                            level,
                            Sums {
                                rows: row..row + count,
                                columns: columns.clone(),
                                values: &lines[(y - top) * OUT * COLUMNS..],
                                stride: COLUMNS,
                                pair: 0,
                            },
                        );
                    }
                }
            });
    }
}

/// A matrix in memory as the left operand.
struct Matrix<'a> {
    values: &'a [f32],
    columns: usize,
}

impl Left for Matrix<'_> {
    const DEPTH_FIRST: bool = false;

    fn copy<E: Element>(
        &self,
        level: Level,
        rows: Range<usize>,
        depth: Range<usize>,
        block: &mut [E],
        stride: usize,
    ) {
        let from = &self.values[rows.start * self.columns..rows.end * self.columns];
        copy_rows(level, from, self.columns, depth, block, stride);
    }
}

leveled! {
    /// Copies the `used` columns of a matrix to a block of `stride`.
    fn copy_rows<E: Element>(
        level,
        from: &[f32],
        columns: usize,
        used: Range<usize>,
        block: &mut [E],
        stride: usize,
    ) {
        for (row, from) in from.chunks_exact(columns).enumerate() {
            let to = &mut block[row * stride..][..used.len()];
            convert_into(&from[used.clone()], to);
        }
    }
}
