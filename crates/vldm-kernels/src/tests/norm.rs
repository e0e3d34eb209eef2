//! Normalisations against plain loops in f64, forward and backward.

use burn::tensor::{DType, Device, Tensor};

use super::{
    check::{Array, Case, Given, Values, assert_close, values, vector},
    reference,
};
use crate::{Activation, Channels, Norm, group_norm, layer_norm};

const EPS: f64 = 1e-5;

fn norm(given: &Given<'_>) -> Norm {
    Norm {
        weight: given.get(0),
        bias: given.get(1),
        eps: EPS,
    }
}

/// `second`: channels of a second input, if any.
fn check_group_norm(
    dims: [usize; 3],
    second: Option<usize>,
    groups: usize,
    activation: Activation,
) {
    let mut values = Values::new(5);
    let channels = dims[2] + second.unwrap_or(0);
    let mut inputs = vec![values.array(&[channels]), values.array(&[channels])];
    inputs.push(values.array(&dims));
    inputs.extend(second.map(|channels| values.array(&[dims[0], dims[1], channels])));
    let case = Case {
        name: format!("group_norm {dims:?} + {second:?}, {groups} groups, {activation:?}"),
        inputs,
        op: &|given: &Given<'_>| {
            let x = match given.maybe(3) {
                Some(second) => Channels::Two(given.get(2), second),
                None => Channels::One(given.get(2)),
            };
            group_norm(x, norm(given), groups, activation)
        },
        oracle: &|x: &[Array]| {
            let input = match x.get(3) {
                Some(second) => reference::concat(&x[2], second),
                None => x[2].clone(),
            };
            let y = reference::group_norm(&input, &x[0], &x[1], groups, EPS);
            match activation {
                Activation::None => y,
                Activation::Silu => y.map(reference::silu),
            }
        },
    };
    case.check();
    if dims[0] * dims[1] * channels < 100 {
        case.check_gradients();
    }
}

#[test]
fn group_norm_is_right() {
    check_group_norm([2, 5, 6], None, 3, Activation::None);
    check_group_norm([2, 5, 6], None, 3, Activation::Silu);
    check_group_norm([2, 4, 3], Some(5), 2, Activation::Silu);
    check_group_norm([1, 1, 4], None, 2, Activation::None);
    check_group_norm([3, 7, 5], None, 5, Activation::None);
    check_group_norm([2, 63, 64], Some(32), 32, Activation::Silu);
}

#[test]
fn group_norm_of_an_empty_batch_is_empty() {
    let device = Device::flex();
    let zeros = |n| Tensor::<1>::zeros([n], &device);
    let x = Tensor::<3>::zeros([0, 4, 6], &device);
    let norm = Norm {
        weight: zeros(6),
        bias: zeros(6),
        eps: EPS,
    };
    assert_eq!(group_norm(x, norm, 2, Activation::Silu).dims(), [0, 4, 6]);
}

/// E[x²] - E[x]² would lose every digit here, and sums in half precision would overflow.
#[test]
fn group_norm_survives_a_large_offset() {
    let dims = [1, 512, 8];
    // Steps of 2 around 3000: numbers that f16 holds exactly.
    let x = Values::new(6).array(&dims);
    let x = x.map(|v| 3000.0 + 2.0 * (v * 4.0).round());
    let constant = |value: f64| Array::from_fn(&[8], |_| value);
    let expected = reference::group_norm(&x, &constant(1.0), &constant(0.0), 2, EPS);
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 1e-3)] {
        let upload = |x: &Array| vector(x.data.clone(), &Device::flex(), dtype);
        let norm = Norm {
            weight: upload(&constant(1.0)),
            bias: upload(&constant(0.0)),
            eps: EPS,
        };
        let y = group_norm(upload(&x).reshape(dims), norm, 2, Activation::None);
        assert_close(&format!("{dtype:?}"), &values(y), &expected.data, tolerance);
    }
}

/// As many tokens as an autoencoder's last layers have, all on one side of zero.
#[test]
fn group_norm_sums_many_tokens_precisely() {
    let dims = [1, 100_000, 2];
    let x = Values::new(18).array(&dims).map(|v| v + 5.0);
    let [ones, zeros] = [1.0, 0.0].map(|value| Array::from_fn(&[2], |_| value));
    let expected = reference::group_norm(&x, &ones, &zeros, 1, EPS);
    let upload = |x: &Array| vector(x.data.clone(), &Device::flex(), DType::F32);
    let norm = Norm {
        weight: upload(&ones),
        bias: upload(&zeros),
        eps: EPS,
    };
    let y = group_norm(upload(&x).reshape(dims), norm, 1, Activation::None);
    assert_close("group_norm", &values(y), &expected.data, 5e-6);
}

fn check_layer_norm(dims: [usize; 3]) {
    let mut values = Values::new(7);
    let channels = dims[2];
    let case = Case {
        name: format!("layer_norm {dims:?}"),
        inputs: vec![
            values.array(&[channels]),
            values.array(&[channels]),
            values.array(&dims),
        ],
        op: &|given: &Given<'_>| layer_norm::<3>(given.get(2), norm(given)),
        oracle: &|x: &[Array]| reference::layer_norm(&x[2], &x[0], &x[1], EPS),
    };
    case.check();
    if dims.iter().product::<usize>() < 100 {
        case.check_gradients();
    }
}

#[test]
fn layer_norm_is_right() {
    check_layer_norm([2, 3, 5]);
    check_layer_norm([1, 1, 2]);
    check_layer_norm([2, 65, 67]);
    check_layer_norm([0, 3, 5]);
}
