//! A kernel that moves over an image or a clip: which input lies under which tap.

use std::ops::Range;

use super::super::element::Element;

/// Stands for "outside: zero" in a table.
const OUTSIDE: u32 = u32::MAX;

/// How one axis of a convolution is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Size of the input as it is stored.
    pub input: usize,
    /// Size the input is repeated to before the convolution ("nearest"); `input` for none.
    pub scaled: usize,
    /// Taps of the kernel.
    pub kernel: usize,
    /// Step between outputs, at least 1.
    pub stride: usize,
    /// Zeros before the first input.
    pub before: usize,
    /// Zeros behind the last input.
    pub after: usize,
}

impl Axis {
    /// An axis that the kernel does not extend over.
    pub const fn point(size: usize) -> Self {
        Self {
            input: size,
            scaled: size,
            kernel: 1,
            stride: 1,
            before: 0,
            after: 0,
        }
    }

    /// Number of outputs; the padded input must be at least as large as the kernel.
    pub const fn output(&self) -> usize {
        (self.scaled + self.before + self.after - self.kernel) / self.stride + 1
    }

    /// For each output and tap, the input under it.
    fn forward(&self) -> Table {
        Table::new(self.output(), self.kernel, |output, tap| {
            let at = (output * self.stride + tap).checked_sub(self.before)?;
            (at < self.scaled).then(|| at * self.input / self.scaled)
        })
    }

    /// For each (scaled) input and tap, the output that read it through the tap.
    fn backward(&self) -> Table {
        Table::new(self.scaled, self.kernel, |input, tap| {
            let at = (input + self.before).checked_sub(tap)?;
            let is_output = at.is_multiple_of(self.stride) && at / self.stride < self.output();
            is_output.then(|| at / self.stride)
        })
    }
}

/// Source index of each position and tap of an axis.
#[derive(Debug, Clone)]
struct Table {
    positions: usize,
    taps: usize,
    /// `[positions, taps]`
    source: Vec<u32>,
}

impl Table {
    fn new(positions: usize, taps: usize, source: impl Fn(usize, usize) -> Option<usize>) -> Self {
        let at = |index: usize| source(index / taps, index % taps).map_or(OUTSIDE, |at| at as u32);
        Self {
            positions,
            taps,
            source: (0..positions * taps).map(at).collect(),
        }
    }
}

/// Pixels under a moving kernel, of one tensor or of two read as concatenated along channels.
#[derive(Debug, Clone)]
pub(super) struct Window<'a, T> {
    batch: usize,
    tables: [Table; 3],
    source: [usize; 3],
    inputs: [&'a [T]; 2],
    channels: [usize; 2],
}

impl<'a, T: Element> Window<'a, T> {
    /// What each output reads of the `inputs` `[batch, input axes.., channels]`.
    pub(super) fn forward(
        batch: usize,
        axes: &[Axis; 3],
        inputs: [&'a [T]; 2],
        channels: [usize; 2],
    ) -> Self {
        let tables = axes.each_ref().map(Axis::forward);
        Self::new(batch, tables, axes.map(|axis| axis.input), inputs, channels)
    }

    /// Which outputs' gradients `[batch, output axes.., channels]` each (scaled) input receives.
    pub(super) fn backward(
        batch: usize,
        axes: &[Axis; 3],
        gradient: &'a [T],
        channels: usize,
    ) -> Self {
        let tables = axes.each_ref().map(Axis::backward);
        let source = axes.map(|axis| axis.output());
        Self::new(batch, tables, source, [gradient, &[]], [channels, 0])
    }

    fn new(
        batch: usize,
        tables: [Table; 3],
        source: [usize; 3],
        inputs: [&'a [T]; 2],
        channels: [usize; 2],
    ) -> Self {
        let pixels = batch * source.iter().product::<usize>();
        for (input, channels) in inputs.into_iter().zip(channels) {
            assert_eq!(
                input.len(),
                pixels * channels,
                "a tensor of the window's shape"
            );
        }
        Self {
            batch,
            tables,
            source,
            inputs,
            channels,
        }
    }

    /// Positions of the kernel.
    pub(super) fn positions(&self) -> usize {
        self.batch
            * self
                .tables
                .iter()
                .map(|table| table.positions)
                .product::<usize>()
    }

    /// Values under the kernel: taps, then channels.
    pub(super) fn values(&self) -> usize {
        let taps: usize = self.tables.iter().map(|table| table.taps).product();
        taps * self.channels.iter().sum::<usize>()
    }

    /// Calls `visit(position - positions.start, value - values.start, slice)` for each run of
    /// neighbouring channels in the block, and with `None` and the length of a run outside.
    #[inline(always)]
    pub(super) fn visit(
        &self,
        positions: Range<usize>,
        values: Range<usize>,
        mut visit: impl FnMut(usize, usize, Run<'a, T>),
    ) {
        let mut value = values.start;
        while value < values.end {
            let piece = self.piece(value, values.end);
            let mut cursor = Cursor::new(&self.tables, positions.start);
            for position in 0..positions.len() {
                let run = match self.pixel(&cursor, piece.tap) {
                    Some(pixel) => {
                        let start = pixel * self.channels[piece.input] + piece.channel;
                        Run::Inside(&self.inputs[piece.input][start..start + piece.len])
                    }
                    None => Run::Outside(piece.len),
                };
                visit(position, value - values.start, run);
                cursor.advance(&self.tables);
            }
            value += piece.len;
        }
    }

    /// The run of channels that starts at `value`, cut at `end`.
    #[inline(always)]
    fn piece(&self, value: usize, end: usize) -> Piece {
        let [first, second] = self.channels;
        let (tap, channel) = (value / (first + second), value % (first + second));
        let (input, channel, len) = if channel < first {
            (0, channel, first - channel)
        } else {
            (1, channel - first, first + second - channel)
        };
        let [_, height, width] = self.tables.each_ref().map(|table| table.taps);
        Piece {
            tap: [tap / (height * width), tap / width % height, tap % width],
            input,
            channel,
            len: len.min(end - value),
        }
    }

    /// The pixel under `tap`, if it is inside.
    #[inline(always)]
    fn pixel(&self, cursor: &Cursor, tap: [usize; 3]) -> Option<usize> {
        let mut pixel = cursor.sample;
        let axes = self
            .tables
            .iter()
            .zip(self.source)
            .zip(cursor.position)
            .zip(tap);
        for (((table, size), position), tap) in axes {
            let source = table.source[position * table.taps + tap];
            if source == OUTSIDE {
                return None;
            }
            pixel = pixel * size + source as usize;
        }
        Some(pixel)
    }
}

/// Neighbouring channels under a tap.
#[derive(Debug, Clone, Copy)]
pub(super) enum Run<'a, T> {
    /// Their values.
    Inside(&'a [T]),
    /// That many zeros.
    Outside(usize),
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    tap: [usize; 3],
    input: usize,
    channel: usize,
    len: usize,
}

/// A position of the kernel, by axis.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    sample: usize,
    position: [usize; 3],
}

impl Cursor {
    fn new(tables: &[Table; 3], index: usize) -> Self {
        let [frames, height, width] = tables.each_ref().map(|table| table.positions);
        let position = [
            index / (height * width) % frames,
            index / width % height,
            index % width,
        ];
        Self {
            sample: index / (frames * height * width),
            position,
        }
    }

    #[inline(always)]
    fn advance(&mut self, tables: &[Table; 3]) {
        for axis in (0..3).rev() {
            self.position[axis] += 1;
            if self.position[axis] < tables[axis].positions {
                return;
            }
            self.position[axis] = 0;
        }
        self.sample += 1;
    }
}
