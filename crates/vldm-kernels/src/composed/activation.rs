//! Activations, one value at a time.

use burn::tensor::{Tensor, activation};

/// `x * sigmoid(x)`.
///
/// # Shapes
/// - `x`: any
/// - returns: the shape of `x`
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::silu(x)
}

/// `x * (1 + erf(x / sqrt(2))) / 2`: the exact form.
///
/// # Shapes
/// - `x`: any
/// - returns: the shape of `x`
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu(x)
}

/// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`: PyTorch's `approximate="tanh"`.
///
/// # Shapes
/// - `x`: any
/// - returns: the shape of `x`
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    const SQRT_2_OVER_PI: f64 =
        core::f64::consts::FRAC_2_SQRT_PI * core::f64::consts::FRAC_1_SQRT_2;
    let cubic = (x.clone() * x.clone()).mul_scalar(0.044715).add_scalar(1.0) * x.clone();
    // (1 + tanh(z)) / 2 = sigmoid(2 z)
    x * activation::sigmoid(cubic.mul_scalar(2.0 * SQRT_2_OVER_PI))
}

/// `x * sigmoid(1.702 x)`: the activation of CLIP's first text encoders.
///
/// # Shapes
/// - `x`: any
/// - returns: the shape of `x`
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * activation::sigmoid(x.mul_scalar(1.702))
}
