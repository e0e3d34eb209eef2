//! Moving pixels and channels: resizing, padding, joining, and the gradients of these.

use rayon::prelude::*;

use super::element::Element;
use super::level::Level;
use super::norm::GRAIN;
use crate::operands::Padding;

#[cfg(test)]
mod tests;

/// A resize of images.
#[derive(Debug, Clone, Copy)]
pub struct Resize {
    /// `[n, h, w, channels]` of the input.
    pub input: [usize; 4],
    /// Height and width of the output.
    pub size: [usize; 2],
}

impl Resize {
    fn input_row(&self) -> usize {
        self.input[2] * self.input[3]
    }

    fn output_row(&self) -> usize {
        self.size[1] * self.input[3]
    }

    /// For each output column the input column it shows.
    fn columns(&self) -> Vec<usize> {
        (0..self.size[1])
            .map(|i| i * self.input[2] / self.size[1])
            .collect()
    }

    fn check(&self, input: usize, output: usize) {
        let [n, h, w, c] = self.input;
        let [height, width] = self.size;
        debug_assert_eq!(input, n * h * w * c, "upsample_nearest: input");
        debug_assert_eq!(output, n * height * width * c, "upsample_nearest: output");
    }
}

/// Resizes by repeating pixels: output row `i` is input row `floor(i * in / out)`, PyTorch's
/// `nearest`.
///
/// # Shapes
/// - `x`: `[n, h, w, channels]`
/// - `y`: `[n, height, width, channels]`
pub fn upsample_nearest<T: Element>(resize: &Resize, x: &[T], y: &mut [T]) {
    resize.check(x.len(), y.len());
    if y.is_empty() {
        return;
    }
    let (columns, row) = (resize.columns(), resize.output_row());
    let [_, h, _, c] = resize.input;
    let height = resize.size[0];
    let source = |i: usize| i / height * h + i % height * h / height;
    let rows = GRAIN.div_ceil(row).next_multiple_of(height.div_ceil(h));
    y.par_chunks_mut(rows * row)
        .enumerate()
        .for_each(|(task, y)| {
            for i in 0..y.len() / row {
                let from = source(task * rows + i);
                let (before, own) = y.split_at_mut(i * row);
                if i > 0 && from == source(task * rows + i - 1) {
                    // The row before shows the same, and has just been written.
                    own[..row].copy_from_slice(&before[(i - 1) * row..]);
                    continue;
                }
                let x = &x[from * resize.input_row()..][..resize.input_row()];
                if x.len() == row {
                    own[..row].copy_from_slice(x);
                    continue;
                }
                for (pixel, column) in own.chunks_exact_mut(c).zip(&columns) {
                    pixel.copy_from_slice(&x[column * c..][..c]);
                }
            }
        });
}

/// Gradient of [`upsample_nearest`]: every input pixel gets the sum over the outputs it is shown
/// at.
///
/// # Shapes
/// - `dy`: `[n, height, width, channels]`
/// - `dx`: `[n, h, w, channels]`
pub fn upsample_nearest_backward<T: Element>(
    level: Level,
    resize: &Resize,
    dy: &[T],
    dx: &mut [T],
) {
    resize.check(dx.len(), dy.len());
    if dx.is_empty() {
        return;
    }
    let (columns, row) = (resize.columns(), resize.input_row());
    let [h, height] = [resize.input[1], resize.size[0]];
    let repeats = (dy.len() / dx.len()).max(1);
    dx.par_chunks_mut(row)
        .with_min_len(GRAIN.div_ceil(row * repeats))
        .enumerate()
        .for_each(|(i, dx)| {
            let first = i / h * height;
            let (i, length) = (i % h, resize.output_row());
            let rows = first + (i * height).div_ceil(h)..first + ((i + 1) * height).div_ceil(h);
            let dy = &dy[rows.start * length..rows.end * length];
            gather(level, resize.input[3], &columns, dy, dx);
        });
}

leveled! {
    fn gather<T: Element>(
        level, channels: usize, columns: &[usize], dy: &[T], dx: &mut [T],
    ) {
        let mut sums = vec![0.0; dx.len()];
        for row in dy.chunks_exact((columns.len() * channels).max(1)) {
            for (dy, column) in row.chunks_exact(channels).zip(columns) {
                for (sum, dy) in sums[column * channels..][..channels].iter_mut().zip(dy) {
                    *sum += dy.widen();
                }
            }
        }
        for (dx, sum) in dx.iter_mut().zip(sums) {
            *dx = T::narrow(sum);
        }
    }
}

