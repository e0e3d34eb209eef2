//! One pass over one batch: the loss, and the gradients of everything that learns.

use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor};

use super::denoising::predict;
use super::example::Example;
use super::networks::Networks;
use super::parameters::{NamedGradients, row_major, take_gradients};
use crate::diffusion::Preconditioning;
use crate::error::Result;

/// What one pass found.
#[derive(Debug, Default)]
pub struct Pass {
    /// The loss that the networks descend.
    pub loss: f64,
    /// Its parts by name, where it has any, and losses of other networks.
    pub parts: BTreeMap<String, f64>,
    /// Gradients by the parameters' names, `[elements]` in the order in which each parameter lies
    /// in memory.
    pub gradients: NamedGradients,
}

impl Pass {
    /// The gradient of a parameter of `networks` in row-major order, where it has one.
    pub fn gradient(&self, name: &str, networks: &Networks) -> Option<Vec<f32>> {
        let flat = self.gradients.get(name)?;
        row_major(networks, name, flat.clone())
    }
}

/// A pass of a diffusion stage in the data type `dtype`; gradients are scaled by `share`, the part
/// of the optimiser's step that this batch is.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) when the example needs a network that is not there.
pub fn denoising_pass(
    networks: &Networks,
    preconditioning: &Preconditioning,
    example: Example,
    (dtype, share): (DType, f64),
) -> Result<Pass> {
    let prediction = predict(
        &networks.working(dtype),
        preconditioning,
        &example.tracked(),
    )?;
    let (loss, derivative) = prediction.loss();
    let gradients = descend(prediction.output, derivative * share, networks);
    Ok(Pass {
        loss,
        parts: BTreeMap::new(),
        gradients,
    })
}

/// The gradients of everything that learns from the derivative of the loss by `output`.
///
/// # Shapes
/// - `derivative`: shape of `output`
pub(crate) fn descend<const D: usize>(
    output: Tensor<D>,
    derivative: Tensor<D>,
    networks: &Networks,
) -> NamedGradients {
    let derivative = derivative.without_autodiff().autodiff();
    let mut gradients = (output * derivative).sum().backward();
    take_gradients(networks, &mut gradients)
}
