//! Normalisations of eight frames of 40×64 latents with 320 channels.

#![allow(missing_docs, reason = "criterion's macros document nothing")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use vldm_kernels::{Activation, Norm, group_norm, layer_norm};

use support::{Values, operation};

const DIMS: [usize; 3] = [8, 40 * 64, 320];

fn affine(values: Values) -> Norm {
    Norm {
        weight: values.normal([DIMS[2]]),
        bias: values.normal([DIMS[2]]),
        eps: 1e-5,
    }
}

fn groups(criterion: &mut Criterion) {
    for activation in [Activation::None, Activation::Silu] {
        let name = format!("group norm 8x40x64, 320 channels, then {activation:?}");
        operation(criterion, &name, DIMS.iter().product(), |values| {
            let (x, norm) = (values.normal(DIMS), affine(values));
            Box::new(move || group_norm(x.clone(), norm.clone(), 32, activation))
        });
    }
}

fn layers(criterion: &mut Criterion) {
    let name = "layer norm 8x40x64, 320 channels";
    operation(criterion, name, DIMS.iter().product(), |values| {
        let (x, norm) = (values.normal(DIMS), affine(values));
        Box::new(move || layer_norm(x.clone(), norm.clone()))
    });
}

criterion_group!(benches, groups, layers);
criterion_main!(benches);
