//! Convolutions over time, height and width, and their gradients, as products whose left operand
//! is read through a moving window: no matrix of windows is ever built.
//!
//! A convolution over fewer axes has [`Axis::point`] for the others. A linear layer is the
//! convolution of one tap over no axis.

mod sinks;
mod strips;
#[cfg(test)]
mod tests;
mod window;
mod winograd;

use std::ops::Range;

use super::element::{Element, convert_into, same};
use super::level::Level;
use super::product::{
    self as products, Halves, Left, Packing, Right, Sink, in_tiles, product, product_in_parts,
    product_of_strips,
};
use crate::memory::pool::Buffer;
pub use sinks::Additions;
use sinks::{Gated, Output, Split};
use strips::Lines;
pub use window::Axis;
use window::{Visitor, Window};
use winograd::Winograd;

/// Shape of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Samples.
    pub batch: usize,
    /// Frames, height and width.
    pub axes: [Axis; 3],
    /// Channels of the input, which may come as two tensors; the second has none if it is one.
    pub inputs: [usize; 2],
    /// Channels of the output.
    pub outputs: usize,
}

impl Conv {
    /// A linear layer over `rows`.
    pub const fn linear(rows: usize, inputs: usize, outputs: usize) -> Self {
        Self {
            batch: rows,
            axes: [Axis::point(1); 3],
            inputs: [inputs, 0],
            outputs,
        }
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).product()
    }

    /// Positions of the output over all samples.
    pub fn positions(&self) -> usize {
        self.batch * self.axes.iter().map(Axis::output).product::<usize>()
    }

    /// Positions of the input, after it is scaled, over all samples.
    pub fn scaled_positions(&self) -> usize {
        self.batch * self.axes.iter().map(|axis| axis.scaled).product::<usize>()
    }

    fn input_channels(&self) -> usize {
        self.inputs.iter().sum()
    }

    /// A matrix whose columns are the output's channels.
    fn right<'a, W>(&self, values: &'a [W]) -> Right<'a, W> {
        Right {
            values,
            columns: self.outputs,
            inner: None,
        }
    }
}

/// The weight of a forward product.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a, W> {
    /// `[taps, inputs, outputs]`
    Arranged(&'a [W]),
    /// As [`pack`] leaves them: for products of half precision on a level with tiles.
    Packed(&'a [half::bf16]),
}

impl<'a, W> From<&'a [W]> for Weights<'a, W> {
    fn from(values: &'a [W]) -> Self {
        Self::Arranged(values)
    }
}

impl<'a, W> Weights<'a, W> {
    /// Panics where they are packed: only products in tiles read them.
    fn arranged(self) -> &'a [W] {
        match self {
            Self::Arranged(values) => values,
            Self::Packed(_) => panic!("a packed weight where there are no tiles"),
        }
    }
}

/// Columns of a packed weight that lie together.
pub const PACKED_COLUMNS: usize = products::PANEL;

/// Elements of a packed weight of `[outputs, inputs, taps]`.
pub fn packed_len([outputs, inputs, taps]: [usize; 3]) -> usize {
    let (packing, halves) = packed_shape([outputs, inputs, taps]);
    packing.len(halves)
}

fn packed_shape([outputs, inputs, taps]: [usize; 3]) -> (Packing, Halves) {
    let packing = Packing {
        taps: [taps, inputs],
        turned: false,
    };
    let halves = Halves {
        columns: outputs,
        pair: None,
    };
    (packing, halves)
}

/// Packs a weight `[taps, inputs, outputs]` as the tile unit reads it, for good: it is read at every
/// call, and packed at every call otherwise.
pub fn pack<W: Element>(level: Level, dims: [usize; 3], weight: &[W], to: &mut [half::bf16]) {
    let right = Right {
        values: weight,
        columns: dims[0],
        inner: None,
    };
    products::pack(level, right, packed_shape(dims), to);
}

/// Undoes [`pack`]: the weight `[taps, inputs, outputs]`.
pub fn unpack<W: Element>(dims: [usize; 3], packed: &[half::bf16], to: &mut [W]) {
    products::unpack(packed, packed_shape(dims), to);
}