/// Surrounds images with zeros.
///
/// # Shapes
/// - `shape`: `[n, h, w, channels]` of `x`
/// - `y`: `[n, h + top + bottom, w + left + right, channels]`
pub fn pad<T: Element>(shape: [usize; 4], padding: Padding, x: &[T], y: &mut [T]) {
    let [_, h, w, c] = shape;
    let Padding {
        top,
        bottom,
        left,
        right,
    } = padding;
    let (height, row) = (h + top + bottom, (w + left + right) * c);
    debug_assert_eq!(x.len(), shape.iter().product::<usize>(), "pad: x");
    debug_assert_eq!(y.len(), shape[0] * height * row, "pad: y");
    if y.is_empty() {
        return;
    }
    y.par_chunks_mut(row)
        .with_min_len(GRAIN.div_ceil(row))
        .enumerate()
        .for_each(|(i, y)| {
            let (sample, i) = (i / height, i % height);
            if i < top || i >= top + h {
                return y.fill(T::default());
            }
            let from = (sample * h + i - top) * w * c;
            y[..left * c].fill(T::default());
            y[left * c..][..w * c].copy_from_slice(&x[from..][..w * c]);
            y[(left + w) * c..].fill(T::default());
        });
}

/// Gradient of [`pad`]: cuts off what it added.
///
/// # Shapes
/// - `shape`: `[n, h, w, channels]` of `dx`
/// - `dy`: `[n, h + top + bottom, w + left + right, channels]`
pub fn crop<T: Element>(shape: [usize; 4], padding: Padding, dy: &[T], dx: &mut [T]) {
    let [_, h, w, c] = shape;
    let (height, row) = (
        h + padding.top + padding.bottom,
        (w + padding.left + padding.right) * c,
    );
    debug_assert_eq!(dx.len(), shape.iter().product::<usize>(), "crop: dx");
    debug_assert_eq!(dy.len(), shape[0] * height * row, "crop: dy");
    if dx.is_empty() {
        return;
    }
    dx.par_chunks_mut(w * c)
        .with_min_len(GRAIN.div_ceil(w * c))
        .enumerate()
        .for_each(|(i, dx)| {
            let from = (i / h * height + i % h + padding.top) * row + padding.left * c;
            dx.copy_from_slice(&dy[from..][..w * c]);
        });
}

/// Joins the rows of two tensors.
///
/// # Shapes
/// - `x`: `[rows, c0]` and `[rows, c1]`
/// - `y`: `[rows, c0 + c1]`
pub fn concat<T: Element>(channels: [usize; 2], x: [&[T]; 2], y: &mut [T]) {
    let [c0, c1] = channels;
    debug_assert_eq!(y.len(), x[0].len() + x[1].len(), "concat: y");
    if y.is_empty() {
        return;
    }
    let rows = GRAIN.div_ceil(c0 + c1);
    y.par_chunks_mut(rows * (c0 + c1))
        .enumerate()
        .for_each(|(i, y)| {
            for (i, y) in (i * rows..).zip(y.chunks_exact_mut(c0 + c1)) {
                y[..c0].copy_from_slice(&x[0][i * c0..][..c0]);
                y[c0..].copy_from_slice(&x[1][i * c1..][..c1]);
            }
        });
}

/// Gradient of [`concat()`]: takes the rows apart.
///
/// # Shapes
/// - `y`: `[rows, c0 + c1]`
/// - `x`: `[rows, c0]` and `[rows, c1]`
pub fn split<T: Element>(channels: [usize; 2], y: &[T], x: [&mut [T]; 2]) {
    let width = channels[0] + channels[1];
    debug_assert_eq!(y.len(), x[0].len() + x[1].len(), "split: y");
    let mut first = 0;
    for (x, channels) in x.into_iter().zip(channels) {
        if !x.is_empty() {
            let rows = GRAIN.div_ceil(channels);
            x.par_chunks_mut(rows * channels)
                .zip(y.par_chunks(rows * width))
                .for_each(|(x, y)| {
                    for (x, y) in x.chunks_exact_mut(channels).zip(y.chunks_exact(width)) {
                        x.copy_from_slice(&y[first..][..channels]);
                    }
                });
        }
        first += channels;
    }
}
