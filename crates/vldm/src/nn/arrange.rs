//! Weights in the order in which the device reads them.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};

/// The same module with the weights of its convolutions and linear layers laid out as the device
/// reads them, one at a time: layers compute the same without it, but rearrange their weight at
/// every call. Shapes and values, and so what is saved, stay as they are.
pub fn arrange<M: Module>(module: M) -> M {
    module.map(&mut Arranger::default())
}

/// As [`arrange`], in another data type. Parameters that have no values yet get them one at a time,
/// so that no more than one of them is ever held twice.
pub(crate) fn arrange_as<M: Module>(module: M, dtype: DType) -> M {
    module.map(&mut Arranger {
        containers: Vec::new(),
        dtype: Some(dtype),
    })
}

/// Whether a parameter of such a container (as a [`ModuleMapper`] is told) is a weight that
/// [`vldm_kernels::arrange`] is for.
pub(crate) fn is_arranged(container: &str) -> bool {
    matches!(
        container,
        "Struct:Conv2d" | "Struct:Linear" | "Struct:TemporalConv"
    )
}

/// Whether a parameter of such a container is left in f32 where activations are in half precision: the
/// device rounds it as it reads it.
pub(crate) fn stays_wide<const D: usize>(container: Option<&String>, values: &Tensor<D>) -> bool {
    let is_weight = D > 1 && container.is_some_and(|container| is_arranged(container));
    is_weight && values.dtype() == DType::F32 && vldm_kernels::rounds_weights(values)
}

#[derive(Default)]
struct Arranger {
    containers: Vec<String>,
    /// The parameters' own, unless given.
    dtype: Option<DType>,
}

impl ModuleMapper for Arranger {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.containers.push(container.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let param = param.map(|values| cast(values, self.dtype));
        match self.containers.last() {
            Some(container) if is_arranged(container) => param.map(vldm_kernels::pack),
            _ => param,
        }
    }
}

/// In another data type, if it is not in that one yet.
pub(crate) fn cast<const D: usize>(values: Tensor<D>, dtype: Option<DType>) -> Tensor<D> {
    match dtype {
        Some(dtype) if values.dtype() != dtype => values.cast(dtype),
        _ => values,
    }
}
