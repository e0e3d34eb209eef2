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

/// Deviation of a fresh weight: queries begin with more of their place than of what they see, so that
/// attention to a box can begin there.
const LOUD: f32 = 0.5;

/// What the tokens of a transformer are told of their places in the frame. Convolutions find them out
/// from the borders alone, and too slowly for a small network to learn in a short time where a box is.
#[derive(Module, Debug)]
pub struct PositionEmbedding {
    /// Reads the Fourier features of the tokens' centres.
    pub linear: Linear,
    octaves: usize,
}

impl PositionEmbedding {
    /// For tokens of `channels`, from `octaves` frequencies.
    pub fn new(octaves: usize, channels: usize, init: &Init) -> Self {
        Self {
            linear: Linear::normal(4 * octaves, channels, LOUD, init),
            octaves,
        }
    }

    /// `tokens` with what belongs to their places added: the same in every frame, and stretched with
    /// its size.
    ///
    /// # Shapes
    /// - `tokens`, returns: `[n, height·width, channels]`
    pub fn forward(&self, tokens: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<3> {
        let centre = |index: usize, of: usize| (index as f32 + 0.5) / of as f32;
        let centres: Vec<f32> = (0..height * width)
            .flat_map(|place| [centre(place % width, width), centre(place / width, height)])
            .collect();
        let centres = Tensor::<1>::from_floats(centres.as_slice(), &tokens.device());
        let centres = centres.reshape([1, height * width, 2]);
        let code = fourier(&centres, self.octaves).cast(tokens.dtype());
        tokens + self.linear.forward(code)
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
        let told = embedding.forward(Tensor::zeros([2, 4 * 6, 2], &device), [4, 6]);
        let told: Vec<f32> = told.into_data().try_to_vec().expect("f32");
        let (first, second) = told.split_at(4 * 6 * 2);
        assert_eq!(first, second);
        for (index, place) in first.chunks(2).enumerate() {
            assert!(first.chunks(2).skip(index + 1).all(|other| other != place));
        }
    }
}
