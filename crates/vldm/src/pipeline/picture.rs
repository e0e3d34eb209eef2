//! Between frames and pixel tensors.

use burn::tensor::{Device, Tensor, TensorData};
use vldm_media::Frame;

use crate::error::{Error, Result};

/// # Shapes
/// - returns: `[1, 3, height, width]`, in \[−1, 1\]
pub fn frame_to_pixels(frame: &Frame, device: &Device) -> Tensor<4> {
    let (w, h) = (frame.width() as usize, frame.height() as usize);
    let mut values = vec![0.0; 3 * h * w];
    for (index, &value) in frame.rgb().iter().enumerate() {
        let (pixel, channel) = (index / 3, index % 3);
        values[channel * h * w + pixel] = f32::from(value) / 255.0 * 2.0 - 1.0;
    }
    Tensor::from_data(TensorData::new(values, [1, 3, h, w]), device)
}

/// Clamps to \[−1, 1\] and rounds to the nearest of 256 values.
///
/// # Shapes
/// - `pixels`: `[3, height, width]`
///
/// # Errors
/// [`Error::NonFinite`] where a value is no number: nothing is ever written as black instead.
pub fn pixels_to_frame(pixels: Tensor<3>, step: usize) -> Result<Frame> {
    let [c, h, w] = pixels.dims();
    if c != 3 {
        return Err(Error::Input(format!(
            "a frame has 3 channels, the decoder gave {c}"
        )));
    }
    let data = pixels.into_data().convert::<f32>();
    let values: &[f32] = data
        .as_slice()
        .map_err(|error| Error::Backend(format!("pixels cannot be read back: {error:?}")))?;
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::NonFinite { step });
    }
    let byte = |value: f32| ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8;
    let rgb = (0..h * w)
        .flat_map(|pixel| (0..3).map(move |channel| byte(values[channel * h * w + pixel])))
        .collect();
    Ok(Frame::new(w as u32, h as u32, rgb)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_round_trip() {
        let frame = Frame::from_fn(5, 3, |x, y| [x as u8 * 50, y as u8 * 100, 255])
            .expect("a frame of pixels");
        let pixels = frame_to_pixels(&frame, &Device::flex());
        assert_eq!(pixels.dims(), [1, 3, 3, 5]);
        let back = pixels_to_frame(pixels.squeeze_dim(0), 0).expect("finite");
        assert_eq!(back, frame);
    }

    #[test]
    fn no_number_becomes_black() {
        let pixels = Tensor::<3>::full([3, 1, 1], f32::NAN, &Device::flex());
        assert!(matches!(
            pixels_to_frame(pixels, 4),
            Err(Error::NonFinite { step: 4 })
        ));
    }
}
