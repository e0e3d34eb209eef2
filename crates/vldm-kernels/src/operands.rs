//! What the operations take besides tensors.

use burn::tensor::Tensor;

/// One tensor, or two read as if concatenated along the last axis (a skip connection).
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "an argument of one call, built where it is used"
)]
pub enum Channels<const D: usize> {
    /// A single tensor.
    One(Tensor<D>),
    /// Two tensors that agree in every axis but the last; the first one's channels come first.
    Two(Tensor<D>, Tensor<D>),
}

impl<const D: usize> Channels<D> {
    /// Shape of the tensor as it is read: the channels of both parts summed.
    pub fn dims(&self) -> [usize; D] {
        match self {
            Self::One(x) => x.dims(),
            Self::Two(a, b) => {
                let mut dims = a.dims();
                dims[D - 1] += b.dims()[D - 1];
                dims
            }
        }
    }

    /// Applies `view` to each part: a reshape of all axes but the last.
    pub fn map<const E: usize>(self, view: impl Fn(Tensor<D>) -> Tensor<E>) -> Channels<E> {
        match self {
            Self::One(x) => Channels::One(view(x)),
            Self::Two(a, b) => Channels::Two(view(a), view(b)),
        }
    }

    /// Both parts as one tensor.
    pub fn joined(self) -> Tensor<D> {
        match self {
            Self::One(x) => x,
            Self::Two(a, b) => Tensor::cat(vec![a, b], D - 1),
        }
    }
}

impl<const D: usize> From<Tensor<D>> for Channels<D> {
    fn from(x: Tensor<D>) -> Self {
        Self::One(x)
    }
}

impl<const D: usize> From<(Tensor<D>, Tensor<D>)> for Channels<D> {
    fn from((a, b): (Tensor<D>, Tensor<D>)) -> Self {
        Self::Two(a, b)
    }
}

/// Zeros added around an image, in pixels per side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// No padding.
    pub const NONE: Self = Self::same(0);

    /// `n` pixels on each side.
    pub const fn same(n: usize) -> Self {
        Self {
            top: n,
            bottom: n,
            left: n,
            right: n,
        }
    }
}

/// Stride and padding of [`conv2d`](crate::conv2d).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv2dOptions {
    /// Step between outputs in both axes, at least 1.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: Padding,
}

impl Conv2dOptions {
    /// Stride 1 and the padding that keeps the size under an odd `kernel`.
    pub const fn same(kernel: usize) -> Self {
        Self {
            stride: 1,
            padding: Padding::same(kernel / 2),
        }
    }
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: Padding::NONE,
        }
    }
}

/// Stride and padding of [`conv3d`](crate::conv3d), each as `[frames, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv3dOptions {
    /// Step between outputs per axis, at least 1.
    pub stride: [usize; 3],
    /// Zeros on both sides per axis.
    pub padding: [usize; 3],
}

impl Default for Conv3dOptions {
    fn default() -> Self {
        Self {
            stride: [1; 3],
            padding: [0; 3],
        }
    }
}

/// What is added to a convolution's output, in the same pass.
#[derive(Debug, Clone, Default)]
pub struct Epilogue<const D: usize> {
    /// `[n, out]`: one value per image (or frame) and channel, e.g. the time embedding.
    pub shift: Option<Tensor<2>>,
    /// Shape of the output.
    pub residual: Option<Tensor<D>>,
}

/// Affine parameters of a normalisation.
#[derive(Debug, Clone)]
pub struct Norm {
    /// Scale per channel, `[channels]`.
    pub weight: Tensor<1>,
    /// Offset per channel, `[channels]`.
    pub bias: Tensor<1>,
    /// Added to the variance.
    pub eps: f64,
}

/// What follows a normalisation, in the same pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `x * sigmoid(x)`.
    Silu,
}

/// Which keys a query may attend to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AttentionMask {
    /// All of them.
    #[default]
    None,
    /// The key at its own position and those before it.
    Causal,
}

/// Settings of the optimiser for a group of parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the mean of the gradients, in [0, 1).
    pub beta1: f64,
    /// Decay of the mean of the squared gradients, in [0, 1).
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Decoupled weight decay per unit of learning rate.
    pub weight_decay: f64,
}

/// What [`adamw`](crate::adamw) needs to know about one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// The optimiser's settings.
    pub config: AdamW,
    /// Number of this step; the first one is 1.
    pub number: u64,
    /// Factor on the gradient, e.g. for clipping by the global norm; 1 leaves it alone.
    pub gradient_scale: f64,
}

/// Running means of the gradient and of its square, shape of the parameter, in f32.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Mean of the gradients (PyTorch: `exp_avg`).
    pub first: Tensor<1>,
    /// Mean of the squared gradients (PyTorch: `exp_avg_sq`).
    pub second: Tensor<1>,
}

impl Moments {
    /// The state before the first step: zeros in the shape of `parameter`.
    pub fn zeros_like(parameter: &Tensor<1>) -> Self {
        Self {
            first: parameter.zeros_like(),
            second: parameter.zeros_like(),
        }
    }
}

/// Exponential moving average of a parameter.
#[derive(Debug, Clone)]
pub struct Ema {
    /// The average, shape of the parameter.
    pub average: Tensor<1>,
    /// Weight of the old average, in [0, 1].
    pub decay: f64,
}
