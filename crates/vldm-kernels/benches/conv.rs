//! Convolutions in space and in time, at the sizes of Stable Diffusion's networks for 320×512.

#![allow(missing_docs, reason = "criterion's macros document nothing")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use vldm_kernels::{Conv2dOptions, Epilogue, conv2d, temporal_conv};

use support::operation;

fn conv_3x3(criterion: &mut Criterion, dims: [usize; 4]) {
    let [n, h, w, c] = dims;
    let name = format!("conv 3x3, {n}x{h}x{w}, {c} channels");
    operation(criterion, &name, 0, move |values| {
        let (x, weight) = (values.normal(dims), values.normal([c, c, 3, 3]));
        let bias = values.normal([c]);
        Box::new(move || {
            let (weight, bias) = (weight.clone(), Some(bias.clone()));
            conv2d(
                x.clone(),
                weight,
                bias,
                Conv2dOptions::same(3),
                Epilogue::default(),
            )
        })
    });
}

fn space(criterion: &mut Criterion) {
    conv_3x3(criterion, [2, 40, 64, 320]);
    conv_3x3(criterion, [2, 20, 32, 640]);
    conv_3x3(criterion, [2, 10, 16, 1280]);
    conv_3x3(criterion, [1, 160, 256, 128]);
}

fn time(criterion: &mut Criterion) {
    operation(
        criterion,
        "conv 3x1x1, 8x40x64, 320 channels",
        0,
        |values| {
            let x = values.normal([1, 8, 40 * 64, 320]);
            let weight = values.normal([320, 320, 3, 1, 1]);
            Box::new(move || temporal_conv(x.clone(), weight.clone(), None, Epilogue::default()))
        },
    );
}

criterion_group!(benches, space, time);
criterion_main!(benches);
