//! The layer that the metric networks are made of, and pictures as they read them.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use vldm_kernels::{Activation, Conv2dOptions, Epilogue, Padding};
use vldm_media::Frame;

use crate::error::{Error, Result};
use crate::nn::{Conv2d, GroupNorm, Init};

/// Height and width of the pictures that the metric networks read, in pixels.
pub const SIZE: [u32; 2] = [64, 128];
/// Channels of a group of the normalisations.
const GROUP: usize = 8;

/// A convolution, a normalisation of each picture, SiLU.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// Over height and width.
    pub conv: Conv2d,
    /// Over the pictures' own values.
    pub norm: GroupNorm,
    stride: usize,
}

impl ConvNorm {
    /// `outputs` is a multiple of 8, `kernel` odd.
    pub(crate) fn new(
        [inputs, outputs]: [usize; 2],
        (kernel, stride): (usize, usize),
        init: &Init,
    ) -> Self {
        Self {
            conv: Conv2d::new(inputs, outputs, kernel, init),
            norm: GroupNorm::new(outputs / GROUP, outputs, 1e-5, init),
            stride,
        }
    }

    /// # Shapes
    /// - `x`: `[n, height, width, inputs]`
    /// - returns: `[n, height / stride, width / stride, outputs]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let kernel = self.conv.weight.val().dims()[2];
        let options = Conv2dOptions {
            stride: self.stride,
            padding: Padding::same(kernel / 2),
        };
        let y = self.conv.forward_strided(x, options);
        self.norm.forward_image(y, Activation::Silu)
    }

    /// As [`ConvNorm::forward`], with the input added before the normalisation; for a stride of 1
    /// and as many outputs as inputs.
    ///
    /// # Shapes
    /// - `x`, returns: `[n, height, width, inputs]`
    pub(crate) fn forward_residual(&self, x: Tensor<4>) -> Tensor<4> {
        let epilogue = Epilogue {
            shift: None,
            residual: Some(x.clone()),
        };
        let y = self.conv.forward_with(x, epilogue);
        self.norm.forward_image(y, Activation::Silu)
    }
}

/// Pictures of one size as numbers in \[−1, 1\].
///
/// # Shapes
/// - returns: `[frames, height, width, 3]`
///
/// # Errors
/// [`Error::Input`] when there is no picture, or one of another size than [`SIZE`].
pub(crate) fn pixels<'a>(
    frames: impl IntoIterator<Item = &'a Frame>,
    device: &Device,
) -> Result<Tensor<4>> {
    let [height, width] = SIZE;
    let mut values = Vec::new();
    let mut count = 0;
    for frame in frames {
        if frame.size() != (width, height) {
            let (w, h) = frame.size();
            return Err(Error::Input(format!(
                "the metric networks read pictures of {width}x{height} pixels, got {w}x{h}: \
                 resize them first"
            )));
        }
        values.extend(
            frame
                .rgb()
                .iter()
                .map(|&byte| f32::from(byte) / 127.5 - 1.0),
        );
        count += 1;
    }
    if count == 0 {
        return Err(Error::Input("there is no frame to look at".into()));
    }
    let shape = [count, height as usize, width as usize, 3];
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}
