//! Matrix products at the sizes of Stable Diffusion's transformers for 320×512.

#![allow(missing_docs, reason = "criterion's macros document nothing")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use vldm_kernels::{linear, linear_geglu};

use support::operation;

fn plain(criterion: &mut Criterion, [rows, inputs, out]: [usize; 3]) {
    let name = format!("linear {rows}x{inputs}x{out}");
    operation(criterion, &name, 0, move |values| {
        let (x, weight) = (values.normal([rows, inputs]), values.normal([out, inputs]));
        let bias = values.normal([out]);
        Box::new(move || linear(x.clone(), weight.clone(), Some(bias.clone()), None))
    });
}

fn products(criterion: &mut Criterion) {
    plain(criterion, [5120, 320, 2560]);
    plain(criterion, [5120, 320, 320]);
    plain(criterion, [320, 1280, 1280]);
    plain(criterion, [2048, 2048, 2048]);
}

fn gated(criterion: &mut Criterion) {
    operation(criterion, "geglu 5120x320x2560", 0, |values| {
        let (x, weight) = (values.normal([5120, 320]), values.normal([2560, 320]));
        let bias = values.normal([2560]);
        Box::new(move || linear_geglu(x.clone(), weight.clone(), Some(bias.clone())))
    });
}

criterion_group!(benches, products, gated);
criterion_main!(benches);
