//! Against plain loops in f64, forward and backward.

use half::bf16;

use super::*;
use crate::cpu::norm::tests::{Noise, assert_close, on_any_threads, wide};

#[derive(Debug, PartialEq)]
struct Results<T> {
    y: Vec<T>,
    dx: Vec<T>,
    dweight: Vec<f32>,
    dbias: Vec<f32>,
}

fn run<T: Element>(level: Level, spec: &LayerNorm<'_>, x: &[T], dy: &[T]) -> Results<T> {
    let filled = vec![T::narrow(f32::NAN); x.len()];
    let parameter = vec![f32::NAN; spec.weight.len()];
    let mut results = Results {
        y: filled.clone(),
        dx: filled,
        dweight: parameter.clone(),
        dbias: parameter,
    };
    layer_norm(level, spec, x, &mut results.y);
    let gradients = Gradients {
        dx: &mut results.dx,
        dweight: &mut results.dweight,
        dbias: &mut results.dbias,
    };
    layer_norm_backward(level, spec, x, dy, gradients);
    results
}

/// The plain loop, in f64, for one row.
fn reference(x: &[f64], weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
    let channels = x.len() as f64;
    let mean = x.iter().sum::<f64>() / channels;
    let squares: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
    let deviation = (squares / channels + eps).sqrt();
    let affine = weight.iter().zip(bias);
    let row = x.iter().zip(affine);
    row.map(|(x, (weight, bias))| (x - mean) / deviation * weight + bias)
        .collect()
}

fn check<T: Element>(rows: usize, channels: usize, offset: f32) {
    const STEP: f64 = 1e-4;
    let mut noise = Noise(3);
    let shifted = |x: &T| T::narrow(x.widen() + offset);
    let x: Vec<T> = noise
        .values::<T>(rows * channels)
        .iter()
        .map(shifted)
        .collect();
    let dy = noise.values::<T>(rows * channels);
    let (weight, bias) = (noise.values::<f32>(channels), noise.values::<f32>(channels));
    let spec = LayerNorm {
        eps: 1e-5,
        weight: &weight,
        bias: &bias,
    };
    let eps = f64::from(spec.eps);
    let (weights, biases) = (wide(&weight), wide(&bias));
    let ones = vec![1.0; channels];
    let zeros = vec![0.0; channels];
    let [mut y, mut dx] = [vec![], vec![]];
    let [mut dweight, mut dbias] = [zeros.clone(), zeros.clone()];
    for (mut x, dy) in wide(&x)
        .chunks(channels)
        .map(<[_]>::to_vec)
        .zip(wide(&dy).chunks(channels))
    {
        y.extend(reference(&x, &weights, &biases, eps));
        for (i, normal) in reference(&x, &ones, &zeros, eps).into_iter().enumerate() {
            dweight[i] += normal * dy[i];
            dbias[i] += dy[i];
        }
        for i in 0..channels {
            let value = x[i];
            let [above, below] = [value + STEP, value - STEP].map(|moved| {
                x[i] = moved;
                let y = reference(&x, &weights, &biases, eps);
                y.iter().zip(dy).map(|(y, dy)| y * dy).sum::<f64>()
            });
            x[i] = value;
            dx.push((above - below) / (2.0 * STEP));
        }
    }
    for level in Level::available() {
        let results = on_any_threads(|| run(level, &spec, &x, &dy));
        assert_close(&results.y, &y, 3e-6);
        assert_close(&results.dx, &dx, 5e-5);
        assert_close(&results.dweight, &dweight, 2e-5);
        assert_close(&results.dbias, &dbias, 2e-5);
        let row = run(level, &spec, &x[..channels], &dy[..channels]);
        assert_eq!(
            row.y,
            results.y[..channels],
            "a row does not depend on the others"
        );
        assert_eq!(row.dx, results.dx[..channels]);
    }
}

#[test]
fn output_and_gradients_are_those_of_a_loop() {
    for (rows, channels) in [
        (1, 1),
        (3, 2),
        (40, 5),
        (5, 64),
        (37, 77),
        (3, 131),
        (2, 320),
    ] {
        check::<f32>(rows, channels, 0.0);
        check::<bf16>(rows, channels, 0.0);
    }
}

#[test]
fn several_blocks_are_one_tensor() {
    check::<f32>(6000, 24, 0.0);
}

#[test]
fn a_large_offset_costs_no_precision() {
    check::<f32>(5, 200, 10_000.0);
}

#[test]
fn empty_tensors_are_fine() {
    let spec = LayerNorm {
        eps: 1e-5,
        weight: &[1.0; 3],
        bias: &[0.0; 3],
    };
    let results = run::<f32>(Level::best(), &spec, &[], &[]);
    assert_eq!(
        (results.dweight, results.dbias),
        (vec![0.0; 3], vec![0.0; 3])
    );
    let spec = LayerNorm {
        eps: 1e-5,
        weight: &[],
        bias: &[],
    };
    assert!(run::<f32>(Level::best(), &spec, &[], &[]).y.is_empty());
}
