//! A convolution's input as strips: sixteen neighbouring positions of a line of outputs each.
//!
//! What lies under a row of the kernel is one stretch of a line of the input: its taps times its
//! channels. Where the kernel is one tap wide, strips are read from the tensor itself. Else a task
//! copies the lines it needs once, with zeros around them, both parts of the input side by side and
//! enlarged if need be.

use std::ops::Range;

use half::bf16;

use super::super::product::{Packing, STRIP, Strips, TILE_DEPTH};
use super::{Axis, Conv};

/// Stands for a line of zeros.
const OUTSIDE: usize = usize::MAX;

/// The operand.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    /// Samples, frames and height, and width.
    axes: [Axis; 3],
    batch: usize,
    inputs: [&'a [bf16]; 2],
    channels: [usize; 2],
    /// Whether strips are read from the input itself.
    direct: bool,
}

impl<'a> Lines<'a> {
    /// What the outputs of a convolution read.
    pub(super) fn forward(conv: &Conv, inputs: [&'a [bf16]; 2]) -> Self {
        Self::new(conv.batch, conv.axes, inputs, conv.inputs)
    }

    /// Which gradients of outputs the inputs receive: a convolution with the kernel turned around,
    /// if there is one.
    pub(super) fn backward(conv: &Conv, gradient: &'a [bf16]) -> Option<Self> {
        let mut axes = conv.axes;
        for axis in &mut axes {
            let output = axis.output();
            let before = (axis.kernel - 1).checked_sub(axis.before)?;
            let after = (axis.kernel - 1).checked_sub(axis.after)?;
            if axis.stride > 1 {
                return None;
            }
            *axis = Axis {
                input: output,
                scaled: output,
                before,
                after,
                ..*axis
            };
        }
        Some(Self::new(
            conv.batch,
            axes,
            [gradient, &[]],
            [conv.outputs, 0],
        ))
    }

    fn new(
        batch: usize,
        mut axes: [Axis; 3],
        inputs: [&'a [bf16]; 2],
        channels: [usize; 2],
    ) -> Self {
        let mut batch = batch;
        let is_point = |axis: &Axis| *axis == Axis::point(axis.input);
        // Without a kernel all positions are one line.
        if axes.iter().all(is_point) {
            let positions = batch * axes.iter().map(|axis| axis.input).product::<usize>();
            axes = [Axis::point(1), Axis::point(1), Axis::point(positions)];
            batch = 1;
        }
        let pixels = batch * axes.iter().map(|axis| axis.input).product::<usize>();
        for (input, channels) in inputs.into_iter().zip(channels) {
            assert_eq!(
                input.len(),
                pixels * channels,
                "a tensor of the conv's shape"
            );
        }
        let direct = is_point(&axes[2])
            && channels[1] == 0
            && channels[0].is_multiple_of(TILE_DEPTH)
            && inputs[0].as_ptr().addr().is_multiple_of(64);
        Self {
            axes,
            batch,
            inputs,
            channels,
            direct,
        }
    }

    /// Channels of a position, up to a whole step of the tile unit.
    fn padded(&self) -> usize {
        self.channels
            .iter()
            .sum::<usize>()
            .next_multiple_of(TILE_DEPTH)
    }

    fn per_line(&self) -> usize {
        self.axes[2].output().div_ceil(STRIP)
    }

    /// Lines of outputs.
    fn lines(&self) -> usize {
        self.batch * self.axes[0].output() * self.axes[1].output()
    }

    /// The line of outputs that a strip is a part of, and the first of its positions there.
    fn place(&self, strip: usize) -> (usize, usize) {
        (strip / self.per_line(), strip % self.per_line() * STRIP)
    }

    /// Lines of the input under a line of outputs, one for each row of the kernel.
    fn under(&self, line: usize) -> impl Iterator<Item = usize> + '_ {
        let [frames, height, _] = &self.axes;
        let [rows, columns] = [frames.output(), height.output()];
        let at = [line / columns % rows, line % columns];
        let sample = line / (rows * columns);
        let source = |axis: &Axis, at: usize, tap: usize| {
            let scaled = (at * axis.stride + tap).checked_sub(axis.before)?;
            (scaled < axis.scaled).then(|| scaled * axis.input / axis.scaled)
        };
        (0..frames.kernel * height.kernel).map(move |tap| {
            let frame = source(frames, at[0], tap / height.kernel);
            let row = source(height, at[1], tap % height.kernel);
            match (frame, row) {
                (Some(frame), Some(row)) => (sample * frames.input + frame) * height.input + row,
                _ => OUTSIDE,
            }
        })
    }

    /// Copied positions of a line, from the first of `strips` of a line on.
    fn width(&self, strips: usize) -> usize {
        (strips * STRIP - 1) * self.axes[2].stride + self.axes[2].kernel
    }

    /// The strips of a line that these are a part of: all of them if there is more than one line.
    fn across(&self, strips: &Range<usize>) -> Range<usize> {
        let per_line = self.per_line();
        let line = strips.start / per_line;
        match strips.end <= (line + 1) * per_line {
            true => strips.start - line * per_line..strips.end - line * per_line,
            false => 0..per_line,
        }
    }

    /// Lines of the input that these strips read, each once, in order.
    fn needed(&self, strips: &Range<usize>) -> Vec<usize> {
        let lines = self.place(strips.start).0..self.place(strips.end - 1).0 + 1;
        let mut needed: Vec<usize> = lines.flat_map(|line| self.under(line)).collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// Copies the positions of a line from `first` on, counted with the zeros before it.
    fn copy_line(&self, line: usize, first: usize, to: &mut [bf16]) {
        let axis = &self.axes[2];
        let padded = self.padded();
        let channels: usize = self.channels.iter().sum();
        for (at, to) in (first..).zip(to.chunks_exact_mut(padded)) {
            let scaled = at.checked_sub(axis.before).filter(|at| *at < axis.scaled);
            let (Some(scaled), true) = (scaled, line != OUTSIDE) else {
                to.fill(bf16::ZERO);
                continue;
            };
            let pixel = line * axis.input + scaled * axis.input / axis.scaled;
            let mut rest = &mut *to;
            for (input, channels) in self.inputs.iter().zip(self.channels) {
                let (part, after) = rest.split_at_mut(channels);
                part.copy_from_slice(&input[pixel * channels..][..channels]);
                rest = after;
            }
            to[channels..].fill(bf16::ZERO);
        }
    }

    fn open_copied(&self, strips: Range<usize>, working: &mut [bf16], starts: &mut [*const bf16]) {
        let padded = self.padded();
        let across = self.across(&strips);
        let first = across.start * STRIP * self.axes[2].stride;
        let length = self.width(across.len()) * padded;
        let needed = self.needed(&strips);
        for (line, to) in needed.iter().zip(working.chunks_exact_mut(length)) {
            self.copy_line(*line, first, to);
        }
        let pieces = self.depth()[0];
        for (strip, starts) in strips.zip(starts.chunks_exact_mut(pieces)) {
            let (line, position) = self.place(strip);
            let offset = (position * self.axes[2].stride - first) * padded;
            for (line, start) in self.under(line).zip(starts) {
                let slot = needed.binary_search(&line).expect("a line that is needed");
                *start = working[slot * length + offset..].as_ptr();
            }
        }
    }

    fn open_direct(&self, strips: Range<usize>, working: &mut [bf16], starts: &mut [*const bf16]) {
        let channels = self.channels[0];
        let pieces = self.depth()[0];
        let width = self.axes[2].input;
        let (zeros, mut rest) = working.split_at_mut(STRIP * channels);
        zeros.fill(bf16::ZERO);
        for (strip, starts) in strips.zip(starts.chunks_exact_mut(pieces)) {
            let (line, position) = self.place(strip);
            for (line, start) in self.under(line).zip(starts) {
                if line == OUTSIDE {
                    *start = zeros.as_ptr();
                    continue;
                }
                let from = &self.inputs[0][(line * width + position) * channels..];
                *start = from.as_ptr();
                // The last strips of all may end too early to be read in place.
                if from.len() < STRIP * channels {
                    let (to, after) = std::mem::take(&mut rest).split_at_mut(STRIP * channels);
                    to[..from.len()].copy_from_slice(from);
                    *start = to.as_ptr();
                    rest = after;
                }
            }
        }
    }
}

// SAFETY: starts lie in slices that hold a strip from there on, see `open_direct` and `width`.
unsafe impl Strips for Lines<'_> {
    fn count(&self) -> usize {
        self.lines() * self.per_line()
    }

    fn rows(&self, strip: usize) -> Range<usize> {
        let (line, position) = self.place(strip);
        let width = self.axes[2].output();
        line * width + position..line * width + (position + STRIP).min(width)
    }

    fn depth(&self) -> [usize; 2] {
        let [frames, height, width] = self.axes.map(|axis| axis.kernel);
        [frames * height, width * self.padded()]
    }

    fn stride(&self) -> usize {
        self.axes[2].stride * self.padded()
    }

    fn working(&self, strips: Range<usize>) -> usize {
        if self.direct {
            // Zeros, and under each row of the kernel the strips that end too early.
            let short = STRIP.div_ceil(self.axes[2].input.max(1)) + 1;
            return (1 + self.depth()[0] * short) * STRIP * self.channels[0];
        }
        let across = self.across(&strips).len();
        self.needed(&strips).len() * self.width(across) * self.padded()
    }

    fn open(&self, strips: Range<usize>, working: &mut [bf16], starts: &mut [*const bf16]) {
        match self.direct {
            true => self.open_direct(strips, working, starts),
            false => self.open_copied(strips, working, starts),
        }
    }
}

/// How a weight is packed for a convolution; `turned` for the gradient of its input.
pub(super) fn packing(conv: &Conv, turned: bool) -> Packing {
    let depth = match turned {
        true => conv.outputs,
        false => conv.input_channels(),
    };
    Packing {
        taps: [conv.taps(), depth],
        turned,
    }
}
