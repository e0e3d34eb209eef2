//! A sample's result has the same bits alone and in a batch.

use burn::tensor::{DType, Device, Tensor};

use super::check::{Values, vector};
use crate::{
    Activation, AttentionMask, Conv2dOptions, Norm, attention, conv2d, group_norm, layer_norm,
    linear, linear_geglu, temporal_attention, temporal_conv,
};

const BATCH: usize = 3;

fn random<const D: usize>(dims: [usize; D]) -> Tensor<D> {
    let values = Values::new(17).array(&dims).data;
    vector(values, &Device::flex(), DType::F32).reshape(dims)
}

fn norm(channels: usize) -> Norm {
    Norm {
        weight: random([channels]),
        bias: random([channels]),
        eps: 1e-5,
    }
}

/// `dims`: one sample, whose first axis is 1.
fn check<const D: usize, const E: usize>(
    name: &str,
    mut dims: [usize; D],
    op: impl Fn(Tensor<D>) -> Tensor<E>,
) {
    dims[0] = BATCH;
    let x = random(dims);
    let together = op(x.clone());
    for sample in 0..BATCH {
        let alone = op(x.clone().narrow(0, sample, 1)).into_data();
        let in_batch = together.clone().narrow(0, sample, 1).into_data();
        assert!(alone == in_batch, "{name}: sample {sample} differs alone");
    }
}

#[test]
fn linear_ignores_the_batch() {
    let shapes = [
        [1, 64, 48],
        [1, 2000, 8],
        [30, 2000, 8],
        [1, 1280, 96],
        [200, 320, 300],
    ];
    for [tokens, inputs, out] in shapes {
        let name = format!("linear {tokens} x {inputs} -> {out}");
        let weight: Tensor<2> = random([out, inputs]);
        check(&name, [1, tokens, inputs], |x: Tensor<3>| {
            linear(x, weight.clone(), Some(random([out])), None)
        });
        check(&name, [1, tokens, inputs], |x: Tensor<3>| {
            linear_geglu(x, weight.clone(), None)
        });
    }
}

#[test]
fn convolutions_ignore_the_batch() {
    for [h, w, inputs, out, kernel] in [
        [5, 7, 16, 24, 3],
        [24, 32, 32, 48, 3],
        [1, 1, 24, 16, 1],
        [8, 8, 640, 16, 1],
    ] {
        let name = format!("conv2d {h} x {w} x {inputs} -> {out}, kernel {kernel}");
        let weight: Tensor<4> = random([out, inputs, kernel, kernel]);
        check(&name, [1, h, w, inputs], |x: Tensor<4>| {
            let options = Conv2dOptions::same(kernel);
            conv2d(x, weight.clone(), None, options, Default::default())
        });
    }
    for [frames, positions, inputs, out] in [[1, 1, 24, 16], [4, 9, 640, 16], [4, 96, 64, 64]] {
        let name = format!("temporal_conv {frames} x {positions} x {inputs} -> {out}");
        let weight: Tensor<5> = random([out, inputs, 3, 1, 1]);
        check(&name, [1, frames, positions, inputs], |x: Tensor<4>| {
            temporal_conv(x, weight.clone(), None, Default::default())
        });
    }
}

#[test]
fn normalisations_ignore_the_batch() {
    check("group_norm", [1, 300, 64], |x: Tensor<3>| {
        group_norm(x, norm(64), 32, Activation::Silu)
    });
    check("layer_norm", [1, 300, 64], |x: Tensor<3>| {
        layer_norm(x, norm(64))
    });
}

#[test]
fn attention_ignores_the_batch() {
    for tokens in [1, 77, 600] {
        check("attention", [1, tokens, 32], |x: Tensor<3>| {
            attention(x.clone(), x.clone(), x, 4, AttentionMask::None)
        });
    }
    check("temporal_attention", [1, 8, 30, 32], |x: Tensor<4>| {
        temporal_attention(x.clone(), x.clone(), x, 4, Some(3))
    });
}
