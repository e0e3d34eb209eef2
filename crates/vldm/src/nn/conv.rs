//! A convolution over images.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use vldm_kernels::{Channels, Conv2dOptions, Epilogue, Padding};

use super::{Fill, Init};

/// A convolution over height and width.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[outputs, inputs, kernel, kernel]`
    pub weight: Param<Tensor<4>>,
    /// `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Conv2d {
    /// A square kernel of odd size with fresh parameters.
    pub fn new(inputs: usize, outputs: usize, kernel: usize, init: &Init) -> Self {
        let fan_in = inputs * kernel * kernel;
        Self {
            weight: init.weight([outputs, inputs, kernel, kernel], fan_in),
            bias: Some(init.weight([outputs], fan_in)),
        }
    }

    /// A convolution whose output starts at zero.
    pub fn zeros(inputs: usize, outputs: usize, kernel: usize, init: &Init) -> Self {
        Self {
            weight: init.parameter([outputs, inputs, kernel, kernel], Fill::Constant(0.0)),
            bias: Some(init.parameter([outputs], Fill::Constant(0.0))),
        }
    }

    /// The type of the activations that it is ready for: the bias's, for a weight may be wider.
    pub(crate) fn dtype(&self) -> burn::tensor::DType {
        let bias = self.bias.as_ref().map(|bias| bias.val().dtype());
        bias.unwrap_or_else(|| self.weight.val().dtype())
    }

    /// Keeps height and width (stride 1, padding half the kernel).
    ///
    /// # Shapes
    /// - `x`: `[n, height, width, inputs]`
    /// - returns: `[n, height, width, outputs]`
    pub fn forward(&self, x: impl Into<Channels<4>>) -> Tensor<4> {
        self.forward_with(x, Epilogue::default())
    }

    /// As [`Conv2d::forward`], with additions to the output in the same pass.
    ///
    /// # Shapes
    /// - `x`: `[n, height, width, inputs]`
    /// - returns: `[n, height, width, outputs]`
    pub fn forward_with(&self, x: impl Into<Channels<4>>, epilogue: Epilogue<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let padding = Padding::same(weight.dims()[2] / 2);
        let options = Conv2dOptions { stride: 1, padding };
        vldm_kernels::conv2d(x, weight, self.bias(), options, epilogue)
    }

    /// With any stride and padding.
    ///
    /// # Shapes
    /// - `x`: `[n, height, width, inputs]`
    /// - returns: `[n, height', width', outputs]`
    pub fn forward_strided(&self, x: Tensor<4>, options: Conv2dOptions) -> Tensor<4> {
        vldm_kernels::conv2d(
            x,
            self.weight.val(),
            self.bias(),
            options,
            Epilogue::default(),
        )
    }

    /// As [`Conv2d::forward`], of the image enlarged to `size` by repeating pixels.
    ///
    /// # Shapes
    /// - `x`: `[n, height, width, inputs]`
    /// - returns: `[n, size[0], size[1], outputs]`
    pub fn forward_upsampled(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let weight = self.weight.val();
        let padding = Padding::same(weight.dims()[2] / 2);
        vldm_kernels::conv2d_upsampled(x, size, weight, self.bias(), padding)
    }

    fn bias(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(Param::val)
    }
}
