//! The tile unit in plain arithmetic, one element at a time: for tests on any machine.

use half::bf16;

use super::unit::{DEPTH, Product, SIDE, SUMS, TILE, Unit};
use super::weights::{LOWER, Weigh};
use crate::cpu::element::Element;

/// The same as [`Hardware`](super::Hardware), but for the rounding of sums.
#[derive(Debug)]
pub(in super::super) struct Plain;

impl Unit for Plain {
    fn begin() {}

    unsafe fn multiply(product: &Product) {
        let columns = if product.is_wide { 2 } else { 1 };
        for (lower, second, row, column) in (0..2)
            .flat_map(|lower| (0..columns).map(move |second| (lower, second)))
            .flat_map(|(lower, second)| (0..SUMS).map(move |i| (lower, second, i / SIDE, i % SIDE)))
        {
            // SAFETY: inside what the caller promises.
            unsafe {
                let sum = product.sums.add(lower * product.sums_rows + second * SUMS);
                let sum = sum.add(row * SIDE + column);
                let mut total = if product.adds { *sum } else { 0.0 };
                for depth in 0..product.steps * DEPTH {
                    let (step, depth) = (depth / DEPTH, depth % DEPTH);
                    let left = product.left.add(lower * product.left_rows);
                    let left = left.add(step * product.left_step + row * DEPTH + depth);
                    let right = product
                        .right
                        .add(second * product.right_columns + step * TILE);
                    let right = right.add(depth / 2 * DEPTH + 2 * column + depth % 2);
                    total += (*left).widen() * (*right).widen();
                }
                *sum = total;
            }
        }
    }

    unsafe fn weigh(weigh: Weigh<'_>) {
        let mut running = weigh.running;
        for row in 0..weigh.rows {
            let start = row / SIDE * LOWER + row % SIDE * SIDE;
            let mut logits = Vec::new();
            for key in 0..weigh.pairs * DEPTH {
                let logit = weigh.logits[start + key / SIDE * SUMS + key % SIDE];
                let is_seen = weigh.seen.is_none_or(|seen| seen[row] >> key & 1 == 1);
                logits.push(if is_seen { logit } else { f32::NEG_INFINITY });
            }
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if largest > running.limit[row] {
                running.raise(row, largest, weigh.scale);
            }
            for (key, logit) in logits.into_iter().enumerate() {
                let weight = (logit * weigh.scale - running.base[row]).exp2();
                running.sums[row * SIDE + key % SIDE] += weight;
                // Two weights take the place of one logit.
                let place = start + key / DEPTH * 2 * SUMS + key % DEPTH / 2;
                let half = u32::from(bf16::narrow(weight).to_bits()) << (key % 2 * 16);
                let other = weigh.logits[place].to_bits() & (0xffff_0000 >> (key % 2 * 16));
                weigh.logits[place] = f32::from_bits(other | half);
            }
        }
    }

    unsafe fn copy(from: &[bf16], to: &mut [bf16; DEPTH]) {
        *to = line(from);
    }

    unsafe fn interleave(
        from: [&[bf16]; 2],
        left: &mut [bf16; DEPTH],
        right: Option<&mut [bf16; DEPTH]>,
    ) {
        let [a, b] = from.map(line);
        for (half, to) in [Some(left), right].into_iter().enumerate() {
            for (i, to) in to.into_iter().flatten().enumerate() {
                *to = [a, b][i % 2][half * SIDE + i / 2];
            }
        }
    }

    unsafe fn transpose(from: &[&[bf16]; SIDE], to: &mut [bf16; TILE]) {
        for (row, from) in from.iter().enumerate() {
            for (d, x) in line(from).into_iter().enumerate() {
                to[d / 2 * DEPTH + 2 * row + d % 2] = x;
            }
        }
    }

    unsafe fn scale(from: &[f32; SIDE], factor: f32, to: &mut [bf16]) {
        for (y, x) in to.iter_mut().zip(from) {
            *y = bf16::narrow(x * factor);
        }
    }

    fn end() {}
}

/// Up to a line of elements, then zeros.
fn line(from: &[bf16]) -> [bf16; DEPTH] {
    std::array::from_fn(|i| from.get(i).copied().unwrap_or(bf16::ZERO))
}
