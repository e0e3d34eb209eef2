//! Weights in the order in which a product reads them.

use rayon::prelude::*;

use super::element::Element;
use super::level::Level;

/// A weight `[outputs, inputs, taps]` with any strides.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a, W> {
    /// The memory that the strides refer to, from the first element on.
    pub values: &'a [W],
    /// Outputs, inputs and taps.
    pub dims: [usize; 3],
    /// Elements from one output, input and tap to the next.
    pub strides: [usize; 3],
}

impl<'a, W: Element> Weight<'a, W> {
    /// The memory, if it lies as `[taps, inputs, outputs]`: what a forward product reads.
    pub fn arranged(&self) -> Option<&'a [W]> {
        let [outputs, inputs, taps] = self.dims;
        let expected = [1, outputs, outputs * inputs];
        let fits = |axis: usize| self.dims[axis] == 1 || self.strides[axis] == expected[axis];
        (0..3)
            .all(fits)
            .then(|| &self.values[..outputs * inputs * taps])
    }

    /// Copies to `[taps, inputs, outputs]`, for [`forward`](super::conv::forward).
    pub fn arrange(&self, level: Level, to: &mut [W]) {
        let order = [2, 1, 0];
        let dims = order.map(|axis| self.dims[axis]);
        let strides = order.map(|axis| self.strides[axis]);
        let [planes, rows, columns] = dims;
        assert_eq!(to.len(), planes * rows * columns);
        if to.is_empty() {
            return;
        }
        let last: usize = (0..3).map(|axis| (dims[axis] - 1) * strides[axis]).sum();
        assert!(last < self.values.len(), "strides stay inside the memory");
        // Rows in groups: reads along a far stride then share cache lines.
        const GROUP: usize = 16;
        to.par_chunks_mut(rows * columns)
            .enumerate()
            .for_each(|(plane, to)| {
                let groups = to.par_chunks_mut(GROUP * columns).enumerate();
                groups.for_each(|(group, to)| {
                    let from = &self.values[plane * strides[0] + group * GROUP * strides[1]..];
                    transpose(level, from, [strides[1], strides[2]], columns, to);
                });
            });
    }
}

leveled! {
    /// Copies rows of `columns` elements, which are `strides` apart in `from`.
    fn transpose<W: Element>(level, from: &[W], strides: [usize; 2], columns: usize, to: &mut [W]) {
        const BLOCK: usize = 16;
        let rows = to.len() / columns;
        if strides[1] == 1 {
            for (row, to) in to.chunks_exact_mut(columns).enumerate() {
                to.copy_from_slice(&from[row * strides[0]..][..columns]);
            }
            return;
        }
        for start in (0..columns).step_by(BLOCK) {
            let end = (start + BLOCK).min(columns);
            for row in 0..rows {
                let to = &mut to[row * columns..][start..end];
                for (column, to) in (start..end).zip(to) {
                    *to = from[row * strides[0] + column * strides[1]];
                }
            }
        }
    }
}
