//! A linear layer.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::Init;

/// `y = x Wᵀ + b`, over the last axis.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer with fresh parameters.
    pub fn new(inputs: usize, outputs: usize, bias: bool, init: &Init) -> Self {
        Self {
            weight: init.weight([outputs, inputs], inputs),
            bias: bias.then(|| init.weight([outputs], inputs)),
        }
    }

    /// A layer whose output starts at zero, so that a residual branch begins as the identity.
    pub fn zeros(inputs: usize, outputs: usize, bias: bool, init: &Init) -> Self {
        Self {
            weight: init.parameter([outputs, inputs], super::Fill::Constant(0.0)),
            bias: bias.then(|| init.parameter([outputs], super::Fill::Constant(0.0))),
        }
    }

    /// A layer without bias, whose weights are normal with the given deviation.
    pub fn normal(inputs: usize, outputs: usize, deviation: f32, init: &Init) -> Self {
        Self {
            weight: init.parameter([outputs, inputs], super::Fill::Normal(deviation)),
            bias: None,
        }
    }

    /// # Shapes
    /// - `x`: `[…, inputs]`
    /// - returns: `[…, outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        vldm_kernels::linear(x, self.weight.val(), self.bias(), None)
    }

    /// The layer's output added to `residual`, in one pass.
    ///
    /// # Shapes
    /// - `x`: `[…, inputs]`
    /// - `residual`, returns: `[…, outputs]`
    pub fn forward_onto<const D: usize>(&self, x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        vldm_kernels::linear(x, self.weight.val(), self.bias(), Some(residual))
    }

    /// The bias, where there is one.
    pub fn bias(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(Param::val)
    }
}
