//! Overlapping parts of a clip, in time and space, and the weights with which they are blended.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

/// The parts of an axis: each of `window` entries, neighbours sharing at least `overlap` of them.
///
/// The parts are spread evenly, so that no last part is nearly empty.
pub(crate) fn spans(length: usize, window: usize, overlap: usize) -> Vec<Range<usize>> {
    let window = window.clamp(1, length.max(1));
    let overlap = overlap.min(window - 1);
    let count = (length - overlap.min(length))
        .div_ceil(window - overlap)
        .max(1);
    let last = length - window;
    (0..count)
        .map(|index| {
            let start = match count {
                1 => 0,
                _ => (index * last + (count - 1) / 2) / (count - 1),
            };
            start..start + window
        })
        .collect()
}

/// Weights of a part's entries: rising and falling linearly over `overlap` entries, and 1 towards the
/// ends of the axis, where there is no neighbour.
pub(crate) fn ramp(span: &Range<usize>, length: usize, overlap: usize) -> Vec<f32> {
    let slope = |distance: usize| ((distance + 1) as f32 / (overlap + 1) as f32).min(1.0);
    span.clone()
        .map(|position| {
            let left = match span.start {
                0 => 1.0,
                start => slope(position - start),
            };
            let right = match span.end == length {
                true => 1.0,
                false => slope(span.end - 1 - position),
            };
            left.min(right)
        })
        .collect()
}

/// A part of a clip: frames, rows, columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region(pub(crate) [Range<usize>; 3]);

/// How a clip is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Frames, height and width of the clip.
    pub(crate) size: [usize; 3],
    /// Frames, height and width of a part.
    pub(crate) window: [usize; 3],
    /// Entries shared by neighbours.
    pub(crate) overlap: [usize; 3],
}

impl Cut {
    /// All parts.
    pub(crate) fn regions(&self) -> Vec<Region> {
        let axis = |i: usize| spans(self.size[i], self.window[i], self.overlap[i]);
        let mut regions = Vec::new();
        for frames in axis(0) {
            for rows in axis(1) {
                for columns in axis(2) {
                    regions.push(Region([frames.clone(), rows.clone(), columns]));
                }
            }
        }
        regions
    }

    /// The weights of a part, `[1, frames, 1, height, width]`.
    pub(crate) fn weights(&self, region: &Region, device: &Device) -> Tensor<5> {
        let axis = |i: usize| {
            let weights = ramp(&region.0[i], self.size[i], self.overlap[i]);
            Tensor::<1>::from_floats(weights.as_slice(), device)
        };
        let [frames, rows, columns] = [0, 1, 2].map(|i| region.0[i].len());
        axis(0).reshape([1, frames, 1, 1, 1])
            * axis(1).reshape([1, 1, 1, rows, 1])
            * axis(2).reshape([1, 1, 1, 1, columns])
    }
}

impl Region {
    /// The part of a clip, `[1, frames, channels, height, width]`, whose pixels are `1/ratio` of
    /// this region's.
    pub(crate) fn of(&self, clip: &Tensor<5>, ratio: usize) -> Tensor<5> {
        let [frames, rows, columns] = &self.0;
        clip.clone()
            .narrow(1, frames.start, frames.len())
            .narrow(3, rows.start / ratio, rows.len() / ratio)
            .narrow(4, columns.start / ratio, columns.len() / ratio)
    }

    /// The same region at `ratio` times the size.
    pub(crate) fn scaled(&self, ratio: usize) -> Self {
        let [frames, rows, columns] = self.0.clone();
        let scale = |range: Range<usize>| range.start * ratio..range.end * ratio;
        Self([frames, scale(rows), scale(columns)])
    }
}

/// Parts put together: each counts as much as its weights say.
#[derive(Debug)]
pub(crate) struct Blend {
    sum: Tensor<5>,
    weights: Tensor<5>,
}

impl Blend {
    /// Nothing yet, for a clip of this shape.
    pub(crate) fn new(shape: [usize; 5], device: &Device) -> Self {
        let [b, f, _, h, w] = shape;
        Self {
            sum: Tensor::zeros(shape, device),
            weights: Tensor::zeros([b, f, 1, h, w], device),
        }
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, region: &Region, part: Tensor<5>, weights: Tensor<5>) {
        let place = |clip: &Tensor<5>| {
            let [b, _, c, ..] = clip.dims();
            let [frames, rows, columns] = region.0.clone();
            [0..b, frames, 0..c, rows, columns]
        };
        let old = self.sum.clone().slice(place(&self.sum));
        let sum = old + part * weights.clone();
        self.sum = self.sum.clone().slice_assign(place(&self.sum), sum);
        let old = self.weights.clone().slice(place(&self.weights));
        let place = place(&self.weights);
        self.weights = self.weights.clone().slice_assign(place, old + weights);
    }

    /// The weighted mean.
    pub(crate) fn finish(self) -> Tensor<5> {
        self.sum / self.weights
    }

    /// The weighted mean; nothing is left.
    pub(crate) fn restart(&mut self) -> Tensor<5> {
        let empty = Self::new(self.sum.dims(), &self.sum.device());
        std::mem::replace(self, empty).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_and_overlap() {
        for length in 1..60 {
            for window in 1..12 {
                for overlap in 0..window {
                    let spans = spans(length, window, overlap);
                    assert_eq!(spans[0].start, 0);
                    assert_eq!(spans[spans.len() - 1].end, length);
                    for pair in spans.windows(2) {
                        assert!(
                            pair[0].end >= pair[1].start + overlap,
                            "{spans:?} {overlap}"
                        );
                        assert!(pair[1].start > pair[0].start, "{spans:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn blending_equal_parts_changes_nothing() {
        let device = Device::flex();
        let clip = Tensor::<1>::from_floats(
            (0..2 * 5 * 6 * 7)
                .map(|i| i as f32)
                .collect::<Vec<_>>()
                .as_slice(),
            &device,
        )
        .reshape([1, 5, 2, 6, 7]);
        let cut = Cut {
            size: [5, 6, 7],
            window: [3, 4, 5],
            overlap: [1, 2, 1],
        };
        let mut blend = Blend::new(clip.dims(), &device);
        for region in cut.regions() {
            let weights = cut.weights(&region, &device);
            blend.add(&region, region.of(&clip, 1), weights);
        }
        let values: Vec<f32> = (blend.finish() - clip)
            .abs()
            .max()
            .into_data()
            .try_to_vec()
            .unwrap();
        assert!(values[0] < 1e-4, "{values:?}");
    }
}
