//! Convolutions over time.
//!
//! # Source
//! Blattmann et al. 2023, section 3.1 and tables 6 and 8: kernel 3×1×1 in the U-Nets and 3×3×3 in
//! the decoders; Stable Video Diffusion's decoder has 3×1×1.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use vldm_kernels::{Channels, Conv3dOptions, Epilogue};

use crate::nn::{Fill, Init};

/// The extent of a convolution over time, height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeKernel {
    /// Time only.
    #[serde(rename = "3x1x1")]
    Time,
    /// Time and space.
    #[serde(rename = "3x3x3")]
    TimeAndSpace,
}

impl TimeKernel {
    fn extent(self) -> [usize; 3] {
        match self {
            TimeKernel::Time => [3, 1, 1],
            TimeKernel::TimeAndSpace => [3, 3, 3],
        }
    }
}

/// A convolution over the frames of a clip, with zeros before the first and after the last.
#[derive(Module, Debug)]
pub struct TemporalConv {
    /// `[outputs, inputs, time, height, width]`
    pub weight: Param<Tensor<5>>,
    /// `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl TemporalConv {
    /// A convolution with fresh parameters.
    pub fn new(inputs: usize, outputs: usize, kernel: TimeKernel, init: &Init) -> Self {
        let [t, h, w] = kernel.extent();
        let fan_in = inputs * t * h * w;
        Self {
            weight: init.weight([outputs, inputs, t, h, w], fan_in),
            bias: Some(init.weight([outputs], fan_in)),
        }
    }

    /// A convolution whose output starts at zero.
    pub fn zeros(inputs: usize, outputs: usize, kernel: TimeKernel, init: &Init) -> Self {
        let [t, h, w] = kernel.extent();
        Self {
            weight: init.parameter([outputs, inputs, t, h, w], Fill::Constant(0.0)),
            bias: Some(init.parameter([outputs], Fill::Constant(0.0))),
        }
    }

    /// A convolution that starts as the identity: each channel passes its own frame through.
    pub fn identity(channels: usize, kernel: TimeKernel, init: &Init) -> Self {
        let [t, h, w] = kernel.extent();
        let taps = t * h * w;
        let values = move || {
            let mut values = vec![0.0; channels * channels * taps];
            for channel in 0..channels {
                values[(channel * channels + channel) * taps + taps / 2] = 1.0;
            }
            values
        };
        let weight = init.parameter_from([channels, channels, t, h, w], values);
        Self {
            weight,
            bias: Some(init.parameter([channels], Fill::Constant(0.0))),
        }
    }

    /// # Shapes
    /// - `x`: `[batch·frames, height, width, inputs]`, one tensor or two read as one
    /// - returns: `[batch·frames, height, width, outputs]`
    pub fn forward(
        &self,
        x: impl Into<Channels<4>>,
        frames: usize,
        epilogue: Epilogue<4>,
    ) -> Tensor<4> {
        let x = x.into();
        let weight = self.weight.val();
        let bias = self.bias.as_ref().map(Param::val);
        let [n, h, w, _] = x.dims();
        let [outputs, _, _, kernel_h, kernel_w] = weight.dims();
        if [kernel_h, kernel_w] == [1, 1] {
            let view = |x: Tensor<4>| {
                let c = x.dims()[3];
                x.reshape([n / frames, frames, h * w, c])
            };
            let epilogue = Epilogue {
                shift: epilogue.shift,
                residual: epilogue.residual.map(view),
            };
            let y = vldm_kernels::temporal_conv(x.map(view), weight, bias, epilogue);
            y.reshape([n, h, w, outputs])
        } else {
            let view = |x: Tensor<4>| {
                let c = x.dims()[3];
                x.reshape([n / frames, frames, h, w, c])
            };
            let epilogue = Epilogue {
                shift: epilogue.shift,
                residual: epilogue.residual.map(view),
            };
            let options = Conv3dOptions {
                stride: [1; 3],
                padding: [1, kernel_h / 2, kernel_w / 2],
            };
            let y = vldm_kernels::conv3d(x.map(view), weight, bias, options, epilogue);
            y.reshape([n, h, w, outputs])
        }
    }
}
