//! The optimiser on ten million parameters, always in f32.

#![allow(missing_docs, reason = "criterion's macros document nothing")]

use burn::tensor::{Device, Distribution, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vldm_kernels::{AdamW, AdamWStep, Moments, adamw, sum_squares};

const PARAMETERS: usize = 10_000_000;

fn normal() -> Tensor<1> {
    let normal = Distribution::Normal(0.0, 1.0);
    Tensor::random([PARAMETERS], normal, &Device::flex())
}

fn optimiser(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10 M parameters");
    group.sample_size(10);
    group.throughput(Throughput::Elements(PARAMETERS as u64));
    let config = AdamW {
        learning_rate: 1e-4,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
    };
    let gradient = normal();
    let mut parameter = normal();
    let mut moments = Moments::zeros_like(&parameter);
    let mut number = 0;
    group.bench_function("adamw", |bencher| {
        bencher.iter(|| {
            number += 1;
            let step = AdamWStep {
                config,
                number,
                gradient_scale: 1.0,
            };
            parameter = adamw(
                parameter.clone(),
                gradient.clone(),
                &mut moments,
                None,
                step,
            );
        });
    });
    group.bench_function("sum of squares", |bencher| {
        bencher.iter(|| sum_squares(gradient.clone()));
    });
    group.finish();
}

criterion_group!(benches, optimiser);
criterion_main!(benches);
