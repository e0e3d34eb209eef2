//! Distances between pictures that ought to be the same: PSNR, SSIM, the error of what changes.

use vldm_media::Frame;

use crate::error::{Error, Result};

/// Highest value of a byte.
const PEAK: f64 = 255.0;
/// Side of SSIM's window in pixels.
const WINDOW: usize = 11;
/// Deviation of SSIM's window in pixels.
const DEVIATION: f64 = 1.5;

/// Peak signal-to-noise ratio in decibels, over all frames and channels together: 10 log₁₀(255² /
/// mean squared error). Infinite where nothing differs.
///
/// # Errors
/// [`Error::Input`] when the clips differ in length or size.
pub fn psnr(truth: &[Frame], made: &[Frame]) -> Result<f64> {
    check(truth, made)?;
    let (mut squares, mut count) = (0.0, 0.0);
    for (a, b) in truth.iter().zip(made) {
        for (&a, &b) in a.rgb().iter().zip(b.rgb()) {
            squares += (f64::from(a) - f64::from(b)).powi(2);
            count += 1.0;
        }
    }
    Ok(10.0 * libm::log10(PEAK * PEAK * count / squares))
}

/// Structural similarity, at most 1, the mean over frames and channels.
///
/// # Source
/// Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity",
/// eq. 13 with a Gaussian window of 11×11 pixels and deviation 1.5, K₁ = 0.01, K₂ = 0.03, over all
/// places where the window lies within the picture.
///
/// # Errors
/// [`Error::Input`] when the clips differ in length or size, or are smaller than the window.
pub fn ssim(truth: &[Frame], made: &[Frame]) -> Result<f64> {
    check(truth, made)?;
    let (w, h) = truth[0].size();
    if (w as usize) < WINDOW || (h as usize) < WINDOW {
        return Err(Error::Input(format!(
            "structural similarity looks through a window of {WINDOW}x{WINDOW} pixels, the \
             pictures have {w}x{h}"
        )));
    }
    let pairs = truth.iter().zip(made);
    let sum: f64 = pairs
        .flat_map(|(a, b)| [0, 1, 2].map(|channel| ssim_of([a, b].map(|f| plane(f, channel)))))
        .sum();
    Ok(sum / (3 * truth.len()) as f64)
}

/// One channel of a picture.
pub(crate) struct Plane {
    pub(crate) width: usize,
    pub(crate) values: Vec<f64>,
}

pub(crate) fn plane(frame: &Frame, channel: usize) -> Plane {
    let of = frame.rgb().iter().skip(channel).step_by(3);
    Plane {
        width: frame.width() as usize,
        values: of.map(|&byte| f64::from(byte)).collect(),
    }
}

fn ssim_of([a, b]: [Plane; 2]) -> f64 {
    let product = |a: &Plane, b: &Plane| Plane {
        width: a.width,
        values: a.values.iter().zip(&b.values).map(|(a, b)| a * b).collect(),
    };
    let (squares_a, squares_b, both) = (product(&a, &a), product(&b, &b), product(&a, &b));
    let [a, b, aa, bb, ab] = [a, b, squares_a, squares_b, both].map(|plane| smoothed(&plane));
    let (c1, c2) = ((0.01 * PEAK).powi(2), (0.03 * PEAK).powi(2));
    let mut sum = 0.0;
    for at in 0..a.len() {
        let (mean_a, mean_b) = (a[at], b[at]);
        let variances = aa[at] - mean_a * mean_a + bb[at] - mean_b * mean_b;
        let covariance = ab[at] - mean_a * mean_b;
        let means = mean_a * mean_a + mean_b * mean_b;
        sum += (2.0 * mean_a * mean_b + c1) * (2.0 * covariance + c2)
            / ((means + c1) * (variances + c2));
    }
    sum / a.len() as f64
}

/// Means under the Gaussian window, wherever it fits.
fn smoothed(plane: &Plane) -> Vec<f64> {
    let middle = (WINDOW / 2) as f64;
    let weights: [f64; WINDOW] =
        std::array::from_fn(|at| libm::exp(-0.5 * ((at as f64 - middle) / DEVIATION).powi(2)));
    let total: f64 = weights.iter().sum();
    let weights = weights.map(|weight| weight / total);
    let (w, h) = (plane.width, plane.values.len() / plane.width);
    let columns = w - WINDOW + 1;
    let mut across = Vec::with_capacity(h * columns);
    for row in plane.values.chunks(w) {
        for window in row.windows(WINDOW) {
            across.push(window.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>());
        }
    }
    let mut down = Vec::with_capacity((h - WINDOW + 1) * columns);
    for y in 0..h - WINDOW + 1 {
        for x in 0..columns {
            let of = weights.iter().enumerate();
            down.push(
                of.map(|(d, w)| w * across[(y + d) * columns + x])
                    .sum::<f64>(),
            );
        }
    }
    down
}

