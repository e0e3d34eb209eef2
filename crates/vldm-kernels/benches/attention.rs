//! Attention over positions, over text and over frames, at the sizes of Stable Diffusion for 320×512.

#![allow(missing_docs, reason = "criterion's macros document nothing")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use vldm_kernels::{AttentionMask, attention, temporal_attention};

use support::operation;

const HEADS: usize = 8;
const CHANNELS: usize = 320;

fn over_tokens(criterion: &mut Criterion, queries: usize, keys: usize) {
    let name = format!("attention 2x{queries} to {keys}, {HEADS} heads of 40");
    operation(criterion, &name, 0, move |values| {
        let q = values.normal([2, queries, CHANNELS]);
        let (k, v) = (
            values.normal([2, keys, CHANNELS]),
            values.normal([2, keys, CHANNELS]),
        );
        Box::new(move || attention(q.clone(), k.clone(), v.clone(), HEADS, AttentionMask::None))
    });
}

fn space(criterion: &mut Criterion) {
    over_tokens(criterion, 40 * 64, 40 * 64);
    over_tokens(criterion, 40 * 64, 77);
}

fn time(criterion: &mut Criterion) {
    let name = "attention over 8 frames, 40x64, 8 heads of 40";
    operation(criterion, name, 0, |values| {
        let clip = || values.normal([1, 8, 40 * 64, CHANNELS]);
        let (q, k, v) = (clip(), clip(), clip());
        Box::new(move || temporal_attention(q.clone(), k.clone(), v.clone(), HEADS, None))
    });
}

criterion_group!(benches, space, time);
criterion_main!(benches);
