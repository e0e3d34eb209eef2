//! How good decoded clips are: frame by frame, from one frame to the next, and how sharp.

use burn::tensor::Tensor;

/// Decoded clips measured against the true ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoded {
    /// Peak signal-to-noise ratio of the frames, in dB; the peak is the whole range of pixels.
    pub psnr: f64,
    /// Mean absolute error of the differences between each frame and the one before, of pixels in
    /// \[−1, 1\]: flicker that is not in the clip, and movement that is missing.
    pub change_error: f64,
    /// Mean absolute difference between neighbouring pixels, as a share of that of the true frames.
    pub sharpness: f64,
}

impl Decoded {
    /// Whether these frames follow one another better than those of `other`, and are as near to
    /// the truth and as sharp: what blurs frames in space or time also brings them nearer to each
    /// other.
    #[must_use]
    pub fn improves_on(&self, other: &Self) -> bool {
        self.change_error < other.change_error
            && self.psnr >= other.psnr
            && self.sharpness >= other.sharpness
    }
}

/// Sums over clips, from which [`Decoded`] is made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    clips: f64,
    squared_error: f64,
    change_error: f64,
    edges: [f64; 2],
}

impl Sums {
    /// Adds clips of one size.
    ///
    /// # Shapes
    /// - `made`, `truth`: `[batch, frames, channels, height, width]`, at least two frames
    pub(super) fn add(&mut self, made: &Tensor<5>, truth: &Tensor<5>) {
        let clips = made.dims()[0] as f64;
        let mean = |x: Tensor<5>| clips * f64::from(x.mean().into_scalar::<f32>());
        let error = made.clone() - truth.clone();
        self.clips += clips;
        self.squared_error += mean(error.clone().powi_scalar(2));
        self.change_error += mean(steps(error, 1).abs());
        for (sum, x) in self.edges.iter_mut().zip([made, truth]) {
            *sum += mean(steps(x.clone(), 3).abs()) + mean(steps(x.clone(), 4).abs());
        }
    }

    pub(super) fn decoded(&self) -> Decoded {
        let [made, truth] = self.edges;
        let squared_error = (self.squared_error / self.clips).max(1e-12);
        Decoded {
            psnr: 10.0 * libm::log10(4.0 / squared_error),
            change_error: self.change_error / self.clips,
            sharpness: made / truth.max(1e-12),
        }
    }
}

/// Differences of neighbours along an axis.
fn steps(x: Tensor<5>, axis: usize) -> Tensor<5> {
    let length = x.dims()[axis] - 1;
    x.clone().narrow(axis, 1, length) - x.narrow(axis, 0, length)
}

/// Means of three neighbours along an axis, the ends with themselves.
pub(super) fn blurred(x: Tensor<5>, axis: usize) -> Tensor<5> {
    let last = x.dims()[axis] - 1;
    let part = |from: usize, length: usize| x.clone().narrow(axis, from, length);
    let before = Tensor::cat(vec![part(0, 1), part(0, last)], axis);
    let after = Tensor::cat(vec![part(1, last), part(last, 1)], axis);
    (before + x.clone() + after).div_scalar(3.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// A grey clip of `[frames, 1, width]`.
    fn clip<const F: usize, const W: usize>(frames: [[f32; W]; F]) -> Tensor<5> {
        let values: Vec<f32> = frames.into_iter().flatten().collect();
        let flat = Tensor::<1>::from_floats(values.as_slice(), &Device::flex());
        let rows = flat.reshape([1, F, 1, 1, W]);
        Tensor::cat(vec![rows.clone(), rows], 3)
    }

    fn measured(made: &Tensor<5>, truth: &Tensor<5>) -> Decoded {
        let mut sums = Sums::default();
        sums.add(made, truth);
        sums.decoded()
    }

    #[test]
    fn errors_are_those_written_down() {
        let truth = clip([[0.0, 1.0], [0.0, 1.0]]);
        let made = clip([[0.5, 1.0], [0.0, 1.0]]);
        let found = measured(&made, &truth);
        // One of four values is off by a half: a mean square of 1/16, a peak of 2.
        assert!((found.psnr - 10.0 * 64f64.log10()).abs() < 1e-4);
        assert!((found.change_error - 0.25).abs() < 1e-6);
        assert!((found.sharpness - 0.75).abs() < 1e-6);
    }

    #[test]
    fn blur_is_no_improvement() {
        // A moving bar; what was made flickers.
        let truth = clip([[1., 0., 0., 0.], [0., 1., 0., 0.], [0., 0., 1., 0.]]);
        let flicker = clip([[0.3, 0.3, 0., 0.], [0., 0., 0., 0.], [0., 0., 0.3, 0.3]]);
        let made = truth.clone() + flicker;
        let before = measured(&made, &truth);
        let steady = measured(&(truth.clone() * 0.98), &truth);
        assert!(truth.dims()[1] == 3 && !before.improves_on(&before));
        for axis in [1, 3, 4] {
            assert!(!measured(&blurred(made.clone(), axis), &truth).improves_on(&before));
        }
        assert!(steady.change_error < before.change_error && steady.psnr > before.psnr);
    }
}