/// The convolution of `x`, plus `additions`.
///
/// # Shapes
/// - `x`: `[batch, frames, height, width, inputs]` each
/// - `weight`: `[taps, inputs, outputs]`, packed or not
/// - `y`: `[batch, frames', height', width', outputs]`
pub fn forward<'w, T: Element, W: Element>(
    level: Level,
    conv: &Conv,
    x: [&[T]; 2],
    weight: impl Into<Weights<'w, W>>,
    additions: Additions<'_, T>,
    y: &mut [T],
) {
    let sink = Output::new(y, conv.outputs, additions);
    let weight = weight.into();
    if let Some(x) = tiled(level, x) {
        return Lines::forward(conv, x).times_weights(level, conv, weight, &sink);
    }
    let weight = weight.arranged();
    if let Some(winograd) = Winograd::forward(conv) {
        return winograd.run(level, x, weight, &sink);
    }
    let left = Columns(Window::forward(conv.batch, &conv.axes, x, conv.inputs));
    left.times(level, conv.right(weight), &sink);
}

/// A linear layer whose output's first half is multiplied by the GELU (erf) of its second half;
/// `halves` gets both as they were before.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - `weight`: `[inputs, 2 * inner]`, packed or not; packed only if `inner` is a multiple of
///   [`PACKED_COLUMNS`]
/// - `bias`: `[2 * inner]`
/// - `y`: `[rows, inner]`
/// - `halves`: `[rows, 2 * inner]`
pub fn linear_geglu<'w, T: Element, W: Element>(
    level: Level,
    conv: &Conv,
    x: &[T],
    weight: impl Into<Weights<'w, W>>,
    bias: Option<&[f32]>,
    y: &mut [T],
    halves: Option<&mut [T]>,
) {
    let sink = Gated::new(y, halves, conv.outputs / 2, bias);
    let weight = weight.into();
    if let Some(x) = tiled(level, [x, &[]]) {
        return Lines::forward(conv, x).times_weights(level, conv, weight, &sink);
    }
    let weight = weight.arranged();
    let left = Columns(Window::forward(
        conv.batch,
        &conv.axes,
        [x, &[]],
        conv.inputs,
    ));
    left.times(level, conv.right(weight), &sink);
}

/// The gradient of the (scaled) input.
///
/// # Shapes
/// - `dy`: `[batch, frames', height', width', outputs]`
/// - `weight`: `[taps, inputs, outputs]`
/// - `dx`: `[batch, frames, height, width, inputs]` each, of the scaled size
pub fn input_gradient<T: Element, W: Element>(
    level: Level,
    conv: &Conv,
    dy: &[T],
    weight: &[W],
    dx: [&mut [T]; 2],
) {
    let sink = Split::new(dx, conv.inputs);
    let right = Right {
        values: weight,
        columns: conv.input_channels(),
        inner: Some(conv.outputs),
    };
    let lines = tiled(level, [dy, &[]]).and_then(|[dy, _]| Lines::backward(conv, dy));
    if let Some(lines) = lines {
        return lines.times(level, conv, right, true, &sink);
    }
    let winograd = Winograd::backward(conv).filter(|_| !in_tiles(level, T::IS_HALF));
    if let Some(winograd) = winograd {
        return winograd.run(level, [dy, &[]], weight, &sink);
    }
    let left = Columns(Window::backward(conv.batch, &conv.axes, dy, conv.outputs));
    left.times(level, right, &sink);
}

/// The gradient of the weight.
///
/// # Shapes
/// - `x`: `[batch, frames, height, width, inputs]` each
/// - `dy`: `[batch, frames', height', width', outputs]`
/// - `dweight`: `[taps, inputs, outputs]`
pub fn weight_gradient<T: Element>(
    level: Level,
    conv: &Conv,
    x: [&[T]; 2],
    dy: &[T],
    dweight: &mut [f32],
) {
    if let Some(winograd) = Winograd::weight(conv).filter(|_| !in_tiles(level, T::IS_HALF)) {
        return winograd.weight_gradient(level, x, dy, dweight);
    }
    let left = Rows(Window::forward(conv.batch, &conv.axes, x, conv.inputs));
    let right = conv.right(dy);
    let size = [left.0.values(), left.0.positions()];
    let sink = Output::new(dweight, conv.outputs, Additions::default());
    product_in_parts(level, T::IS_HALF, size, &left, right, &sink);
}

/// The input in half precision, if the product runs in tiles.
fn tiled<T: Element>(level: Level, x: [&[T]; 2]) -> Option<[&[half::bf16]; 2]> {
    let [first, second] = x;
    if !in_tiles(level, T::IS_HALF) {
        return None;
    }
    Some([same(first)?, same(second)?])
}

