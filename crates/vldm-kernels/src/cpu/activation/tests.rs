//! Against the definitions in f64, on every level, forward and backward.

use half::bf16;

use super::*;
use crate::cpu::norm::tests::{Noise, assert_close, on_any_threads, wide};

const KINDS: [Kind; 4] = [Kind::Silu, Kind::Gelu, Kind::GeluTanh, Kind::QuickGelu];

fn reference(kind: Kind, x: f64) -> f64 {
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    match kind {
        Kind::Silu => x * sigmoid(x),
        Kind::Gelu => x * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2) / 2.0,
        Kind::GeluTanh => {
            let inner = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x * (1.0 + inner.tanh()) / 2.0
        }
        Kind::QuickGelu => x * sigmoid(1.702 * x),
    }
}

fn slope(kind: Kind, x: f64) -> f64 {
    const STEP: f64 = 1e-4;
    (reference(kind, x + STEP) - reference(kind, x - STEP)) / (2.0 * STEP)
}

/// Values from -100 to 100, most of them near 0.
fn inputs<T: Element>(count: usize) -> Vec<T> {
    let noise = Noise(5).values::<f32>(count);
    noise
        .into_iter()
        .map(|x| T::narrow(x.powi(3).clamp(-100.0, 100.0)))
        .collect()
}

fn check<T: Element>(count: usize) {
    let (x, dy) = (inputs::<T>(count), Noise(6).values::<T>(count));
    for (kind, level) in KINDS
        .iter()
        .flat_map(|&kind| Level::available().map(move |l| (kind, l)))
    {
        let (y, dx) = on_any_threads(|| {
            let mut results = (
                vec![T::narrow(f32::NAN); count],
                vec![T::narrow(f32::NAN); count],
            );
            forward(level, kind, &x, &mut results.0);
            backward(level, kind, &x, &dy, &mut results.1);
            results
        });
        let expected: Vec<f64> = wide(&x).iter().map(|&x| reference(kind, x)).collect();
        assert_close(&y, &expected, 3e-7);
        let pairs = x.iter().zip(wide(&dy));
        let expected: Vec<f64> = pairs
            .map(|(x, dy)| slope(kind, f64::from(x.widen())) * dy)
            .collect();
        assert_close(&dx, &expected, 2e-6);
    }
}

#[test]
fn values_and_slopes_are_those_of_the_formulas() {
    for count in [0, 1, 15, 1000, 70_001] {
        check::<f32>(count);
        check::<bf16>(count);
    }
}

#[test]
fn far_from_zero_they_are_zero_or_the_identity() {
    for kind in KINDS {
        for level in Level::available() {
            let x = [-3e38, -1e20, -1e4, 1e4, 1e20, 3e38_f32];
            let mut y = [f32::NAN; 6];
            forward(level, kind, &x, &mut y);
            assert_close(
                &y,
                &[0.0, 0.0, 0.0, 1e4, f64::from(x[4]), f64::from(x[5])],
                1e-6,
            );
            backward(level, kind, &x, &[1.0; 6], &mut y);
            assert_close(&y, &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0], 1e-6);
            forward(level, kind, &[f32::NAN; 6], &mut y);
            assert!(y.iter().all(|y| y.is_nan()), "{kind:?}");
            backward(level, kind, &[f32::NAN; 6], &[1.0; 6], &mut y);
            assert!(y.iter().all(|y| y.is_nan()), "{kind:?}");
        }
    }
}

fn check_geglu<T: Element>(rows: usize, inner: usize) {
    let (h, dy) = (
        inputs::<T>(rows * 2 * inner),
        Noise(8).values::<T>(rows * inner),
    );
    let (mut expected_y, mut expected_dh) = (vec![], vec![0.0; h.len()]);
    for (i, dy) in wide(&dy).into_iter().enumerate() {
        let value = i / inner * 2 * inner + i % inner;
        let (gate, value_at) = (
            f64::from(h[value + inner].widen()),
            f64::from(h[value].widen()),
        );
        expected_y.push(value_at * reference(Kind::Gelu, gate));
        expected_dh[value] = dy * reference(Kind::Gelu, gate);
        expected_dh[value + inner] = dy * value_at * slope(Kind::Gelu, gate);
    }
    for level in Level::available() {
        let (y, dh) = on_any_threads(|| {
            let mut y = vec![T::narrow(f32::NAN); dy.len()];
            let mut dh = vec![T::narrow(f32::NAN); h.len()];
            geglu(level, inner, &h, &mut y);
            geglu_backward(level, inner, &h, &dy, &mut dh);
            (y, dh)
        });
        // Products of values up to 100.
        assert_close(&y, &expected_y, 5e-5);
        assert_close(&dh, &expected_dh, 2e-4);
    }
}

#[test]
fn geglu_is_that_of_a_loop() {
    for (rows, inner) in [(1, 1), (3, 5), (7, 33), (300, 160), (0, 4), (3, 0)] {
        check_geglu::<f32>(rows, inner);
        check_geglu::<bf16>(rows, inner);
    }
}

#[test]
fn the_short_gelu_is_as_good_as_bf16_can_tell() {
    for at in -2000..=2000 {
        let x = at as f32 / 100.0;
        let expected = reference(Kind::Gelu, f64::from(x));
        for got in [gelu_in_half::<true>(x), gelu_in_half::<false>(x)] {
            let error = (f64::from(got) - expected).abs();
            assert!(
                error <= 8e-5 + 2.8e-5 * f64::from(x.abs()),
                "{x}: {got}, {expected}"
            );
        }
    }
    assert!(gelu_in_half::<false>(f32::NAN).is_nan());
}
