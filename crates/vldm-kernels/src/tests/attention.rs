//! Attention against plain loops in f64, forward and backward.

use super::{
    check::{Array, Case, Given, Values},
    reference,
};
use crate::{AttentionMask, attention, temporal_attention};

fn check(n: usize, [queries, keys]: [usize; 2], [heads, dim]: [usize; 2], mask: AttentionMask) {
    let mut values = Values::new(9);
    let mut tokens = |count: usize| values.array(&[n, count, heads * dim]).map(|x| 2.0 * x);
    let case = Case {
        name: format!("attention n {n}, {queries} to {keys}, {heads} heads of {dim}, {mask:?}"),
        inputs: vec![tokens(queries), tokens(keys), tokens(keys)],
        op: &|given: &Given<'_>| attention(given.get(0), given.get(1), given.get(2), heads, mask),
        oracle: &|x: &[Array]| {
            let causal = mask == AttentionMask::Causal;
            reference::attention([&x[0], &x[1], &x[2]], heads, |i, j| !causal || j <= i)
        },
    };
    case.check();
    if queries * keys * heads * dim < 300 {
        case.check_gradients();
    }
}

#[test]
fn attention_over_itself() {
    check(2, [4, 4], [2, 3], AttentionMask::None);
    check(1, [1, 1], [1, 1], AttentionMask::None);
    check(3, [33, 33], [5, 8], AttentionMask::None);
    check(0, [4, 4], [2, 3], AttentionMask::None);
}

#[test]
fn attention_to_a_context() {
    check(2, [4, 3], [2, 3], AttentionMask::None);
    check(2, [3, 7], [1, 5], AttentionMask::None);
    check(2, [65, 1], [2, 4], AttentionMask::None);
}

#[test]
fn causal_attention_sees_no_later_token() {
    check(2, [4, 4], [2, 3], AttentionMask::Causal);
    check(1, [77, 77], [2, 8], AttentionMask::Causal);
}

/// Long enough for a tiled body.
#[test]
fn attention_over_many_tokens() {
    check(1, [600, 520], [1, 3], AttentionMask::None);
    check(1, [530, 530], [1, 2], AttentionMask::Causal);
}

fn check_temporal(dims: [usize; 3], [heads, dim]: [usize; 2], max_distance: Option<usize>) {
    let [b, f, p] = dims;
    let shape = [b, f, p, heads * dim];
    let mut values = Values::new(10);
    let mut clip = || values.array(&shape).map(|x| 2.0 * x);
    let case = Case {
        name: format!("temporal_attention {dims:?}, {heads} heads of {dim}, {max_distance:?}"),
        inputs: vec![clip(), clip(), clip()],
        op: &|given: &Given<'_>| {
            let (q, k, v) = (given.get(0), given.get(1), given.get(2));
            temporal_attention(q, k, v, heads, max_distance)
        },
        oracle: &|x: &[Array]| {
            let rows = |x: &Array| reference::swap_middle(x).reshape(&[b * p, f, heads * dim]);
            let sees = |i: usize, j: usize| max_distance.is_none_or(|d| i.abs_diff(j) <= d);
            let [q, k, v] = [rows(&x[0]), rows(&x[1]), rows(&x[2])];
            let y = reference::attention([&q, &k, &v], heads, sees);
            reference::swap_middle(&y.reshape(&[b, p, f, heads * dim]))
        },
    };
    case.check();
    if shape.iter().product::<usize>() < 150 {
        case.check_gradients();
    }
}

#[test]
fn temporal_attention_stays_at_its_position() {
    check_temporal([2, 3, 2], [2, 3], None);
    check_temporal([1, 1, 5], [2, 3], None);
    check_temporal([2, 8, 17], [5, 4], None);
    check_temporal([0, 3, 2], [2, 3], None);
}

#[test]
fn temporal_attention_stays_within_its_distance() {
    check_temporal([1, 5, 2], [2, 3], Some(1));
    check_temporal([1, 5, 2], [1, 3], Some(0));
    check_temporal([2, 12, 3], [2, 4], Some(8));
    check_temporal([2, 5, 2], [1, 3], Some(100));
}
