//! Sums over rows, and what the tests of normalisations share.

use half::bf16;

use super::*;

/// Reproducible values that look like activations.
pub(in crate::cpu) struct Noise(pub(in crate::cpu) u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, standard deviation 1.
    pub(in crate::cpu) fn values<T: Element>(&mut self, count: usize) -> Vec<T> {
        let value = |_| (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0;
        (0..count).map(value).map(|x| T::narrow(x as f32)).collect()
    }
}

pub(in crate::cpu) fn wide<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|x| f64::from(x.widen())).collect()
}

/// Asserts that values are right to `tolerance` (absolute, or relative beyond 1) and the one
/// rounding of their type.
#[track_caller]
pub(in crate::cpu) fn assert_close<T: Element>(actual: &[T], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let rounding = if size_of::<T>() == 2 {
        1.0 / 256.0
    } else {
        0.0
    };
    for (i, (actual, expected)) in wide(actual).into_iter().zip(expected).enumerate() {
        let allowed = tolerance * expected.abs().max(1.0) + rounding * expected.abs();
        let error = (actual - expected).abs();
        assert!(error <= allowed, "at {i}: {actual}, expected {expected}");
    }
}

/// Asserts that `compute` gives the same on one, two and three threads; returns it.
#[track_caller]
pub(in crate::cpu) fn on_any_threads<R: PartialEq + std::fmt::Debug + Send>(
    compute: impl Fn() -> R + Sync,
) -> R {
    let [one, two, three] = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(&compute)
    });
    assert!(
        one == two && two == three,
        "the number of threads changes the result"
    );
    one
}

fn check<T: Element>(n: usize, rows: usize, channels: usize) {
    let x = Noise(1).values::<T>(n * rows * channels);
    let mut expected = vec![0.0; n * channels];
    for (i, x) in wide(&x).into_iter().enumerate() {
        expected[i / (rows * channels) * channels + i % channels] += x;
    }
    for level in Level::available() {
        let segments = |x: &[T]| {
            let mut sums = vec![f32::NAN; x.len() / rows.max(1)];
            sum_segments(level, rows, channels, x, &mut sums);
            sums
        };
        let sums = on_any_threads(|| segments(&x));
        assert_close(&sums, &expected[..sums.len()], 2e-5);
        if n > 0 {
            let alone = segments(&x[..rows * channels]);
            assert_eq!(
                alone,
                sums[..alone.len()],
                "a sample does not depend on the batch"
            );
            let mut single = vec![f32::NAN; channels];
            sum_rows(level, &x[..rows * channels], &mut single);
            assert_eq!(single[..alone.len()], alone);
        }
    }
}

#[test]
fn sums_of_rows_are_those_of_a_loop() {
    for (n, rows, channels) in [
        (1, 1, 1),
        (3, 1, 5),
        (2, 70, 3),
        (3, 33, 17),
        (2, 300, 320),
        (1, 70_001, 3),
        (2, 9, 3001),
        (0, 3, 4),
        (2, 3, 0),
    ] {
        check::<f32>(n, rows, channels);
        check::<bf16>(n, rows, channels);
    }
}

#[test]
fn no_rows_sum_to_zero() {
    let mut sums = [1.0; 6];
    sum_segments::<f32>(Level::Portable, 0, 3, &[], &mut sums);
    assert_eq!(sums, [0.0; 6]);
}

#[test]
fn blocks_cover_the_rows() {
    for (rows, channels) in [
        (1, 1),
        (2560, 320),
        (7, 100_000),
        (1_000_000, 1),
        (163_840, 128),
    ] {
        let block = block_rows(rows, channels);
        assert!(block > 0 && block.is_multiple_of(STEP));
        assert!(
            block * channels <= 1 << 18 || block == STEP,
            "{rows} {channels}: {block}"
        );
    }
}
