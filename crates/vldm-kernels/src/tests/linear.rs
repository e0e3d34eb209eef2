//! Linear layers against plain loops in f64, forward and backward.

use super::{
    check::{Array, Case, Given, Values},
    reference,
};
use crate::{linear, linear_geglu};

fn check_linear(dims: [usize; 3], out: usize, bias: bool, gradients: bool) {
    let mut values = Values::new(2);
    let mut inputs = vec![
        values.array(&dims),
        values.array(&[out, dims[2]]),
        values.array(&[dims[0], dims[1], out]),
    ];
    if bias {
        inputs.push(values.array(&[out]));
    }
    let case = Case {
        name: format!("linear {dims:?} -> {out}, bias {bias}"),
        inputs,
        op: &|given: &Given<'_>| {
            linear::<3>(
                given.get(0),
                given.get(1),
                given.maybe(3),
                Some(given.get(2)),
            )
        },
        oracle: &|x: &[Array]| {
            let y = reference::linear(&x[0], &x[1], x.get(3));
            reference::epilogue(&y, None, Some(&x[2]))
        },
    };
    case.check();
    if gradients {
        case.check_gradients();
    }
}

#[test]
fn linear_adds_bias_and_residual() {
    check_linear([2, 3, 5], 4, true, true);
    check_linear([2, 3, 5], 4, false, true);
    check_linear([1, 1, 1], 1, true, false);
    check_linear([3, 17, 33], 65, true, false);
    check_linear([0, 3, 5], 4, true, false);
}

#[test]
fn linear_works_on_vectors_and_clips() {
    let mut values = Values::new(3);
    let [x, weight] = [values.array(&[6]), values.array(&[3, 6])];
    Case {
        name: "linear of a vector".into(),
        inputs: vec![x.clone(), weight.clone()],
        op: &|given: &Given<'_>| linear::<1>(given.get(0), given.get(1), None, None),
        oracle: &|x: &[Array]| reference::linear(&x[0], &x[1], None),
    }
    .check();
    Case {
        name: "linear of a clip".into(),
        inputs: vec![values.array(&[1, 2, 3, 2, 6]), weight],
        op: &|given: &Given<'_>| linear::<5>(given.get(0), given.get(1), None, None),
        oracle: &|x: &[Array]| reference::linear(&x[0], &x[1], None),
    }
    .check();
}

fn check_geglu(dims: [usize; 3], inner: usize, bias: bool, gradients: bool) {
    let mut values = Values::new(4);
    let mut inputs = vec![values.array(&dims), values.array(&[2 * inner, dims[2]])];
    if bias {
        inputs.push(values.array(&[2 * inner]));
    }
    let case = Case {
        name: format!("linear_geglu {dims:?} -> {inner}, bias {bias}"),
        inputs,
        op: &|given: &Given<'_>| linear_geglu::<3>(given.get(0), given.get(1), given.maybe(2)),
        oracle: &|x: &[Array]| {
            let y = reference::linear(&x[0], &x[1], x.get(2));
            Array::from_fn(&[dims[0], dims[1], inner], |at| {
                let gate = y.at(&[at[0], at[1], inner + at[2]]);
                y.at(at) * reference::gelu(gate)
            })
        },
    };
    case.check();
    if gradients {
        case.check_gradients();
    }
}

#[test]
fn geglu_gates_the_first_half_with_the_second() {
    check_geglu([2, 3, 5], 4, true, true);
    check_geglu([2, 3, 5], 4, false, true);
    check_geglu([1, 1, 3], 1, true, false);
    check_geglu([2, 9, 12], 31, true, false);
}
