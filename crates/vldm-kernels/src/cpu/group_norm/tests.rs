//! Against plain loops in f64: groups across the border of two inputs, offsets, threads and batches.

use half::bf16;

use super::*;
use crate::cpu::norm::tests::{Noise, assert_close, on_any_threads, wide};

/// A group norm, its input and the output's gradient.
struct Case<T> {
    shape: [usize; 4],
    groups: usize,
    activation: Activation,
    x: [Vec<T>; 2],
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<T>,
}

#[derive(Debug, PartialEq)]
struct Results<T> {
    y: Vec<T>,
    stats: Vec<f32>,
    dx: [Vec<T>; 2],
    dweight: Vec<f32>,
    dbias: Vec<f32>,
}

const EPS: f32 = 1e-5;

impl<T: Element> Case<T> {
    fn new(shape: [usize; 4], groups: usize, activation: Activation) -> Self {
        let [n, tokens, c0, c1] = shape;
        let mut noise = Noise(7);
        Self {
            shape,
            groups,
            activation,
            x: [c0, c1].map(|c| noise.values(n * tokens * c)),
            weight: noise.values(c0 + c1),
            bias: noise.values(c0 + c1),
            dy: noise.values(n * tokens * (c0 + c1)),
        }
    }

    /// The first `n` samples.
    fn run(&self, level: Level, n: usize) -> Results<T> {
        let [_, tokens, c0, c1] = self.shape;
        let spec = GroupNorm {
            n,
            tokens,
            channels: [c0, c1],
            groups: self.groups,
            eps: EPS,
            weight: &self.weight,
            bias: &self.bias,
            activation: self.activation,
        };
        let lengths = [c0, c1].map(|c| n * tokens * c);
        let x = [&self.x[0][..lengths[0]], &self.x[1][..lengths[1]]];
        let dy = &self.dy[..lengths[0] + lengths[1]];
        let filled = |length| vec![T::narrow(f32::NAN); length];
        let mut results = Results {
            y: filled(dy.len()),
            stats: vec![f32::NAN; n * self.groups * 2],
            dx: lengths.map(filled),
            dweight: vec![f32::NAN; c0 + c1],
            dbias: vec![f32::NAN; c0 + c1],
        };
        group_norm(level, &spec, x, &mut results.y, &mut results.stats);
        let [dx0, dx1] = &mut results.dx;
        let gradients = Gradients {
            dx: [dx0, dx1],
            dweight: &mut results.dweight,
            dbias: &mut results.dbias,
        };
        group_norm_backward(
            level,
            &spec,
            Saved {
                x,
                stats: &results.stats,
                dy,
            },
            gradients,
        );
        results
    }

    /// Both inputs, side by side.
    fn joined(&self) -> Vec<f64> {
        let [_, _, c0, c1] = self.shape;
        let [x0, x1] = [wide(&self.x[0]), wide(&self.x[1])];
        let rows = self.dy.len() / (c0 + c1);
        let row = |i: usize| x0[i * c0..][..c0].iter().chain(&x1[i * c1..][..c1]);
        (0..rows).flat_map(row).copied().collect()
    }
}

/// The plain loop, in f64.
fn reference<T>(case: &Case<T>, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let [n, tokens, c0, c1] = case.shape;
    let (channels, each) = (c0 + c1, (c0 + c1) / case.groups);
    let mut y = vec![0.0; x.len()];
    for (sample, group) in (0..n).flat_map(|n| (0..case.groups).map(move |g| (n, g))) {
        let places: Vec<usize> = (0..tokens * each)
            .map(|i| (sample * tokens + i / each) * channels + group * each + i % each)
            .collect();
        let mean = places.iter().map(|&i| x[i]).sum::<f64>() / places.len() as f64;
        let squares = places.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>();
        let deviation = (squares / places.len() as f64 + f64::from(EPS)).sqrt();
        for i in places {
            let z = (x[i] - mean) / deviation * weight[i % channels] + bias[i % channels];
            y[i] = match case.activation {
                Activation::None => z,
                Activation::Silu => z / (1.0 + (-z).exp()),
            };
        }
    }
    y
}

/// Gradient of `loss` at about `count` places of `x`, by central differences.
fn differences(count: usize, x: &mut [f64], loss: impl Fn(&[f64]) -> f64) -> Vec<(usize, f64)> {
    const STEP: f64 = 1e-4;
    let places: Vec<usize> = (0..x.len())
        .step_by(x.len().div_ceil(count).max(1))
        .collect();
    places
        .into_iter()
        .map(|i| {
            let value = x[i];
            x[i] = value + STEP;
            let above = loss(x);
            x[i] = value - STEP;
            let below = loss(x);
            x[i] = value;
            (i, (above - below) / (2.0 * STEP))
        })
        .collect()
}

