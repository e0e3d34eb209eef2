//! Ways to spoil a clip: what metrics must notice, and what metric networks learn to notice.

use vldm_media::Frame;

use crate::error::Result;
use crate::rng::{Draw, NoiseKey, Stage};

/// A way to spoil a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spoiling {
    /// Every frame is the first one.
    Frozen,
    /// The frames in random order, never in their own.
    Shuffled,
    /// The last frame first.
    Reversed,
    /// A Gaussian blur of this standard deviation in pixels.
    Blurred(f64),
    /// Gaussian noise of this standard deviation, as a share of the range from black to white.
    Noisy(f64),
}

impl Spoiling {
    /// The clip after it; `seed` says which random numbers are drawn.
    ///
    /// # Errors
    /// [`Error::Media`](crate::Error::Media), which does not happen to frames that are whole.
    pub fn apply(self, clip: &[Frame], seed: u64) -> Result<Vec<Frame>> {
        match self {
            Self::Frozen => Ok(clip.iter().map(|_| clip[0].clone()).collect()),
            Self::Reversed => Ok(clip.iter().rev().cloned().collect()),
            Self::Shuffled => {
                let order = shuffled(clip.len(), seed);
                Ok(order.iter().map(|&index| clip[index].clone()).collect())
            }
            Self::Blurred(sigma) => clip.iter().map(|frame| blurred(frame, sigma)).collect(),
            Self::Noisy(deviation) => {
                let noise = key(seed, Draw::Augmentation);
                let numbered = clip.iter().zip(0..);
                numbered
                    .map(|(frame, number)| noisy(frame, deviation, (&noise, number)))
                    .collect()
            }
        }
    }

    /// One word for it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Frozen => "frozen first frame".into(),
            Self::Shuffled => "shuffled frames".into(),
            Self::Reversed => "reversed frames".into(),
            Self::Blurred(sigma) => format!("blurred, {sigma} pixels"),
            Self::Noisy(deviation) => format!("noisy, {deviation} of the range"),
        }
    }
}

fn key(seed: u64, draw: Draw) -> NoiseKey {
    NoiseKey {
        seed,
        stage: Stage::Validation,
        draw,
    }
}

/// The numbers below `count` in random order; where there are two or more, not in their own.
pub(crate) fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    for attempt in 0.. {
        let draws = key(seed, Draw::Choice(1000 + attempt));
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            let other = (draws.uniform(last as u64) * (last + 1) as f64) as usize;
            order.swap(last, other.min(last));
        }
        if count < 2 || !order.is_sorted() {
            return order;
        }
    }
    (0..count).collect()
}

fn noisy(frame: &Frame, deviation: f64, (key, number): (&NoiseKey, u64)) -> Result<Frame> {
    let shape = [3, frame.height() as usize, frame.width() as usize];
    let noise = key.normal(number..number + 1, shape);
    let add = |(&byte, noise): (&u8, f32)| {
        let value = f64::from(byte) + 255.0 * deviation * f64::from(noise);
        value.round().clamp(0.0, 255.0) as u8
    };
    let rgb = frame.rgb().iter().zip(noise).map(add).collect();
    Ok(Frame::new(frame.width(), frame.height(), rgb)?)
}

/// Convolves with a Gaussian cut off at three deviations; edges are repeated.
pub(crate) fn blurred(frame: &Frame, sigma: f64) -> Result<Frame> {
    let reach = (3.0 * sigma).ceil().max(1.0) as isize;
    let weight = |d: isize| libm::exp(-0.5 * (d as f64 / sigma.max(1e-6)).powi(2));
    let total: f64 = (-reach..=reach).map(weight).sum();
    let weights: Vec<(isize, f32)> = (-reach..=reach)
        .map(|d| (d, (weight(d) / total) as f32))
        .collect();
    let (w, h) = (frame.width() as usize, frame.height() as usize);
    let mut values: Vec<f32> = frame.rgb().iter().map(|&byte| f32::from(byte)).collect();
    for across in [true, false] {
        let from = |x: usize, y: usize, d: isize| match across {
            true => y * w + x.saturating_add_signed(d).min(w - 1),
            false => y.saturating_add_signed(d).min(h - 1) * w + x,
        };
        let mut next = vec![0.0; values.len()];
        for (pixel, sum) in next.chunks_mut(3).enumerate() {
            for &(d, weight) in &weights {
                let at = 3 * from(pixel % w, pixel / w, d);
                for (sum, value) in sum.iter_mut().zip(&values[at..at + 3]) {
                    *sum += weight * value;
                }
            }
        }
        values = next;
    }
    let bytes = values.iter().map(|v| v.round().clamp(0.0, 255.0) as u8);
    Ok(Frame::new(frame.width(), frame.height(), bytes.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip() -> Vec<Frame> {
        let frame = |t: u32| {
            Frame::from_fn(16, 12, |x, y| {
                [(x * 9) as u8, (y * 20) as u8, (t * 30) as u8]
            })
        };
        (0..6).map(|t| frame(t).unwrap()).collect()
    }

    #[test]
    fn frames_are_put_into_another_order() {
        let check = |spoiling: Spoiling, blues: [u8; 6]| {
            let spoilt = spoiling.apply(&clip(), 3).unwrap();
            let found: Vec<u8> = spoilt.iter().map(|f| f.pixel(0, 0)[2] / 30).collect();
            assert_eq!(found, blues);
        };
        check(Spoiling::Frozen, [0; 6]);
        check(Spoiling::Reversed, [5, 4, 3, 2, 1, 0]);
        for seed in 0..200 {
            let order = shuffled(3, seed);
            assert!(!order.is_sorted());
            assert!((0..3).all(|n| order.contains(&n)));
            assert_eq!(order, shuffled(3, seed));
        }
    }

    #[test]
    fn blur_keeps_the_mean_and_takes_the_edges() {
        let edge = Frame::from_fn(32, 8, |x, _| [if x < 16 { 0 } else { 200 }; 3]).unwrap();
        let soft = blurred(&edge, 1.5).unwrap();
        let row: Vec<u8> = (0..32).map(|x| soft.pixel(x, 4)[0]).collect();
        assert!(row.is_sorted() && row[0] == 0 && row[31] == 200);
        assert!((60..100).contains(&row[15]), "{row:?}");
    }

    #[test]
    fn noise_has_the_asked_deviation() {
        let gray = vec![Frame::filled(64, 64, [128; 3]).unwrap(); 2];
        let noisy = Spoiling::Noisy(0.1).apply(&gray, 7).unwrap();
        assert!(noisy[0] != noisy[1]);
        let values: Vec<f64> = noisy[1]
            .rgb()
            .iter()
            .map(|&b| f64::from(b) - 128.0)
            .collect();
        let variance = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        assert!((variance.sqrt() / 25.5 - 1.0).abs() < 0.03, "{variance}");
    }
}
