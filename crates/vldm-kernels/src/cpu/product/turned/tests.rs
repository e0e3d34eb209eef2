//! Panels of a turned operand against those of the same matrix in order.

use half::bf16;

use super::super::panels::{CopyPanels, Part};
use super::super::{PANEL, Right, floats, tiles};
use super::*;

/// Copies the same part of the same matrix from both kinds of memory.
fn check<E: Element + Pod>(
    copy: CopyPanels<f32, E>,
    [blocks, inner, columns]: [usize; 3],
    depth: Range<usize>,
    used: Range<usize>,
) {
    let value = |depth: usize, column: usize| (depth * columns + column) as f32 / 64.0;
    let all = blocks * inner;
    let plain: Vec<f32> = (0..all * columns)
        .map(|at| value(at / columns, at % columns))
        .collect();
    let turned: Vec<f32> = (0..all * columns)
        .map(|at| {
            let (block, column) = (at / inner / columns, at / inner % columns);
            value(block * inner + at % inner, column)
        })
        .collect();
    let rows = depth.len().next_multiple_of(32);
    let panels = used.len().div_ceil(PANEL);
    let copied = |values: &[f32], inner, level| {
        let mut to = vec![E::default(); panels * rows * PANEL];
        let right = Right {
            values,
            columns,
            inner,
        };
        let part = Part {
            depth: depth.clone(),
            columns: used.clone(),
            panel: rows * PANEL,
        };
        copy(level, right, part, &mut to);
        to
    };
    for level in Level::available() {
        let (expected, got) = (
            copied(&plain, None, level),
            copied(&turned, Some(inner), level),
        );
        assert!(got == expected, "{level:?} {blocks} {inner} {columns}");
    }
}

#[test]
fn panels_are_those_of_the_matrix_in_order() {
    for (size, depth, used) in [
        ([1, 64, 64], 0..64, 0..64),
        ([1, 1, 1], 0..1, 0..1),
        ([9, 7, 5], 3..60, 0..5),
        ([3, 33, 70], 10..99, 32..70),
        ([2, 200, 40], 192..400, 0..40),
    ] {
        check::<f32>(floats::copy_panels, size, depth.clone(), used.clone());
        check::<bf16>(tiles::copy_panels, size, depth, used);
    }
}
