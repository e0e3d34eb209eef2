//! Resizing, padding and joining against plain loops.

use half::bf16;

use super::*;
use crate::cpu::norm::tests::{Noise, assert_close, on_any_threads, wide};

fn check_upsample<T: Element>(input: [usize; 4], size: [usize; 2]) {
    let resize = Resize { input, size };
    let ([n, h, w, c], [height, width]) = (input, size);
    let x = Noise(1).values::<T>(n * h * w * c);
    let dy = Noise(2).values::<T>(n * height * width * c);
    let mut sums = vec![0.0; x.len()];
    let source = |i: usize| {
        let (pixel, channel) = (i / c, i % c);
        let (sample, row, column) = (
            pixel / width / height,
            pixel / width % height,
            pixel % width,
        );
        ((sample * h + row * h / height) * w + column * w / width) * c + channel
    };
    for (i, dy) in wide(&dy).into_iter().enumerate() {
        sums[source(i)] += dy;
    }
    let y = on_any_threads(|| {
        let mut y = vec![T::narrow(f32::NAN); dy.len()];
        upsample_nearest(&resize, &x, &mut y);
        y
    });
    let expected: Vec<T> = (0..dy.len()).map(|i| x[source(i)]).collect();
    assert_eq!(y, expected);
    for level in Level::available() {
        let dx = on_any_threads(|| {
            let mut dx = vec![T::narrow(f32::NAN); x.len()];
            upsample_nearest_backward(level, &resize, &dy, &mut dx);
            dx
        });
        assert_close(&dx, &sums, 1e-6);
    }
}

#[test]
fn upsampling_is_that_of_a_loop() {
    for (input, size) in [
        ([1, 1, 1, 1], [1, 1]),
        ([2, 3, 5, 7], [6, 10]),
        ([2, 3, 5, 7], [3, 10]),
        ([1, 5, 4, 3], [7, 9]),
        ([1, 5, 4, 3], [2, 3]),
        ([3, 20, 30, 32], [40, 60]),
        ([0, 2, 2, 3], [4, 4]),
        ([2, 2, 2, 0], [4, 4]),
        ([2, 2, 2, 3], [0, 4]),
    ] {
        check_upsample::<f32>(input, size);
        check_upsample::<bf16>(input, size);
    }
}

#[test]
fn padding_surrounds_and_cropping_undoes_it() {
    let padding = Padding {
        top: 1,
        bottom: 2,
        left: 3,
        right: 0,
    };
    for shape in [
        [2, 3, 4, 5],
        [1, 1, 1, 1],
        [0, 3, 4, 5],
        [2, 0, 3, 4],
        [2, 3, 0, 4],
    ] {
        let [n, h, w, c] = shape;
        let x = Noise(3).values::<f32>(n * h * w * c);
        let mut y = vec![f32::NAN; n * (h + 3) * (w + 3) * c];
        pad(shape, padding, &x, &mut y);
        for (i, &y) in y.iter().enumerate() {
            let (pixel, channel) = (i / c, i % c);
            let (row, column) = (pixel / (w + 3) % (h + 3), pixel % (w + 3));
            let sample = pixel / (w + 3) / (h + 3);
            let inside = (1..1 + h).contains(&row) && column >= 3;
            let expected = if inside {
                x[((sample * h + row - 1) * w + column - 3) * c + channel]
            } else {
                0.0
            };
            assert_eq!(y, expected);
        }
        let mut back = vec![f32::NAN; x.len()];
        crop(shape, padding, &y, &mut back);
        assert_eq!(back, x);
    }
}

#[test]
fn joining_is_undone_by_taking_apart() {
    for (rows, c0, c1) in [
        (1, 1, 1),
        (5, 3, 4),
        (3, 7, 0),
        (3, 0, 2),
        (0, 3, 2),
        (5000, 9, 5),
    ] {
        let mut noise = Noise(4);
        let x = [c0, c1].map(|c| noise.values::<bf16>(rows * c));
        let mut y = vec![bf16::NAN; rows * (c0 + c1)];
        concat([c0, c1], [&x[0], &x[1]], &mut y);
        for (i, row) in y.chunks_exact(c0 + c1).enumerate() {
            assert_eq!(row[..c0], x[0][i * c0..][..c0]);
            assert_eq!(row[c0..], x[1][i * c1..][..c1]);
        }
        let mut back = x.each_ref().map(|x| vec![bf16::NAN; x.len()]);
        let [first, second] = &mut back;
        split([c0, c1], &y, [first, second]);
        assert_eq!(back, x);
    }
}
