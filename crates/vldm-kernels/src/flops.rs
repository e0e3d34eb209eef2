//! How much arithmetic the operations are asked for, counted while they run.
//!
//! Counted are the products of convolutions, matrices and attention, two operations per
//! multiply-add, and nothing else: that is how the field states the cost of a network. The counts
//! follow from shapes alone. What padding multiplies by zero is counted, because every body may do
//! it; what a body pads for itself is not.
//!
//! An operation announces itself where it begins, with one line:
//! `let _flops = flops::record(|| flops::linear(rows, inputs, out));`. Operations that it is made
//! of are not counted again, so it does not matter whether a wrapper, its body or both announce
//! themselves. Backward passes are not counted.

use std::cell::Cell;

use crate::operands::Conv2dOptions;

thread_local! {
    static COUNTER: Cell<Counter> = const { Cell::new(Counter { counting: false, total: 0 }) };
}

#[derive(Clone, Copy)]
struct Counter {
    /// Whether the next operation is to be counted.
    counting: bool,
    total: u64,
}

/// Runs `work` and gives its result with the number of operations that this thread asked for.
///
/// Nested counts do not see each other's operations.
pub fn count<T>(work: impl FnOnce() -> T) -> (T, u64) {
    struct Restore(Counter);
    impl Drop for Restore {
        fn drop(&mut self) {
            COUNTER.set(self.0);
        }
    }
    let fresh = Counter {
        counting: true,
        total: 0,
    };
    let restore = Restore(COUNTER.replace(fresh));
    let result = work();
    let total = COUNTER.get().total;
    drop(restore);
    (result, total)
}

/// Announces an operation of `flops()` operations: counted where someone counts, and no enclosing
/// operation has announced itself. Bind the result for as long as the operation runs.
#[must_use = "dropped at once, it lets the parts of the operation be counted too"]
pub(crate) fn record(flops: impl FnOnce() -> u64) -> Recorded {
    let counter = COUNTER.get();
    if counter.counting {
        COUNTER.set(Counter {
            counting: false,
            total: counter.total + flops(),
        });
    }
    Recorded(counter.counting)
}

/// While it lives, operations are parts of the one that was announced.
#[derive(Debug)]
pub(crate) struct Recorded(bool);

impl Drop for Recorded {
    fn drop(&mut self) {
        if self.0 {
            let counter = COUNTER.get();
            COUNTER.set(Counter {
                counting: true,
                ..counter
            });
        }
    }
}

/// A matrix product of `rows` by `inputs` values with a weight of `out` rows.
pub(crate) fn linear(rows: usize, inputs: usize, out: usize) -> u64 {
    2 * product(&[rows, inputs, out])
}

/// A convolution of `outputs` positions (images, frames, height and width of the output
/// multiplied) with a kernel of `taps` positions.
pub(crate) fn convolution(outputs: usize, taps: usize, channels: [usize; 2]) -> u64 {
    2 * product(&[outputs, taps, channels[0], channels[1]])
}

/// A convolution of `[n, height, width, in]` with a weight `[out, in, height, width]`.
pub(crate) fn conv2d(x: [usize; 4], weight: [usize; 4], options: Conv2dOptions) -> u64 {
    let [n, h, w, inputs] = x;
    let [out, _, kh, kw] = weight;
    let Conv2dOptions { stride, padding } = options;
    let size = |padded: usize, kernel: usize| padded.saturating_sub(kernel) / stride + 1;
    let height = size(h + padding.top + padding.bottom, kh);
    let width = size(w + padding.left + padding.right, kw);
    convolution(n * height * width, kh * kw, [inputs, out])
}

/// Scores and weighted sums of `pairs` of a query and a key, over all heads. Masked pairs count.
pub(crate) fn attention(pairs: usize, channels: usize) -> u64 {
    4 * product(&[pairs, channels])
}

