//! A module's parameters by name: which of them learn, and their gradients.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Gradients, Tensor};
use vldm_kernels::{from_memory_order, memory_order_of};

use super::lora::Lora;
use super::networks::Networks;
use crate::checkpoint::ModulePath;
use crate::nn::{cast, stays_wide};

/// Gradients by the parameter's name, each `[elements]` in the order in which its parameter lies
/// in memory.
pub(crate) type NamedGradients = BTreeMap<String, Tensor<1>>;

/// Prepares a module for training: parameters that `learns` chooses by their names become f32 and
/// have their gradients computed, all others get the working data type and never do.
pub(crate) fn learn<M: Module>(module: M, learns: &dyn Fn(&str) -> bool, working: DType) -> M {
    learn_with(module, learns, working, None)
}

/// As [`learn`]; weights that have an adapter stay in f32.
pub(crate) fn learn_with<M: Module>(
    module: M,
    learns: &dyn Fn(&str) -> bool,
    working: DType,
    lora: Option<&Lora>,
) -> M {
    module.map(&mut Learn {
        path: ModulePath::default(),
        learns,
        working,
        lora,
    })
}

struct Learn<'a> {
    path: ModulePath,
    learns: &'a dyn Fn(&str) -> bool,
    working: DType,
    lora: Option<&'a Lora>,
}

impl ModuleMapper for Learn<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let learns = (self.learns)(&self.path.name());
        let arranged = self.path.is_arranged();
        let exact = learns || self.lora.is_some_and(|lora| lora.adapts(param.id));
        let dtype = if exact { DType::F32 } else { self.working };
        param.map(|values| {
            let mut values = values.without_autodiff().cast(dtype);
            if arranged {
                values = vldm_kernels::arrange(values);
            }
            match learns {
                true => values.autodiff().require_grad(),
                false => values,
            }
        })
    }
}

/// The same module with every parameter a plain tensor in `dtype`, as sampling reads it.
pub(crate) fn plain<M: Module>(module: M, dtype: DType) -> M {
    learn(module, &|_| false, dtype)
}

/// How parameters are read in a pass: adapters added, cast to its data type, with or without a way
/// back for gradients. Either way they compute the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// Their own, unless given.
    pub(crate) dtype: Option<DType>,
    /// Whether gradients flow back to the parameters that learn.
    pub(crate) tracked: bool,
    pub(crate) lora: Option<&'a Lora>,
}

impl Reading<'_> {
    /// In another data type, on the way to gradients.
    pub(crate) fn in_type(dtype: DType) -> Self {
        Self {
            dtype: Some(dtype),
            tracked: true,
            lora: None,
        }
    }

    /// The module as a pass reads it: cast, but for weights that the device rounds itself.
    pub(crate) fn read<M: Module>(self, module: M) -> M {
        module.map(&mut Reader {
            reading: self,
            containers: Vec::new(),
        })
    }

    /// Whether anything of a module learns, or has an adapter that does.
    pub(crate) fn learns<M: Module>(&self, module: &M) -> bool {
        struct Any<'a>(bool, Option<&'a Lora>);

        impl ModuleVisitor for Any<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0 |= param_learns(param, self.1);
            }
        }

        let mut any = Any(false, self.lora);
        module.visit(&mut any);
        any.0
    }
}

/// Whether a parameter learns, or has an adapter that does.
pub(crate) fn param_learns<const D: usize>(param: &Param<Tensor<D>>, lora: Option<&Lora>) -> bool {
    param.val().is_require_grad() || lora.is_some_and(|lora| lora.adapts(param.id))
}

/// A [`Reading`] on its way through a module.
struct Reader<'a> {
    reading: Reading<'a>,
    containers: Vec<String>,
}

impl ModuleMapper for Reader<'_> {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.containers.push(container.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Reading {
            dtype,
            tracked,
            lora,
        } = self.reading;
        let id = param.id;
        param.map(|values| {
            let values = match tracked {
                true => values,
                false => values.without_autodiff(),
            };
            let adapted = lora.and_then(|lora| lora.adapted(id, &values, tracked));
            let values = adapted.unwrap_or(values);
            match stays_wide(self.containers.last(), &values) {
                true => values,
                false => cast(values, dtype),
            }
        })
    }
}

/// Takes the gradients of a module's parameters.
pub(crate) fn take_gradients<M: Module>(module: &M, gradients: &mut Gradients) -> NamedGradients {
    take_sums(module, std::slice::from_mut(gradients))
}

/// Takes the gradients of a module's parameters, of several backward passes together.
pub(crate) fn take_sums<M: Module>(module: &M, gradients: &mut [Gradients]) -> NamedGradients {
    struct Take<'a>(ModulePath, &'a mut [Gradients], NamedGradients);

    impl ModuleVisitor for Take<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.0.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            let found = self.1.iter_mut();
            let found = found.filter_map(|gradients| value.grad_remove(gradients));
            if let Some(gradient) = found.reduce(|sum, gradient| sum + gradient) {
                let flat = memory_order_of(gradient, &value.without_autodiff());
                self.2.insert(self.0.name(), flat);
            }
        }
    }

    let mut take = Take(ModulePath::default(), gradients, NamedGradients::new());
    module.visit(&mut take);
    take.2
}

/// Adds the second gradients to the first.
pub(crate) fn accumulate(sum: &mut NamedGradients, more: NamedGradients) {
    for (name, gradient) in more {
        let total = match sum.remove(&name) {
            Some(before) => before + gradient,
            None => gradient,
        };
        sum.insert(name, total);
    }
}

/// The values of something that lies as parameter `name` of a module does, in row-major order.
pub(crate) fn row_major<M: Module>(module: &M, name: &str, flat: Tensor<1>) -> Option<Vec<f32>> {
    struct Find<'a> {
        path: ModulePath,
        name: &'a str,
        flat: Tensor<1>,
        found: Option<Vec<f32>>,
    }

    impl ModuleVisitor for Find<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.path.name() == self.name {
                let like = param.val().without_autodiff();
                let values = from_memory_order(self.flat.clone(), &like);
                self.found = values.into_data().try_to_vec().ok();
            }
        }
    }

    let mut find = Find {
        path: ModulePath::default(),
        name,
        flat,
        found: None,
    };
    module.visit(&mut find);
    find.found
}

/// The networks of which anything learns, or has an adapter that does.
pub(crate) fn learning_networks(networks: &Networks) -> BTreeSet<String> {
    struct Find<'a>(ModulePath, Option<&'a Lora>, BTreeSet<String>);

    impl ModuleVisitor for Find<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.0.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param_learns(param, self.1) {
                let name = self.0.name();
                self.2.extend(name.split('.').next().map(String::from));
            }
        }
    }

    let mut find = Find(
        ModulePath::default(),
        networks.lora.as_ref(),
        BTreeSet::new(),
    );
    networks.visit(&mut find);
    find.2
}

/// How many numbers of a module learn.
pub(crate) fn count_learning<M: Module>(module: &M) -> usize {
    struct Count(usize);

    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            self.0 += usize::from(value.is_require_grad()) * value.shape().num_elements();
        }
    }

    let mut count = Count(0);
    module.visit(&mut count);
    count.0
}
