//! Repeatable numbers, and changes to a module's parameters.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use vldm::preset::Preset;

pub(crate) fn preset(name: &str) -> Preset {
    Preset::load(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Uniform in [−1, 1], the same for the same seed.
pub(crate) fn noise<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32) / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

pub(crate) fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().try_to_vec().expect("f32")
}

pub(crate) fn finite<const D: usize>(tensor: &Tensor<D>, what: &str) {
    assert!(
        values(tensor).iter().all(|x| x.is_finite()),
        "{what}: not finite"
    );
}

/// The largest absolute difference.
pub(crate) fn distance<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let pairs = values(a).into_iter().zip(values(b));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Moves every parameter by up to `amount`, so that nothing is zero by its start.
pub(crate) fn shaken<M: Module>(module: M, amount: f64) -> M {
    let mut edit = Edit {
        name: Vec::new(),
        seed: 0,
        amount,
        logits: None,
    };
    module.map(&mut edit)
}

/// Sets the logits of α in every mixer.
pub(crate) fn with_alpha<M: Module>(module: M, logits: &[f32]) -> M {
    let mut edit = Edit {
        name: Vec::new(),
        seed: 0,
        amount: 0.0,
        logits: Some(logits.to_vec()),
    };
    module.map(&mut edit)
}

struct Edit {
    name: Vec<String>,
    seed: u64,
    amount: f64,
    logits: Option<Vec<f32>>,
}

impl ModuleMapper for Edit {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.name.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.name.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.seed += 1;
        let is_alpha = self.name.last().is_some_and(|name| name == "mix_factor");
        match &self.logits {
            Some(logits) if is_alpha => {
                let data = TensorData::new(logits.clone(), [logits.len()]);
                param.map(|old| {
                    assert_eq!(old.dims()[0], logits.len());
                    Tensor::from_data(data, &old.device())
                })
            }
            Some(_) => param,
            None => {
                let (seed, amount) = (self.seed, self.amount);
                param.map(|old| {
                    let shift = noise(old.dims(), seed);
                    old + shift.mul_scalar(amount)
                })
            }
        }
    }
}