fn product(factors: &[usize]) -> u64 {
    factors.iter().map(|&factor| factor as u64).product()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::{
        AttentionMask, Channels, Conv2dOptions, Conv3dOptions, Epilogue, Padding, attention,
        conv2d, conv3d, linear_geglu, temporal_attention, temporal_conv,
    };

    fn zeros<const D: usize>(dims: [usize; D]) -> Tensor<D> {
        Tensor::zeros(dims, &Device::flex())
    }

    /// Counts `work` twice: by itself, and as a part of something that announces itself.
    fn check(work: impl Fn(), expected: u64) {
        assert_eq!(count(&work).1, expected);
        let enclosed = || {
            let _flops = record(|| 7);
            work();
        };
        assert_eq!(count(enclosed).1, 7);
    }

    #[test]
    fn every_operation_counts_its_products() {
        check(
            || drop(crate::linear(zeros([2, 3, 5]), zeros([7, 5]), None, None)),
            2 * (2 * 3) * 5 * 7,
        );
        check(
            || drop(linear_geglu(zeros([3, 5]), zeros([8, 5]), None)),
            2 * 3 * 5 * 8,
        );
        let tokens = |n| zeros([2, n, 8]);
        check(
            || {
                drop(attention(
                    tokens(3),
                    tokens(5),
                    tokens(5),
                    2,
                    AttentionMask::None,
                ))
            },
            2 * (2 * 2 * (3 * 5) * 4) * 2,
        );
        let clip = || zeros([2, 3, 5, 8]);
        check(
            || drop(temporal_attention(clip(), clip(), clip(), 2, None)),
            2 * (2 * 5 * 2) * (3 * 3 * 4) * 2,
        );
        check(
            || {
                drop(temporal_conv(
                    clip(),
                    zeros([6, 8, 3, 1, 1]),
                    None,
                    Epilogue::default(),
                ))
            },
            2 * (2 * 3 * 5) * 3 * 8 * 6,
        );
        let options = Conv3dOptions {
            stride: [1, 2, 2],
            padding: [1; 3],
        };
        let x = || zeros([1, 4, 6, 8, 2]);
        check(
            || {
                drop(conv3d(
                    x(),
                    zeros([5, 2, 3, 3, 3]),
                    None,
                    options,
                    Epilogue::default(),
                ))
            },
            2 * (4 * 3 * 4) * 27 * 2 * 5,
        );
    }

    #[test]
    fn images_count_the_same_whichever_body_runs() {
        let conv = |x: Channels<4>, out, kernel, options| {
            let weight = zeros([out, x.dims()[3], kernel, kernel]);
            drop(conv2d(x, weight, None, options, Epilogue::default()));
        };
        let same = Conv2dOptions::same(3);
        // Large enough for the windowed body, and a skip connection.
        let two = || Channels::Two(zeros([1, 40, 40, 16]), zeros([1, 40, 40, 16]));
        check(|| conv(two(), 16, 3, same), 2 * 1600 * 9 * 32 * 16);
        let small = || zeros([2, 5, 7, 3]).into();
        check(|| conv(small(), 4, 3, same), 2 * (2 * 5 * 7) * 9 * 3 * 4);
        check(
            || conv(small(), 4, 1, Conv2dOptions::default()),
            2 * (2 * 5 * 7) * 3 * 4,
        );
        let half = Conv2dOptions {
            stride: 2,
            padding: Padding::same(1),
        };
        check(|| conv(small(), 4, 3, half), 2 * (2 * 3 * 4) * 9 * 3 * 4);
    }

    #[test]
    fn nothing_is_counted_unasked_and_counts_do_not_mix() {
        let product = || drop(crate::linear(zeros([1, 1]), zeros([1, 1]), None, None));
        product();
        let ((), total) = count(|| {
            product();
            assert_eq!(count(product).1, 2);
            product();
        });
        assert_eq!(total, 4);
        assert_eq!(count(|| ()).1, 0);
    }
}
