//! The few views of one memory.
//!
//! Public video tensors are `[batch, frames, channels, height, width]`. At the door of a network
//! they become channels last, and from there on an image batch `[batch·frames, height, width,
//! channels]`, attention tokens `[n, height·width, channels]` and the temporal view
//! `[batch, frames, height·width, channels]` are the *same memory*: going from one to the other is
//! a reshape, never a copy. Only this module folds frames or moves channels.

use burn::tensor::Tensor;

/// Folds frames into the batch and moves the channels to the end.
///
/// # Shapes
/// - `video`: `[batch, frames, channels, height, width]`
/// - returns: `[batch·frames, height, width, channels]`
pub fn fold_frames(video: Tensor<5>) -> Tensor<4> {
    let [b, f, c, h, w] = video.dims();
    images_to_channels_last(video.reshape([b * f, c, h, w]))
}

/// The inverse of [`fold_frames`].
///
/// # Shapes
/// - `images`: `[batch·frames, height, width, channels]`
/// - returns: `[batch, frames, channels, height, width]`
pub fn unfold_frames(images: Tensor<4>, frames: usize) -> Tensor<5> {
    let [n, h, w, c] = images.dims();
    debug_assert!(
        n % frames == 0,
        "{n} images do not make clips of {frames} frames"
    );
    images_to_channels_first(images).reshape([n / frames, frames, c, h, w])
}

/// # Shapes
/// - `images`: `[n, channels, height, width]`
/// - returns: `[n, height, width, channels]`
pub fn images_to_channels_last(images: Tensor<4>) -> Tensor<4> {
    images.permute([0, 2, 3, 1])
}

/// # Shapes
/// - `images`: `[n, height, width, channels]`
/// - returns: `[n, channels, height, width]`
pub fn images_to_channels_first(images: Tensor<4>) -> Tensor<4> {
    images.permute([0, 3, 1, 2])
}

/// # Shapes
/// - `images`: `[n, height, width, channels]`
/// - returns: `[n, height·width, channels]`
pub fn pixels_to_tokens(images: Tensor<4>) -> Tensor<3> {
    let [n, h, w, c] = images.dims();
    images.reshape([n, h * w, c])
}

/// # Shapes
/// - `tokens`: `[n, height·width, channels]`
/// - returns: `[n, height, width, channels]`
pub fn tokens_to_pixels(tokens: Tensor<3>, height: usize, width: usize) -> Tensor<4> {
    let [n, _, c] = tokens.dims();
    tokens.reshape([n, height, width, c])
}

/// # Shapes
/// - `tokens`: `[batch·frames, pixels, channels]`
/// - returns: `[batch, frames, pixels, channels]`
pub fn tokens_to_time(tokens: Tensor<3>, frames: usize) -> Tensor<4> {
    let [n, p, c] = tokens.dims();
    debug_assert!(
        n % frames == 0,
        "{n} images do not make clips of {frames} frames"
    );
    tokens.reshape([n / frames, frames, p, c])
}

/// # Shapes
/// - `clips`: `[batch, frames, pixels, channels]`
/// - returns: `[batch·frames, pixels, channels]`
pub fn time_to_tokens(clips: Tensor<4>) -> Tensor<3> {
    let [b, f, p, c] = clips.dims();
    clips.reshape([b * f, p, c])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Int};

    #[test]
    fn folding_round_trips() {
        let video = Tensor::<1, Int>::arange(0..2 * 3 * 4 * 5 * 6, &Device::flex())
            .float()
            .reshape([2, 3, 4, 5, 6]);
        let folded = fold_frames(video.clone());
        assert_eq!(folded.dims(), [6, 5, 6, 4]);
        let back = unfold_frames(folded, 3);
        assert_eq!(back.into_data(), video.into_data());
    }

    #[test]
    fn channels_of_one_pixel_lie_together() {
        let video = Tensor::<1, Int>::arange(0..4, &Device::flex())
            .float()
            .reshape([1, 1, 4, 1, 1]);
        let tokens = pixels_to_tokens(fold_frames(video));
        assert_eq!(tokens.dims(), [1, 1, 4]);
        let values: Vec<f32> = tokens.into_data().try_to_vec().expect("f32");
        assert_eq!(values, [0.0, 1.0, 2.0, 3.0]);
    }
}
