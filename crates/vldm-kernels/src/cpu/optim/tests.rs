//! AdamW and sums of squares against f64.

use super::*;
use crate::cpu::norm::tests::{Noise, assert_close, on_any_threads, wide};
use crate::operands::AdamW;

const STEP: AdamWStep = AdamWStep {
    config: AdamW {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
    },
    number: 3,
    gradient_scale: 0.5,
};

/// Parameter, gradient, first and second moment, average.
type State<T> = [Vec<T>; 5];

fn state(count: usize) -> State<f32> {
    let mut noise = Noise(11);
    let mut state = [(); 5].map(|()| noise.values::<f32>(count));
    for second in &mut state[3] {
        *second = second.abs();
    }
    state
}

/// The plain loop, in f64.
fn reference(state: &State<f32>, decay: f64) -> State<f64> {
    let mut state = state.each_ref().map(|values| wide(values));
    let AdamW {
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
    } = STEP.config;
    for i in 0..state[0].len() {
        let gradient = state[1][i] * STEP.gradient_scale;
        state[2][i] = beta1 * state[2][i] + (1.0 - beta1) * gradient;
        state[3][i] = beta2 * state[3][i] + (1.0 - beta2) * gradient * gradient;
        let first = state[2][i] / (1.0 - beta1.powi(3));
        let second = state[3][i] / (1.0 - beta2.powi(3));
        state[0][i] -= learning_rate * weight_decay * state[0][i];
        state[0][i] -= learning_rate * first / (second.sqrt() + epsilon);
        state[4][i] = decay * state[4][i] + (1.0 - decay) * state[0][i];
    }
    state
}

fn run(level: Level, state: &State<f32>, decay: Option<f64>) -> State<f32> {
    let mut state = state.clone();
    let [parameter, gradient, first, second, average] = &mut state;
    let average = decay.map(|decay| Average {
        values: average,
        decay,
    });
    adamw(
        level,
        &STEP,
        Buffers {
            parameter,
            gradient,
            first,
            second,
            average,
        },
    );
    state
}

#[test]
fn a_step_is_that_of_a_loop() {
    for count in [0, 1, 17, 5000, 70_001] {
        let before = state(count);
        let expected = reference(&before, 0.9);
        for level in Level::available() {
            let after = on_any_threads(|| run(level, &before, Some(0.9)));
            for (after, expected) in after.iter().zip(&expected) {
                assert_close(after, expected, 5e-7);
            }
            let without = run(level, &before, None);
            assert_eq!(without[..4], after[..4], "the average changes nothing else");
            assert_eq!(without[4], before[4]);
        }
    }
}

#[test]
fn a_sum_of_squares_is_that_of_a_loop() {
    for count in [0, 1, 31, 16_385, 300_000] {
        let x = Noise(12).values::<f32>(count);
        let expected: f64 = wide(&x).iter().map(|x| x * x).sum();
        let sums: Vec<f64> = Level::available()
            .map(|level| on_any_threads(|| sum_squares(level, &x)))
            .collect();
        assert!((sums[0] - expected).abs() <= 1e-11 * expected);
        assert!(
            sums.iter().all(|&sum| sum == sums[0]),
            "the level changes no bit"
        );
    }
}

#[test]
fn what_is_not_finite_shows_in_the_sum() {
    let mut x = vec![1.0; 20_000];
    x[17_000] = f32::INFINITY;
    assert_eq!(sum_squares(Level::best(), &x), f64::INFINITY);
    x[3] = f32::NAN;
    assert!(sum_squares(Level::best(), &x).is_nan());
}
