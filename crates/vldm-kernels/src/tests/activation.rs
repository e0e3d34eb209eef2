//! Activations against plain loops in f64, forward and backward.

use super::{
    check::{Array, Case, Given, Values},
    reference,
};
use burn::tensor::Tensor;

fn check(name: &str, op: impl Fn(Tensor<2>) -> Tensor<2>, oracle: fn(f64) -> f64) {
    // -9 to 9 in every case, because both tails matter.
    let x = Values::new(1)
        .array(&[7, 5])
        .map(|x| (x * 9.0 * 256.0).round() / 256.0);
    let case = Case {
        name: name.into(),
        inputs: vec![x],
        op: &|given: &Given<'_>| op(given.get(0)),
        oracle: &|x: &[Array]| x[0].map(oracle),
    };
    case.check();
    case.check_gradients();
}

#[test]
fn silu_is_right() {
    check("silu", crate::silu, reference::silu);
}

#[test]
fn gelu_is_the_exact_form() {
    check("gelu", crate::gelu, reference::gelu);
}

#[test]
fn gelu_tanh_is_right() {
    check("gelu_tanh", crate::gelu_tanh, reference::gelu_tanh);
}

#[test]
fn quick_gelu_is_right() {
    check("quick_gelu", crate::quick_gelu, reference::quick_gelu);
}
