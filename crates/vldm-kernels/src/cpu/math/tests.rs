//! Elementary functions against f64 over their whole range.

use super::*;

fn ulps(actual: f32, expected: f64) -> f64 {
    let nearest = expected as f32;
    let ulp = f64::from(nearest.abs().next_up()) - f64::from(nearest.abs());
    (f64::from(actual) - expected).abs() / ulp
}

/// Some 2 million floats, evenly over all exponents.
fn floats() -> impl Iterator<Item = f32> {
    (0..u32::MAX).step_by(2039).map(f32::from_bits)
}

fn check_exp<const FMA: bool>() {
    let mut worst = 0.0_f64;
    for x in floats().chain((-110_000..95_000).map(|i| i as f32 * 1e-3)) {
        let expected = f64::from(x).exp();
        let actual = exp::<FMA>(x);
        if expected.is_nan() {
            assert!(actual.is_nan(), "{x}");
        } else if expected > f64::from(f32::MAX) {
            assert_eq!(actual, f32::INFINITY, "{x}");
        } else {
            worst = worst.max(ulps(actual, expected));
        }
    }
    assert!(worst < 1.1, "{worst} units in the last place");
    assert_eq!(exp::<FMA>(0.0), 1.0);
    assert_eq!(exp::<FMA>(-0.0), 1.0);
    assert_eq!(exp::<FMA>(f32::NEG_INFINITY), 0.0);
    assert_eq!(exp::<FMA>(f32::INFINITY), f32::INFINITY);
    assert!(exp::<FMA>(f32::NAN).is_nan());
    assert_eq!(exp::<FMA>(-104.5), 0.0);
    assert!(
        exp::<FMA>(-103.0) > 0.0,
        "the smallest subnormals are reached"
    );
}

#[test]
fn exp_is_right_to_the_last_bits_over_the_whole_range() {
    check_exp::<true>();
    check_exp::<false>();
}

fn check_erf<const FMA: bool>() {
    for x in floats().chain((-60_000..60_000).map(|i| i as f32 * 1e-4)) {
        let actual = erf::<FMA>(x);
        if x.is_nan() {
            assert!(actual.is_nan());
        } else {
            let expected = libm::erf(f64::from(x));
            let error = (f64::from(actual) - expected).abs();
            assert!(error < 1e-7, "erf({x}) = {actual}, expected {expected}");
            assert_eq!(actual.is_sign_negative(), x.is_sign_negative());
        }
    }
}

#[test]
fn erf_is_right_to_1e_7() {
    check_erf::<true>();
    check_erf::<false>();
}

#[test]
fn sigmoid_has_its_limits() {
    assert_eq!(sigmoid::<true>(0.0), 0.5);
    assert_eq!(sigmoid::<true>(f32::INFINITY), 1.0);
    assert!(sigmoid::<true>(f32::NEG_INFINITY) < 2e-38);
    assert!(sigmoid::<true>(f32::NAN).is_nan());
}
