//! Blocks, panels and edges, with a tile unit in plain arithmetic: the same on every machine. The
//! processor's own unit is compared with it where there is one.

use std::ops::Range;
use std::sync::Mutex;

use half::bf16;

use super::super::super::element::{Element, convert_into};
use super::super::super::level::Level;
use super::super::panels::{Halves, Panels};
use super::super::{Left, PANEL, Right, Sink, Sums, Task};
use super::{Hardware, Rows, STEP, TILE_DEPTH, Unit, copy_panels, run};

/// The tile instructions' arithmetic, one element at a time.
pub(in super::super) struct Plain;

impl Unit for Plain {
    fn begin() {}

    unsafe fn multiply(
        left: Rows,
        panel: *const bf16,
        [pieces, steps]: [usize; 2],
        (sums, stride): (*mut f32, usize),
        adds: bool,
    ) {
        for row in 0..STEP {
            let (half, row_of_half) = (row / (STEP / 2), row % (STEP / 2));
            for column in 0..PANEL {
                // SAFETY: inside what the caller promises.
                unsafe {
                    let to = sums.add(row * stride + column);
                    let mut sum = if adds { *to } else { 0.0 };
                    for depth in 0..pieces * steps * TILE_DEPTH {
                        let piece = depth / (steps * TILE_DEPTH);
                        let start = *left.starts.add(half * left.lower + piece);
                        let left =
                            start.add(row_of_half * left.stride + depth % (steps * TILE_DEPTH));
                        let pair = depth / 2 * 2 * PANEL + 2 * column + depth % 2;
                        sum += (*left).widen() * (*panel.add(pair)).widen();
                    }
                    *to = sum;
                }
            }
        }
    }

    fn prefetch(_: &[bf16]) {}

    fn end() {}
}

/// A matrix `[rows, depth]`, copied in either order.
struct Matrix<'a, const DEPTH_FIRST: bool> {
    values: &'a [f32],
    depth: usize,
}

impl<const FIRST: bool> Left for Matrix<'_, FIRST> {
    const DEPTH_FIRST: bool = FIRST;

    fn copy<E: Element>(
        &self,
        _: Level,
        rows: Range<usize>,
        depth: Range<usize>,
        block: &mut [E],
        stride: usize,
    ) {
        for (r, row) in rows.enumerate() {
            let from = &self.values[row * self.depth..][depth.clone()];
            if FIRST {
                for (d, value) in from.iter().enumerate() {
                    block[d * stride + r] = E::narrow(*value);
                }
            } else {
                convert_into(from, &mut block[r * stride..][..from.len()]);
            }
        }
    }
}

struct Collect {
    columns: usize,
    pair: Option<usize>,
    to: Mutex<Vec<f32>>,
}

impl Sink for Collect {
    fn write(&self, _: Level, sums: Sums<'_>) {
        let mut to = self.to.lock().unwrap();
        for (index, row) in sums.rows.clone().enumerate() {
            let start = row * self.columns + sums.columns.start;
            to[start..start + sums.columns.len()].copy_from_slice(sums.row(index));
            if let Some(pair) = self.pair {
                let start = start + pair;
                to[start..start + sums.columns.len()].copy_from_slice(sums.paired_row(index));
            }
        }
    }

    fn pair(&self) -> Option<usize> {
        self.pair
    }
}

/// Small integers: every sum of products is exact, in any order.
fn integers(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * step) % 7) as f32 - 3.0).collect()
}

fn check<U: Unit>([rows, depth, columns]: [usize; 3], paired: bool) {
    let left = integers(rows * depth, 5);
    let right = integers(depth * columns, 3);
    let pair = paired.then_some(columns / 2);
    let half = pair.unwrap_or(columns);
    // An inner block of the outputs, as tasks have them.
    let task = Task {
        level: Level::best(),
        rows: rows / 3..rows,
        columns: half / 3 / PANEL * PANEL..half,
        pair,
        depth: 0..depth,
    };
    let halves = Halves {
        columns: half,
        pair,
    };
    let all = Right {
        values: &right,
        columns,
        inner: None,
    };
    let panels = Panels::new(copy_panels, Level::best(), all, halves);
    let both = [Some(&panels), None];
    for (first, panels) in [false, true]
        .into_iter()
        .flat_map(|first| both.map(|p| (first, p)))
    {
        let sink = Collect {
            columns,
            pair,
            to: Mutex::new(vec![0.0; rows * columns]),
        };
        if first {
            let left = Matrix::<true> {
                values: &left,
                depth,
            };
            run::<U, _, _>(&task, &left, all, panels, &sink);
        } else {
            let left = Matrix::<false> {
                values: &left,
                depth,
            };
            run::<U, _, _>(&task, &left, all, panels, &sink);
        }
        let got = sink.to.into_inner().unwrap();
        for row in task.rows.clone() {
            let paired = pair.map(|pair| task.columns.start + pair..task.columns.end + pair);
            for column in task.columns.clone().chain(paired.into_iter().flatten()) {
                let products =
                    (0..depth).map(|d| left[row * depth + d] * right[d * columns + column]);
                let expected: f32 = products.sum();
                let got = got[row * columns + column];
                assert_eq!(got, expected, "row {row}, column {column}");
            }
        }
    }
}

fn check_shapes<U: Unit>() {
    for shape in [
        [1, 1, 1],
        [3, 5, 7],
        [32, 32, 32],
        [33, 64, 65],
        [100, 300, 70],
        [200, 513, 34],
    ] {
        check::<U>(shape, false);
    }
    check::<U>([40, 70, 50], true);
    check::<U>([5, 0, 4], false);
}

#[test]
fn blocks_of_tiles_equal_loops() {
    check_shapes::<Plain>();
}

#[test]
fn the_tile_unit_equals_plain_arithmetic() {
    if Level::best() == Level::Amx {
        check_shapes::<Hardware>();
    }
}
