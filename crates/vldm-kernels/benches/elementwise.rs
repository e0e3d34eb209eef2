//! Operations on one value at a time, over eight frames of 40×64 latents with 320 channels.

#![allow(missing_docs, reason = "criterion's macros document nothing")]

mod support;

use burn::tensor::Tensor;
use criterion::{Criterion, criterion_group, criterion_main};
use vldm_kernels::{gelu, mix, silu, upsample_nearest};

use support::operation;

const DIMS: [usize; 4] = [8, 40, 64, 320];

fn one_input(criterion: &mut Criterion, name: &str, run: fn(Tensor<4>) -> Tensor<4>) {
    operation(criterion, name, DIMS.iter().product(), move |values| {
        let x = values.normal(DIMS);
        Box::new(move || run(x.clone()))
    });
}

fn activations(criterion: &mut Criterion) {
    one_input(criterion, "silu 8x40x64, 320 channels", silu);
    one_input(criterion, "gelu 8x40x64, 320 channels", gelu);
}

fn resampling(criterion: &mut Criterion) {
    let name = "upsample 8x40x64 to 80x128, 320 channels";
    one_input(criterion, name, |x| upsample_nearest(x, 80, 128));
}

fn blend(criterion: &mut Criterion) {
    let name = "mix 8x40x64, 320 channels";
    operation(criterion, name, DIMS.iter().product(), |values| {
        let dims = [1, 8, 40 * 64, 320];
        let (spatial, temporal) = (values.normal(dims), values.normal(dims));
        let alpha = values.normal([1]);
        Box::new(move || mix(spatial.clone(), temporal.clone(), alpha.clone()))
    });
}

criterion_group!(benches, activations, resampling, blend);
criterion_main!(benches);
