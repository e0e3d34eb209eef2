//! Resampling and padding against plain loops in f64, forward and backward.

use burn::tensor::{Device, Tensor};

use super::check::{Array, Case, Given, Values};
use crate::{Padding, pad, upsample_nearest};

fn check_upsample(dims: [usize; 4], height: usize, width: usize) {
    let case = Case {
        name: format!("upsample_nearest {dims:?} -> {height}x{width}"),
        inputs: vec![Values::new(13).array(&dims)],
        op: &|given: &Given<'_>| upsample_nearest(given.get(0), height, width),
        oracle: &|x: &[Array]| {
            let [n, h, w, c] = dims;
            Array::from_fn(&[n, height, width, c], |at| {
                x[0].at(&[at[0], at[1] * h / height, at[2] * w / width, at[3]])
            })
        },
    };
    case.check();
    case.check_gradients();
}

#[test]
fn upsample_to_twice_the_size() {
    check_upsample([2, 3, 2, 3], 6, 4);
    check_upsample([1, 1, 1, 1], 2, 2);
}

/// Latents that did not halve evenly come back to their own size.
#[test]
fn upsample_to_any_size() {
    check_upsample([2, 3, 2, 3], 5, 3);
    check_upsample([1, 3, 4, 2], 3, 7);
    check_upsample([1, 3, 4, 2], 9, 4);
    check_upsample([1, 5, 4, 2], 3, 2);
}

#[test]
fn upsample_of_nothing_is_nothing() {
    let x = Tensor::<4>::zeros([0, 2, 3, 4], &Device::flex());
    assert_eq!(upsample_nearest(x, 4, 6).dims(), [0, 4, 6, 4]);
}

fn check_pad(dims: [usize; 4], padding: Padding) {
    let case = Case {
        name: format!("pad {dims:?}, {padding:?}"),
        inputs: vec![Values::new(14).array(&dims)],
        op: &|given: &Given<'_>| pad(given.get(0), padding),
        oracle: &|x: &[Array]| {
            let [n, h, w, c] = dims;
            let height = h + padding.top + padding.bottom;
            let width = w + padding.left + padding.right;
            Array::from_fn(&[n, height, width, c], |at| {
                let row = at[1].checked_sub(padding.top).filter(|&y| y < h);
                let column = at[2].checked_sub(padding.left).filter(|&x| x < w);
                row.zip(column)
                    .map_or(0.0, |(y, column)| x[0].at(&[at[0], y, column, at[3]]))
            })
        },
    };
    case.check();
    case.check_gradients();
}

#[test]
fn pad_each_side_by_its_own() {
    check_pad([2, 3, 2, 3], Padding::NONE);
    check_pad([2, 3, 2, 3], Padding::same(2));
    let uneven = Padding {
        top: 1,
        bottom: 2,
        left: 0,
        right: 3,
    };
    check_pad([2, 3, 2, 3], uneven);
    check_pad([1, 1, 1, 1], uneven);
}
