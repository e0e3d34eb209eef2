//! What becomes of a convolution's sums.

#[cfg(target_arch = "x86_64")]
mod panels;

use std::ops::Range;

use half::bf16;

use super::super::activation;
use super::super::element::{Element, same};
use super::super::level::Level;
use super::super::product::{PANEL, Sink, Sums};
use super::super::shared::Shared;

/// What is added to the output of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Additions<'a, T> {
    /// `[outputs]`
    pub bias: Option<&'a [f32]>,
    /// `[shifts, outputs]`, one row per as many consecutive positions as there are positions per
    /// shift, e.g. the time embedding of each frame.
    pub shift: Option<&'a [T]>,
    /// Shape of the output.
    pub residual: Option<&'a [T]>,
}

impl<T> Default for Additions<'_, T> {
    fn default() -> Self {
        Self {
            bias: None,
            shift: None,
            residual: None,
        }
    }
}

/// The output itself, with additions.
pub(super) struct Output<'a, T> {
    to: Shared<'a, T>,
    columns: usize,
    additions: Additions<'a, T>,
    /// Positions that share a row of shifts.
    positions_per_shift: usize,
}

impl<'a, T: Element> Output<'a, T> {
    pub(super) fn new(to: &'a mut [T], columns: usize, additions: Additions<'a, T>) -> Self {
        let rows = to.len() / columns.max(1);
        if let Some(bias) = additions.bias {
            assert_eq!(bias.len(), columns, "a bias per output channel");
        }
        if let Some(residual) = additions.residual {
            assert_eq!(residual.len(), to.len(), "a residual of the output's shape");
        }
        let positions_per_shift = additions.shift.map_or(rows, |shift| {
            let shifts = shift.len() / columns.max(1);
            assert!(
                shift.len() == shifts * columns && rows.is_multiple_of(shifts.max(1)),
                "shifts that divide the positions evenly"
            );
            rows / shifts.max(1)
        });
        Self {
            to: Shared::new(to),
            columns,
            additions,
            positions_per_shift: positions_per_shift.max(1),
        }
    }
}

impl<T: Element> Sink for Output<'_, T> {
    fn write(&self, level: Level, sums: Sums<'_>) {
        #[cfg(target_arch = "x86_64")]
        if let (Level::Amx, PANEL, Some(output)) = (level, sums.columns.len(), self.in_halves()) {
            // SAFETY: a level is only in use on a processor that has its instructions.
            return unsafe { panels::write_output(&output, &sums) };
        }
        write_output(level, self, &sums);
    }

    fn prefetch(&self, rows: Range<usize>, column: usize) {
        for row in rows {
            self.to.prefetch(row * self.columns + column);
        }
    }
}

leveled! {
    fn write_output<T: Element>(level, output: &Output<'_, T>, sums: &Sums<'_>) {
        for (index, row) in sums.rows.clone().enumerate() {
            let mut column = sums.columns.start;
            // Few at a time: what is added stays in registers.
            let (whole, rest) = sums.row(index).as_chunks::<LINE>();
            for from in whole {
                output.finish(row, column, &mut from.clone());
                column += LINE;
            }
            if !rest.is_empty() {
                let mut line = [0.0; LINE];
                let line = &mut line[..rest.len()];
                line.copy_from_slice(rest);
                output.finish(row, column, line);
            }
        }
    }
}

impl<'a, T: Element> Output<'a, T> {
    /// The same, if its elements are bf16.
    #[cfg(target_arch = "x86_64")]
    fn in_halves(&self) -> Option<Output<'a, bf16>> {
        let of = |values: Option<&'a [T]>| values.map(|values| same(values).unwrap_or(&[]));
        let Additions {
            bias,
            shift,
            residual,
        } = self.additions;
        Some(Output {
            to: self.to.of_type()?,
            columns: self.columns,
            additions: Additions {
                bias,
                shift: of(shift),
                residual: of(residual),
            },
            positions_per_shift: self.positions_per_shift,
        })
    }
}

impl<T: Element> Output<'_, T> {
    /// Adds to neighbouring sums of a row, from `column` on, and stores them.
    #[inline(always)]
    fn finish(&self, row: usize, column: usize, line: &mut [f32]) {
        let Additions {
            bias,
            shift,
            residual,
        } = self.additions;
        let place = row * self.columns + column..row * self.columns + column + line.len();
        if let Some(bias) = bias {
            add(line, &bias[column..column + line.len()]);
        }
        if let Some(shift) = shift {
            let start = row / self.positions_per_shift * self.columns + column;
            add(line, &shift[start..start + line.len()]);
        }
        if let Some(residual) = residual {
            add(line, &residual[place.clone()]);
        }
        // SAFETY: a product delivers each output once.
        let to = unsafe { self.to.slice(place) };
        for (to, value) in to.iter_mut().zip(line) {
            *to = T::narrow(*value);
        }
    }
}

/// Columns that are finished at once.
const LINE: usize = 16;

/// Most columns of a block of sums.
const MOST_COLUMNS: usize = 512;

#[inline(always)]
fn add<T: Element>(line: &mut [f32], values: &[T]) {
    for (sum, value) in line.iter_mut().zip(values) {
        *sum += value.widen();
    }
}

