//! The blend against plain loops in f64, forward and backward.

use super::check::{Array, Case, Given, Values};
use crate::mix;

fn check(dims: [usize; 4], weights: usize) {
    let mut values = Values::new(11);
    let case = Case {
        name: format!("mix {dims:?}, {weights} weights"),
        inputs: vec![
            values.array(&dims),
            values.array(&dims),
            values.array(&[weights]),
        ],
        op: &|given: &Given<'_>| mix::<4>(given.get(0), given.get(1), given.get(2)),
        oracle: &|x: &[Array]| {
            Array::from_fn(&dims, |at| {
                let alpha = x[2].data[if weights == 1 { 0 } else { at[1] }];
                alpha * x[0].at(at) + (1.0 - alpha) * x[1].at(at)
            })
        },
    };
    case.check();
    case.check_gradients();
}

#[test]
fn mix_with_one_weight_or_one_per_frame() {
    check([2, 3, 4, 2], 1);
    check([2, 3, 4, 2], 3);
    check([1, 1, 1, 1], 1);
}

#[test]
fn mix_returns_the_spatial_branch_at_one() {
    use burn::tensor::{DType, Device};
    let mut values = Values::new(12);
    let mut clip = || {
        let values = values.array(&[2, 3, 4, 5]).data;
        super::check::vector(values, &Device::flex(), DType::F32).reshape([2, 3, 4, 5])
    };
    let (spatial, temporal) = (clip(), clip());
    let alpha = super::check::vector(vec![1.0], &Device::flex(), DType::F32);
    let got = mix::<4>(spatial.clone(), temporal, alpha);
    assert_eq!(got.into_data(), spatial.into_data());
}