#[track_caller]
fn assert_gradient<T: Element>(gradient: &[T], expected: &[(usize, f64)]) {
    let actual: Vec<T> = expected.iter().map(|&(i, _)| gradient[i]).collect();
    let expected: Vec<f64> = expected.iter().map(|&(_, value)| value).collect();
    assert_close(&actual, &expected, 5e-5);
}

fn check<T: Element>(shape: [usize; 4], groups: usize, activation: Activation) {
    let case = Case::<T>::new(shape, groups, activation);
    let [n, _, c0, c1] = shape;
    let (x, dy) = (case.joined(), wide(&case.dy));
    let (weight, bias) = (wide(&case.weight), wide(&case.bias));
    let loss = |x: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
        let y = reference(&case, x, weight, bias);
        y.iter().zip(&dy).map(|(y, dy)| y * dy).sum()
    };
    // Few places where the loop takes long.
    let count = 5 + 20_000 / dy.len();
    let y = reference(&case, &x, &weight, &bias);
    let dweight = differences(count, &mut weight.clone(), |weight| loss(&x, weight, &bias));
    let dbias = differences(count, &mut bias.clone(), |bias| loss(&x, &weight, bias));
    let dx = differences(count, &mut x.clone(), |x| loss(x, &weight, &bias));
    for level in Level::available() {
        let results = case.run(level, n);
        assert_close(&results.y, &y, 2e-6);
        let [dx0, dx1] = &results.dx;
        let rows = dx0.len() / c0.max(1);
        let row = |i: usize| dx0[i * c0..][..c0].iter().chain(&dx1[i * c1..][..c1]);
        let joined: Vec<T> = (0..rows).flat_map(row).copied().collect();
        assert_gradient(&joined, &dx);
        assert_gradient(&results.dweight, &dweight);
        assert_gradient(&results.dbias, &dbias);
    }
}

#[test]
fn output_and_gradients_are_those_of_a_loop() {
    for (shape, groups) in [
        ([1, 1, 4, 0], 2),
        ([2, 7, 5, 4], 3),
        ([3, 70, 32, 0], 32),
        ([1, 130, 48, 16], 1),
        ([2, 33, 17, 0], 17),
        ([1, 70, 100, 92], 32),
        ([2, 35, 1, 62], 7),
    ] {
        for activation in [Activation::None, Activation::Silu] {
            check::<f32>(shape, groups, activation);
            check::<bf16>(shape, groups, activation);
        }
    }
}

#[test]
fn several_blocks_are_one_sample() {
    check::<f32>([2, 1500, 40, 56], 6, Activation::Silu);
}

#[test]
fn neither_threads_nor_the_batch_change_a_bit() {
    for shape in [[3, 1000, 130, 62], [3, 5, 20, 4]] {
        let case = Case::<bf16>::new(shape, 24, Activation::Silu);
        for level in Level::available() {
            let three = on_any_threads(|| case.run(level, 3));
            let one = case.run(level, 1);
            assert_eq!(one.y, three.y[..one.y.len()]);
            assert_eq!(one.stats, three.stats[..one.stats.len()]);
            assert_eq!(one.dx[0], three.dx[0][..one.dx[0].len()]);
            assert_eq!(one.dx[1], three.dx[1][..one.dx[1].len()]);
        }
    }
}

#[test]
fn empty_tensors_are_fine() {
    for shape in [[0, 5, 4, 2], [2, 0, 4, 2]] {
        let results = Case::<f32>::new(shape, 2, Activation::Silu).run(Level::best(), shape[0]);
        assert_eq!(
            (results.dweight, results.dbias),
            (vec![0.0; 6], vec![0.0; 6])
        );
    }
}

#[test]
fn a_large_offset_costs_no_precision() {
    let mut case = Case::<f32>::new([1, 3000, 32, 0], 4, Activation::None);
    for x in &mut case.x[0] {
        *x += 10_000.0;
    }
    let (weight, bias) = (wide(&case.weight), wide(&case.bias));
    let expected = reference(&case, &case.joined(), &weight, &bias);
    for level in Level::available() {
        assert_close(&case.run(level, 1).y, &expected, 3e-6);
    }
}

#[test]
fn an_unusual_first_row_costs_no_precision() {
    let mut case = Case::<f32>::new([1, 3000, 32, 0], 4, Activation::None);
    case.x[0][..32].fill(300.0);
    let (weight, bias) = (wide(&case.weight), wide(&case.bias));
    let expected = reference(&case, &case.joined(), &weight, &bias);
    for level in Level::available() {
        assert_close(&case.run(level, 1).y, &expected, 5e-6);
    }
}