/// First half times GELU of the second half.
pub(super) struct Gated<'a, T> {
    to: Shared<'a, T>,
    /// Both halves, if they are wanted too.
    halves: Option<Shared<'a, T>>,
    inner: usize,
    bias: Option<&'a [f32]>,
}

impl<'a, T: Element> Gated<'a, T> {
    pub(super) fn new(
        to: &'a mut [T],
        halves: Option<&'a mut [T]>,
        inner: usize,
        bias: Option<&'a [f32]>,
    ) -> Self {
        if let Some(bias) = bias {
            assert_eq!(bias.len(), 2 * inner, "a bias per output channel");
        }
        if let Some(halves) = &halves {
            assert_eq!(halves.len(), 2 * to.len(), "both halves of the output");
        }
        Self {
            to: Shared::new(to),
            halves: halves.map(Shared::new),
            inner,
            bias,
        }
    }
}

impl<T: Element> Sink for Gated<'_, T> {
    fn write(&self, level: Level, sums: Sums<'_>) {
        write_gated(level, self, &sums);
    }

    fn prefetch(&self, rows: Range<usize>, column: usize) {
        for row in rows {
            self.to.prefetch(row * self.inner + column);
        }
    }

    fn pair(&self) -> Option<usize> {
        Some(self.inner)
    }
}

leveled! {
    fn write_gated<T: Element>(level, gated: &Gated<'_, T>, sums: &Sums<'_>) {
        let columns = sums.columns.clone();
        let zeros = [0.0f32; MOST_COLUMNS];
        let (bias, gate_bias) = match gated.bias {
            Some(bias) => {
                let (first, second) = bias.split_at(gated.inner);
                (&first[columns.clone()], &second[columns.clone()])
            }
            None => (&zeros[..columns.len()], &zeros[..columns.len()]),
        };
        for (index, row) in sums.rows.clone().enumerate() {
            let start = row * gated.inner + columns.start;
            // SAFETY: a product delivers each output once.
            let to = unsafe { gated.to.slice(start..start + columns.len()) };
            let [values, gates] = [sums.row(index), sums.paired_row(index)];
            // Few at a time: as many as registers hold.
            let (lines, rest) = to.as_chunks_mut::<LINE>();
            let begin = lines.len() * LINE;
            for (line, at) in lines.iter_mut().zip((0..).step_by(LINE)) {
                let [values, bias, gates, gate_bias] = [values, bias, gates, gate_bias]
                    .map(|values| values[at..].first_chunk::<LINE>().expect("a line"));
                for i in 0..LINE {
                    let gate = gelu::<T, FMA>(gates[i] + gate_bias[i]);
                    line[i] = T::narrow((values[i] + bias[i]) * gate);
                }
            }
            for (at, to) in (begin..).zip(rest) {
                let gate = gelu::<T, FMA>(gates[at] + gate_bias[at]);
                *to = T::narrow((values[at] + bias[at]) * gate);
            }
            if let Some(halves) = &gated.halves {
                let start = start + row * gated.inner;
                let parts = [(sums.row(index), bias), (sums.paired_row(index), gate_bias)];
                for (half, (sums, bias)) in parts.into_iter().enumerate() {
                    let start = start + half * gated.inner;
                    // SAFETY: as above, of twice as many outputs.
                    let to = unsafe { halves.slice(start..start + columns.len()) };
                    for ((to, sum), bias) in to.iter_mut().zip(sums).zip(bias) {
                        *to = T::narrow(sum + bias);
                    }
                }
            }
        }
    }
}

/// As exact as the type of the result is.
#[inline(always)]
fn gelu<T: Element, const FMA: bool>(x: f32) -> f32 {
    match T::IS_HALF {
        true => activation::gelu_in_half::<FMA>(x),
        false => activation::gelu::<FMA>(x),
    }
}

/// Columns that belong to two tensors.
pub(super) struct Split<'a, T> {
    to: [Shared<'a, T>; 2],
    columns: [usize; 2],
}

impl<'a, T: Element> Split<'a, T> {
    pub(super) fn new(to: [&'a mut [T]; 2], columns: [usize; 2]) -> Self {
        Self {
            to: to.map(Shared::new),
            columns,
        }
    }
}

impl<T: Element> Sink for Split<'_, T> {
    fn write(&self, level: Level, sums: Sums<'_>) {
        write_split(level, self, &sums);
    }
}

leveled! {
    fn write_split<T: Element>(level, split: &Split<'_, T>, sums: &Sums<'_>) {
        let mut offset = 0;
        for (to, width) in split.to.iter().zip(split.columns) {
            let from = sums.columns.start.max(offset);
            let end = sums.columns.end.min(offset + width);
            if from < end {
                for (index, row) in sums.rows.clone().enumerate() {
                    let start = row * width + from - offset;
                    // SAFETY: a product delivers each output once.
                    let to = unsafe { to.slice(start..start + end - from) };
                    let sums = &sums.row(index)[from - sums.columns.start..];
                    for (to, value) in to.iter_mut().zip(sums) {
                        *to = T::narrow(*value);
                    }
                }
            }
            offset += width;
        }
    }
}