/// How wrong the changes from frame to frame are: the mean absolute difference between the made
/// clip's and the true clip's differences of neighbouring frames, as a share of the range from
/// black to white. Flicker counts, a constant error of colour does not.
///
/// # Errors
/// [`Error::Input`] when the clips differ in length or size, or have less than two frames.
pub fn frame_difference_error(truth: &[Frame], made: &[Frame]) -> Result<f64> {
    check(truth, made)?;
    if truth.len() < 2 {
        return Err(Error::Input(
            "frames change from one to the next: a clip of one frame has no changes".into(),
        ));
    }
    let (mut sum, mut count) = (0.0, 0.0);
    for (truth, made) in truth.windows(2).zip(made.windows(2)) {
        let change =
            |pair: &[Frame], at: usize| f64::from(pair[1].rgb()[at]) - f64::from(pair[0].rgb()[at]);
        for at in 0..truth[0].rgb().len() {
            sum += (change(truth, at) - change(made, at)).abs();
            count += 1.0;
        }
    }
    Ok(sum / count / PEAK)
}

/// The mean absolute difference of two pictures of one size, as a share of the range.
pub(crate) fn difference(a: &Frame, b: &Frame) -> f64 {
    let pairs = a.rgb().iter().zip(b.rgb());
    let sum: f64 = pairs.map(|(&a, &b)| f64::from(a.abs_diff(b))).sum();
    sum / a.rgb().len() as f64 / PEAK
}

/// "8 frames of 128x64 pixels"
pub(crate) fn described(clip: &[Frame]) -> String {
    match clip.first() {
        None => "no frame".to_owned(),
        Some(first) => {
            let (w, h) = first.size();
            format!("{} frames of {w}x{h} pixels", clip.len())
        }
    }
}

fn check(truth: &[Frame], made: &[Frame]) -> Result<()> {
    let size = truth.first().map(Frame::size);
    let same = |frame: &Frame| Some(frame.size()) == size;
    if truth.is_empty() || truth.len() != made.len() || !truth.iter().chain(made).all(same) {
        return Err(Error::Input(format!(
            "clips are compared frame by frame: expected {}, got {}",
            described(truth),
            described(made)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures that numpy makes by the same formula.
    fn picture(width: u32, height: u32, of: impl Fn(u32, u32, u32) -> u32) -> Frame {
        Frame::from_fn(width, height, |x, y| {
            [0, 1, 2].map(|c| (of(x, y, c) % 256) as u8)
        })
        .unwrap()
    }

    fn pair() -> [Vec<Frame>; 2] {
        let a = picture(20, 16, |x, y, c| x * 7 + y * 11 + c * 50);
        let b = picture(20, 16, |x, y, c| {
            x * 7 + y * 11 + c * 50 + (x * y + 3 * c) % 23
        });
        [vec![a], vec![b]]
    }

    #[test]
    fn agrees_with_numpy() {
        let [a, b] = pair();
        let check = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        };
        check(psnr(&a, &b).unwrap(), 13.563_132_145_516_466);
        check(ssim(&a, &b).unwrap(), 0.663_618_304_956_014_7);
    }

    #[test]
    fn the_same_clip_is_perfect() {
        let [a, _] = pair();
        assert_eq!(psnr(&a, &a).unwrap(), f64::INFINITY);
        assert!((ssim(&a, &a).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn flicker_is_an_error_and_a_constant_shift_is_none() {
        let gray = |level: u8| Frame::filled(4, 4, [level; 3]).unwrap();
        let truth = [gray(100), gray(100), gray(100)];
        let check = |made: [u8; 3], expected: f64| {
            let made = made.map(gray);
            let error = frame_difference_error(&truth, &made).unwrap();
            assert!((error - expected).abs() < 1e-12, "{error}");
        };
        check([120, 120, 120], 0.0);
        check([100, 151, 100], 51.0 / 255.0);
        check([100, 100, 151], 0.5 * 51.0 / 255.0);
    }

    #[test]
    fn clips_that_cannot_be_compared_are_told() {
        let [a, _] = pair();
        let small = vec![picture(20, 8, |x, _, _| x)];
        assert!(
            psnr(&a, &small)
                .unwrap_err()
                .to_string()
                .contains("1 frames of 20x8")
        );
        assert!(psnr(&a, &[]).is_err() && psnr(&[], &[]).is_err());
        let error = ssim(&small, &small).unwrap_err().to_string();
        assert!(error.contains("window of 11x11"), "{error}");
        assert!(frame_difference_error(&a, &a).is_err());
    }
}
