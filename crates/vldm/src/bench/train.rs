//! A step of training: forward, backward, AdamW.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Gradients, Tensor};
use vldm_kernels::{AdamW, AdamWStep, Moments, adamw, flops, memory_order};

use super::network::{Network, Question, config};
use super::weights::{Learn, Parameters, count, noise};
use super::{BenchSize, Trained, Work};
use crate::checkpoint::count_parameters;
use crate::error::Result;
use crate::nn::arrange_as;
use crate::preset::Preset;
use crate::train::parameters::Reading;

/// A network that learns to predict noise, always the same.
#[derive(Debug)]
pub(super) struct Training {
    /// `None` only while a step is under way.
    network: Option<Network>,
    trained: Trained,
    question: Question,
    target: Tensor<4>,
    dtype: DType,
    moments: Vec<Moments>,
    steps: u64,
}

impl Training {
    pub(super) fn new(
        preset: &Preset,
        size: &BenchSize,
        trained: Trained,
        device: &Device,
    ) -> Result<Self> {
        let Network { unet, temporal } = Network::new(preset, device, DType::F32)?;
        let network = Network {
            unet: match trained {
                Trained::All => unet.map(&mut Learn),
                // Frozen weights need no second copy in f32.
                Trained::Temporal => arrange_as(unet, size.dtype),
            },
            temporal: Module::map(temporal, &mut Learn),
        };
        let device = device.clone().autodiff();
        let question = Question::new(preset, size, &device)?;
        let [images, height, width, _] = question.input.sample.dims();
        let dims = [images, height, width, config(preset)?.out_channels];
        Ok(Self {
            network: Some(network),
            trained,
            question,
            target: noise(dims, 4, (&device, DType::F32)),
            dtype: size.dtype,
            moments: Vec::new(),
            steps: 0,
        })
    }

    /// The mean squared error; parameters that learn are read through a cast.
    fn loss(&self, network: &Network) -> Tensor<1> {
        let reading = Reading::in_type(self.dtype);
        let working = Network {
            unet: match self.trained {
                Trained::All => reading.read(network.unet.clone()),
                Trained::Temporal => network.unet.clone(),
            },
            temporal: reading.read(network.temporal.clone()),
        };
        let prediction = working.run(&self.question).cast(DType::F32);
        let error = prediction - self.target.clone();
        (error.clone() * error).mean()
    }

    /// Says how many operations the forward pass takes.
    fn step(&mut self) -> u64 {
        let Some(network) = self.network.take() else {
            return 0;
        };
        self.steps += 1;
        let (loss, forward) = flops::count(|| self.loss(&network));
        let mut gradients = loss.backward();
        let mut update = Update {
            gradients: &mut gradients,
            moments: &mut self.moments,
            next: 0,
            step: AdamWStep {
                config: ADAMW,
                number: self.steps,
                gradient_scale: 1.0,
            },
        };
        self.network = Some(Network {
            temporal: Module::map(network.temporal, &mut update),
            unet: match self.trained {
                Trained::All => network.unet.map(&mut update),
                Trained::Temporal => network.unet,
            },
        });
        forward
    }
}

const ADAMW: AdamW = AdamW {
    learning_rate: 1e-4,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.01,
};

impl Work for Training {
    fn run(&mut self) {
        self.step();
    }

    fn count(&mut self) -> u64 {
        let forward = self.step();
        match (self.trained, &self.network) {
            (Trained::Temporal, Some(network)) => {
                let image = flops::count(|| network.unet.forward(self.question.input.clone())).1;
                2 * forward + (forward - image)
            }
            _ => 3 * forward,
        }
    }

    fn parameters(&self) -> Parameters {
        let Some(network) = &self.network else {
            return Parameters::frozen(0, self.dtype);
        };
        let frozen = match self.trained {
            Trained::All => 0,
            Trained::Temporal => count_parameters(&network.unet),
        };
        let all = count_parameters(&network.unet) + count(network.temporal.as_ref());
        Parameters {
            count: all,
            trained: all - frozen,
            bytes: frozen * self.dtype.size() + (all - frozen) * DType::F32.size(),
        }
    }
}

/// Moves every parameter along its gradient. Moments are kept in the order of the parameters.
struct Update<'a> {
    gradients: &'a mut Gradients,
    moments: &'a mut Vec<Moments>,
    next: usize,
    step: AdamWStep,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad_remove(self.gradients) else {
            return param;
        };
        param.map(|values| {
            let values = values.without_autodiff();
            if self.next == self.moments.len() {
                let flat = memory_order(values.clone());
                self.moments.push(Moments::zeros_like(&flat));
            }
            let moments = &mut self.moments[self.next];
            self.next += 1;
            let values = adamw(values, gradient, moments, None, self.step);
            values.autodiff().require_grad()
        })
    }
}
