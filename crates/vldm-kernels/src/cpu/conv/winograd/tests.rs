//! The transforms against direct sums, where the choice between the two would not pick them.

use super::super::sinks::{Additions, Output};
use super::super::{Axis, Conv};
use super::Winograd;
use crate::cpu::level::Level;

/// Values of some hundreds, exact in f32.
fn values(count: usize, step: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * step) % 23) as f32 / 8.0 - 1.375)
        .collect()
}

/// The convolution by its definition, in f64; `reversed` reads the kernel backwards and turned.
fn direct(w: &Winograd, x: [&[f32]; 2], weight: &[f32]) -> Vec<f64> {
    let [height, width] = w.axes;
    let channels: usize = w.inputs.iter().sum();
    let mut y = Vec::new();
    for image in 0..w.images {
        for at in 0..height.output() * width.output() {
            let (row, column) = (at / width.output(), at % width.output());
            for out in 0..w.outputs {
                let mut sum = 0.0;
                for tap in 0..9 {
                    let source = |axis: &Axis, at: usize, tap: usize| {
                        let at = (at + tap).checked_sub(axis.before)?;
                        (at < axis.scaled).then(|| at * axis.input / axis.scaled)
                    };
                    let place = source(&height, row, tap / 3).zip(source(&width, column, tap % 3));
                    let Some((sy, sx)) = place else { continue };
                    let pixel = (image * height.input + sy) * width.input + sx;
                    let tap = if w.reversed { 8 - tap } else { tap };
                    for c in 0..channels {
                        let value = match c.checked_sub(w.inputs[0]) {
                            None => x[0][pixel * w.inputs[0] + c],
                            Some(c) => x[1][pixel * w.inputs[1] + c],
                        };
                        let at = if w.reversed {
                            out * channels + c
                        } else {
                            c * w.outputs + out
                        };
                        let weight = weight[tap * channels * w.outputs + at];
                        sum += f64::from(value) * f64::from(weight);
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

fn check(w: &Winograd) {
    let [height, width] = w.axes;
    let pixels = w.images * height.input * width.input;
    let [first, second] = w.inputs.map(|channels| values(pixels * channels, 7));
    let weight = values(9 * w.inputs.iter().sum::<usize>() * w.outputs, 5);
    let expected = direct(w, [&first, &second], &weight);
    let scale = expected.iter().fold(0.0, |most: f64, y| most.max(y.abs()));
    for level in Level::available() {
        let mut y = vec![f32::NAN; expected.len()];
        let sink = Output::new(&mut y, w.outputs, Additions::default());
        w.run(level, [&first, &second], &weight, &sink);
        for (got, expected) in y.iter().zip(&expected) {
            let error = (f64::from(*got) - expected).abs();
            assert!(error <= 1e-5 * scale, "{w:?}: {got} instead of {expected}");
        }
    }
}

/// The gradient of the kernel by its definition, in f64.
fn direct_gradient(w: &Winograd, x: [&[f32]; 2], dy: &[f32]) -> Vec<f64> {
    // Each element of it is what the output changes by when that weight does.
    let [height, width] = w.axes;
    let channels: usize = w.inputs.iter().sum();
    let mut gradient = vec![0.0; 9 * channels * w.outputs];
    for tap in 0..9 {
        for c in 0..channels {
            let mut weight = vec![0.0; channels];
            weight[c] = 1.0;
            let one = Winograd { outputs: 1, ..*w };
            let mut kernel = vec![0.0; 9 * channels];
            kernel[tap * channels..][..channels].copy_from_slice(&weight);
            let y = direct(&one, x, &kernel);
            assert_eq!(y.len(), w.images * height.output() * width.output());
            for (y, dy) in y.iter().zip(dy.chunks_exact(w.outputs)) {
                let to = &mut gradient[(tap * channels + c) * w.outputs..][..w.outputs];
                for (to, dy) in to.iter_mut().zip(dy) {
                    *to += y * f64::from(*dy);
                }
            }
        }
    }
    gradient
}

fn check_weight_gradient(w: &Winograd) {
    let [height, width] = w.axes;
    let pixels = w.images * height.input * width.input;
    let [first, second] = w.inputs.map(|channels| values(pixels * channels, 7));
    let dy = values(w.images * height.output() * width.output() * w.outputs, 11);
    let expected = direct_gradient(w, [&first, &second], &dy);
    let scale = expected.iter().fold(0.0, |most: f64, y| most.max(y.abs()));
    for level in Level::available() {
        let mut dweight = vec![f32::NAN; expected.len()];
        w.weight_gradient(level, [&first, &second], &dy, &mut dweight);
        for (got, expected) in dweight.iter().zip(&expected) {
            let error = (f64::from(*got) - expected).abs();
            assert!(error <= 1e-5 * scale, "{w:?}: {got} instead of {expected}");
        }
    }
}

#[test]
fn any_size_equals_direct_sums() {
    let axis = |input, scaled, before, after| Axis {
        input,
        scaled,
        kernel: 3,
        stride: 1,
        before,
        after,
    };
    let cases = [
        ([axis(3, 3, 0, 0), axis(3, 3, 0, 0)], [1, 0], 1),
        ([axis(4, 4, 1, 1), axis(9, 9, 1, 1)], [17, 0], 33),
        ([axis(5, 5, 2, 1), axis(6, 6, 0, 2)], [7, 20], 70),
        ([axis(5, 9, 1, 1), axis(4, 8, 1, 1)], [16, 16], 16),
    ];
    for (axes, inputs, outputs) in cases {
        for reversed in [false, true] {
            let winograd = Winograd {
                images: 2,
                axes,
                inputs,
                outputs,
                reversed,
            };
            check(&winograd);
            if !reversed {
                check_weight_gradient(&winograd);
            }
        }
    }
}

#[test]
fn the_choice_is_by_image() {
    let same = |size| Axis {
        kernel: 3,
        before: 1,
        after: 1,
        ..Axis::point(size)
    };
    let conv = |batch, size, inputs, outputs| Conv {
        batch,
        axes: [Axis::point(1), same(size), same(size)],
        inputs: [inputs, 0],
        outputs,
    };
    assert!(Winograd::forward(&conv(1, 32, 320, 320)).is_some());
    assert!(Winograd::backward(&conv(1, 32, 320, 320)).is_some());
    for batch in [1, 100] {
        assert!(Winograd::forward(&conv(batch, 16, 320, 320)).is_none());
    }
    assert!(Winograd::forward(&conv(1, 64, 4, 320)).is_none());
    assert!(Winograd::forward(&conv(1, 64, 1280, 1280)).is_none());
}
