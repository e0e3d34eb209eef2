//! Blends and sums against plain loops, forward and backward.

use half::bf16;

use super::*;
use crate::cpu::norm::tests::{Noise, assert_close, on_any_threads, wide};

fn check<T: Element>(batch: usize, frames: usize, row: usize, alpha: &[f32]) {
    let mut noise = Noise(2);
    let [spatial, temporal, dy] = [(); 3].map(|()| noise.values::<T>(batch * frames * row));
    let weight = |i: usize| f64::from(alpha[i / row % frames % alpha.len()]);
    let places = wide(&spatial)
        .into_iter()
        .zip(wide(&temporal))
        .zip(wide(&dy))
        .enumerate();
    let [mut y, mut d_spatial, mut d_temporal] = [vec![], vec![], vec![]];
    let mut d_alpha = vec![0.0; alpha.len()];
    for (i, ((spatial, temporal), dy)) in places {
        y.push(weight(i) * spatial + (1.0 - weight(i)) * temporal);
        d_spatial.push(dy * weight(i));
        d_temporal.push(dy * (1.0 - weight(i)));
        d_alpha[i / row % frames % alpha.len()] += dy * (spatial - temporal);
    }
    let spec = Mix { frames, row, alpha };
    for level in Level::available() {
        let results = on_any_threads(|| {
            let mut results = [(); 3].map(|()| vec![T::narrow(f32::NAN); dy.len()]);
            let [y, d_spatial, d_temporal] = &mut results;
            let mut d_alpha = vec![f32::NAN; alpha.len()];
            mix(level, &spec, &spatial, &temporal, y);
            let gradients = Gradients {
                spatial: d_spatial,
                temporal: d_temporal,
                alpha: &mut d_alpha,
            };
            mix_backward(level, &spec, [&spatial, &temporal], &dy, gradients);
            (results, d_alpha)
        });
        let ([actual_y, actual_spatial, actual_temporal], actual_alpha) = results;
        assert_close(&actual_y, &y, 5e-7);
        assert_close(&actual_spatial, &d_spatial, 5e-7);
        assert_close(&actual_temporal, &d_temporal, 5e-7);
        assert_close(&actual_alpha, &d_alpha, 1e-5);
    }
}

#[test]
fn blend_and_gradients_are_those_of_a_loop() {
    for (batch, frames, row) in [(1, 1, 1), (2, 3, 5), (3, 2, 999), (2, 4, 40_000), (0, 3, 4)] {
        let alphas: Vec<f32> = (0..frames).map(|i| i as f32 / frames as f32).collect();
        for alpha in [&alphas[..], &[0.3]] {
            check::<f32>(batch, frames, row, alpha);
            check::<bf16>(batch, frames, row, alpha);
        }
    }
}

#[test]
fn alpha_of_one_is_exactly_the_spatial_branch() {
    let mut noise = Noise(4);
    let [spatial, temporal] = [(); 2].map(|()| noise.values::<bf16>(1000));
    let spec = Mix {
        frames: 4,
        row: 250,
        alpha: &[1.0],
    };
    for level in Level::available() {
        let mut y = vec![bf16::NAN; 1000];
        mix(level, &spec, &spatial, &temporal, &mut y);
        assert_eq!(y, spatial);
    }
}

#[test]
fn sums_are_those_of_a_loop() {
    for count in [0, 1, 33, 70_001] {
        let mut noise = Noise(9);
        let (a, b) = (noise.values::<bf16>(count), noise.values::<bf16>(count));
        let expected: Vec<f64> = wide(&a).iter().zip(wide(&b)).map(|(a, b)| a + b).collect();
        for level in Level::available() {
            let mut y = vec![bf16::NAN; count];
            add(level, &a, &b, &mut y);
            assert_close(&y, &expected, 0.0);
        }
    }
}
