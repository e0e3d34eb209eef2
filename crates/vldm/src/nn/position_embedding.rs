//! Where something lies in a frame, as Fourier features of coordinates.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{Init, Linear};

/// Sines, then cosines, of each coordinate times π, 2π, 4π, … (`octaves` of them).
///
/// # Shapes
/// - `coordinates`: `[batch, n, c]`, fractions of the frame
/// - returns: `[batch, n, 2·octaves·c]`
///
/// # Source
/// Mildenhall et al. 2020 (arXiv:2003.08934), equation 4; boxes: Blattmann et al. 2023, appendix
/// on bounding boxes.
pub fn fourier(coordinates: &Tensor<3>, octaves: usize) -> Tensor<3> {
    let angles: Vec<Tensor<3>> = (0..octaves)
        .map(|octave| {
            let frequency = std::f64::consts::PI * 2f64.powi(octave as i32);
            coordinates.clone().mul_scalar(frequency)
        })
        .collect();
    let angles = Tensor::cat(angles, 2);
    Tensor::cat(vec![angles.clone().sin(), angles.cos()], 2)
}

/// What a U-Net's first features are told of their place in the frame. A convolution finds that out
/// from the borders alone, and too slowly for a small network to learn in short time where in the
/// frame a box lies.
#[derive(Module, Debug)]
pub struct PositionEmbedding {
    /// Reads the Fourier features of the centres.
    pub linear: Linear,
    octaves: usize,
}

impl PositionEmbedding {
    /// To `channels` features, from `octaves` frequencies.
    pub fn new(octaves: usize, channels: usize, init: &Init) -> Self {
        Self {
            linear: Linear::new(4 * octaves, channels, true, init),
            octaves,
        }
    }

    /// `features` with what belongs to their places added: the same in every frame, and stretched
    /// with its size.
    ///
    /// # Shapes
    /// - `features`, returns: `[n, height, width, channels]`
    pub fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        let [_, h, w, channels] = features.dims();
        let centre = |index: usize, of: usize| (index as f32 + 0.5) / of as f32;
        let centres: Vec<f32> = (0..h * w)
            .flat_map(|place| [centre(place % w, w), centre(place / w, h)])
            .collect();
        let centres = Tensor::<1>::from_floats(centres.as_slice(), &features.device());
        let code = fourier(&centres.reshape([1, h * w, 2]), self.octaves).cast(features.dtype());
        let places = self.linear.forward(code).reshape([1, h, w, channels]);
        features + places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_middle_of_a_frame_is_a_quarter_turn_of_the_first_octave() {
        let middle = Tensor::<1>::from_floats([0.5, 0.25], &Device::flex()).reshape([1, 1, 2]);
        let code: Vec<f32> = fourier(&middle, 2).into_data().try_to_vec().expect("f32");
        let half = 0.5f32.sqrt();
        let expected = [1.0, half, 0.0, 1.0, 0.0, half, -1.0, 0.0];
        for (got, expected) in code.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{code:?}");
        }
    }

    #[test]
    fn every_place_and_no_frame_differs() {
        let device = Device::flex();
        let embedding = PositionEmbedding::new(3, 2, &Init::new(&device, 3));
        let told = embedding.forward(Tensor::zeros([2, 4, 6, 2], &device));
        let told: Vec<f32> = told.into_data().try_to_vec().expect("f32");
        let (first, second) = told.split_at(4 * 6 * 2);
        assert_eq!(first, second);
        for (index, place) in first.chunks(2).enumerate() {
            assert!(first.chunks(2).skip(index + 1).all(|other| other != place));
        }
    }
}
