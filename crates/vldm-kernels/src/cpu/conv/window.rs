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
    /// Whether the sources of all taps of a position are there, one after the other.
    neighbours: Vec<bool>,
}

impl Table {
    fn new(positions: usize, taps: usize, source: impl Fn(usize, usize) -> Option<usize>) -> Self {
        let at = |index: usize| source(index / taps, index % taps).map_or(OUTSIDE, |at| at as u32);
        let source: Vec<u32> = (0..positions * taps).map(at).collect();
        let follows = |pair: &[u32]| pair[0] != OUTSIDE && pair[0] + 1 == pair[1];
        let neighbours = source.chunks_exact(taps);
        Self {
            positions,
            taps,
            neighbours: neighbours.map(|all| all.windows(2).all(follows)).collect(),
            source,
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

    /// Shows `visitor` each run of values in the block that are neighbours in memory, and each run
    /// outside.
    #[inline(always)]
    pub(super) fn visit(
        &self,
        positions: Range<usize>,
        values: Range<usize>,
        visitor: &mut impl Visitor<T>,
    ) {
        let mut value = values.start;
        while value < values.end {
            let piece = self.piece(value, values.end);
            self.visit_piece(&positions, &piece, value - values.start, visitor);
            value += piece.taps * piece.len;
        }
    }

    /// Visits the values of a piece, line by line of positions: what lies under the frame and the row
    /// is looked up once for a line.
    #[inline(always)]
    fn visit_piece(
        &self,
        positions: &Range<usize>,
        piece: &Piece,
        value: usize,
        visitor: &mut impl Visitor<T>,
    ) {
        let columns = &self.tables[2];
        let whole = piece.taps * piece.len;
        let mut cursor = Cursor::new(&self.tables, positions.start);
        let mut done = 0;
        while done < positions.len() {
            let first = cursor.position[2];
            let count = (columns.positions - first).min(positions.len() - done);
            let line = self.line(&cursor, piece.tap);
            for (position, column) in (done..done + count).zip(first..) {
                let Some(line) = line else {
                    visitor.outside(position, value, whole);
                    continue;
                };
                let sources = &columns.source[column * columns.taps + piece.tap[2]..][..piece.taps];
                if piece.taps > 1 && columns.neighbours[column] {
                    let run = self.run(piece, line + sources[0] as usize, whole);
                    visitor.inside(position, value, run);
                    continue;
                }
                for (tap, &source) in sources.iter().enumerate() {
                    let value = value + tap * piece.len;
                    if source == OUTSIDE {
                        visitor.outside(position, value, piece.len);
                    } else {
                        let run = self.run(piece, line + source as usize, piece.len);
                        visitor.inside(position, value, run);
                    }
                }
            }
            done += count;
            cursor.advance(count, &self.tables);
        }
    }

    /// `len` values of a pixel and those behind it.
    #[inline(always)]
    fn run(&self, piece: &Piece, pixel: usize, len: usize) -> &'a [T] {
        let start = pixel * self.channels[piece.input] + piece.channel;
        &self.inputs[piece.input][start..start + len]
    }

    /// The values from `value` on, up to `end` at most, that are found alike: channels of a tap, or all
    /// channels of several taps of a line.
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
        let taps = match (second, channel) {
            (0, 0) => ((end - value) / first).clamp(1, width - tap % width),
            _ => 1,
        };
        Piece {
            tap: [tap / (height * width), tap / width % height, tap % width],
            taps,
            input,
            channel,
            len: len.min(end - value),
        }
    }

    /// The first pixel of the line of inputs under `tap`, if the line is inside.
    #[inline(always)]
    fn line(&self, cursor: &Cursor, tap: [usize; 3]) -> Option<usize> {
        let mut pixel = cursor.sample;
        let [frames, rows, columns] = self.source;
        let axes = [frames, rows].into_iter().zip(&self.tables);
        for ((size, table), (position, tap)) in axes.zip(cursor.position.into_iter().zip(tap)) {
            let source = table.source[position * table.taps + tap];
            if source == OUTSIDE {
                return None;
            }
            pixel = pixel * size + source as usize;
        }
        Some(pixel * columns)
    }
}

/// Is shown what lies under a window. A trait, for closures are not compiled for the instructions of
/// their caller.
pub(super) trait Visitor<T> {
    /// A run of neighbours at a position of the block and a place among its values.
    fn inside(&mut self, position: usize, value: usize, run: &[T]);

    /// That many zeros.
    fn outside(&mut self, position: usize, value: usize, len: usize);
}

/// Values under the kernel that are found alike.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// The first tap.
    tap: [usize; 3],
    /// How many taps of the last axis; several only with all of their channels.
    taps: usize,
    input: usize,
    channel: usize,
    /// Channels of each tap.
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

    /// Goes on by `count` positions, not beyond the end of the line.
    #[inline(always)]
    fn advance(&mut self, count: usize, tables: &[Table; 3]) {
        self.position[2] += count;
        for axis in (1..3).rev() {
            if self.position[axis] < tables[axis].positions {
                return;
            }
            self.position[axis] = 0;
            self.position[axis - 1] += 1;
        }
        if self.position[0] == tables[0].positions {
            self.position[0] = 0;
            self.sample += 1;
        }
    }
}