impl Lines<'_> {
    /// The product with a weight, which is packed first if it is not.
    fn times_weights<W: Element>(
        &self,
        level: Level,
        conv: &Conv,
        weight: Weights<'_, W>,
        sink: &impl Sink,
    ) {
        let packed = match weight {
            Weights::Arranged(values) => {
                return self.times(level, conv, conv.right(values), false, sink);
            }
            Weights::Packed(packed) => packed,
        };
        let (packing, mut halves) =
            packed_shape([conv.outputs, conv.input_channels(), conv.taps()]);
        if let Some(inner) = sink.pair() {
            assert!(
                inner.is_multiple_of(PACKED_COLUMNS),
                "halves of whole panels"
            );
            halves = Halves {
                columns: inner,
                pair: Some(inner),
            };
        }
        product_of_strips(level, self, packed, (packing, halves), sink);
    }

    /// The product with a weight that is packed first.
    fn times<W: Element>(
        &self,
        level: Level,
        conv: &Conv,
        right: Right<'_, W>,
        turned: bool,
        sink: &impl Sink,
    ) {
        let packing = strips::packing(conv, turned);
        let pair = sink.pair();
        let columns = pair.unwrap_or(right.columns);
        let shape = (packing, Halves { columns, pair });
        let mut packed = Buffer::new(packing.len(shape.1));
        products::pack(level, right, shape, &mut packed);
        product_of_strips(level, self, &packed, shape, sink);
    }
}

/// A window as the operand whose rows are positions.
struct Columns<'a, T>(Window<'a, T>);

impl<T: Element> Columns<'_, T> {
    /// The product with a weight.
    fn times<W: Element>(&self, level: Level, right: Right<'_, W>, sink: &impl Sink) {
        let size = [self.0.positions(), self.0.values()];
        product(level, T::IS_HALF, size, self, right, sink);
    }
}

impl<T: Element> Left for Columns<'_, T> {
    const DEPTH_FIRST: bool = false;

    fn copy<E: Element>(
        &self,
        level: Level,
        rows: Range<usize>,
        depth: Range<usize>,
        block: &mut [E],
        stride: usize,
    ) {
        copy_runs(level, &self.0, rows, depth, block, stride);
    }
}

/// A window as the operand whose depth are positions.
struct Rows<'a, T>(Window<'a, T>);

impl<T: Element> Left for Rows<'_, T> {
    const DEPTH_FIRST: bool = true;

    fn copy<E: Element>(
        &self,
        level: Level,
        rows: Range<usize>,
        depth: Range<usize>,
        block: &mut [E],
        stride: usize,
    ) {
        copy_runs(level, &self.0, depth, rows, block, stride);
    }
}

leveled! {
    /// Copies values `[positions, values]` under a window to a block of `stride`.
    fn copy_runs<T: Element, E: Element>(
        level,
        window: &Window<'_, T>,
        positions: Range<usize>,
        values: Range<usize>,
        block: &mut [E],
        stride: usize,
    ) {
        window.visit(positions, values, &mut Copier { block, stride });
    }
}

/// Copies what it is shown to a block, one position after the other.
struct Copier<'a, E> {
    block: &'a mut [E],
    /// Elements from one position to the next.
    stride: usize,
}

impl<T: Element, E: Element> Visitor<T> for Copier<'_, E> {
    #[inline(always)]
    fn inside(&mut self, position: usize, value: usize, run: &[T]) {
        copy_run(run, &mut self.block[position * self.stride + value..]);
    }

    #[inline(always)]
    fn outside(&mut self, position: usize, value: usize, len: usize) {
        self.block[position * self.stride + value..][..len].fill(E::default());
    }
}

/// Copies a run of values. Those of the smallest networks are copied in place: calling a copy of a
/// few values takes longer than copying them.
#[inline(always)]
fn copy_run<T: Element, E: Element>(from: &[T], to: &mut [E]) {
    #[inline(always)]
    fn few<T: Element, E: Element, const N: usize>(from: &[T], to: &mut [E]) {
        if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
            *to = from.map(|value| E::narrow(value.widen()));
        }
    }
    match from.len() {
        4 => few::<T, E, 4>(from, to),
        8 => few::<T, E, 8>(from, to),
        16 => few::<T, E, 16>(from, to),
        24 => few::<T, E, 24>(from, to),
        32 => few::<T, E, 32>(from, to),
        48 => few::<T, E, 48>(from, to),
        len => convert_into(from, &mut to[..len]),
    }
}
