//! Low-rank adapters under training: a stage's networks stay as they are, and A and B of
//! W + (α/r)·B·A learn for chosen layers.
//!
//! A pass reads each chosen weight with its adapter added, in f32, and then in the working data
//! type; the gradient of that weight becomes those of A and B. So every kind of pass, checkpoint
//! and sample works as with weights that learn themselves, without their moments and averages.
//!
//! # Source
//! Hu et al. 2021 (arXiv:2106.09685), section 4.1: A begins at random, B at zero.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::networks::Networks;
use crate::checkpoint::key_map::{ClipTextKeys, KeyMap, UNetKeys};
use crate::checkpoint::{ModulePath, shape_in_file};
use crate::error::{Error, Result};
use crate::lora::{AdapterTensors, difference, write};
use crate::nn::{Fill, Init, arrange_as};
use crate::unet::UNetConfig;

/// `[lora]`: adapters learn in place of the stage's own parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rows of A and columns of B.
    pub rank: usize,
    /// α: what B·A is multiplied by, times the rank.
    pub alpha: f64,
    /// The layers with adapters, by the ends of their names in diffusers' layout. Of the layers in
    /// networks that the stage trains, those of attention in the U-Net and its temporal layers
    /// unless given; `"q_proj"`, `"k_proj"`, `"v_proj"` and `"out_proj"` are those of a text encoder.
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 8.0,
            targets: ["to_q", "to_k", "to_v", "to_out.0"]
                .map(String::from)
                .into(),
        }
    }
}

impl LoraConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<()> {
        let checks = [
            ("rank", self.rank > 0, "at least 1"),
            (
                "alpha",
                self.alpha.is_finite() && self.alpha > 0.0,
                "above 0",
            ),
            (
                "targets",
                !self.targets.is_empty(),
                "at least one layer's name",
            ),
        ];
        match checks.into_iter().find(|(_, fits, _)| !fits) {
            None => Ok(()),
            Some((field, _, expected)) => Err(Error::Config(format!(
                "lora.{field} does not fit, expected {expected}"
            ))),
        }
    }

    fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    fn chooses(&self, layer: &str) -> bool {
        let ends = |target: &String| {
            let head = layer.strip_suffix(target.as_str());
            head.is_some_and(|head| head.is_empty() || head.ends_with('.'))
        };
        self.targets.iter().any(ends)
    }
}

/// All adapters of a run.
#[derive(Module, Debug)]
pub struct Lora {
    /// One for each chosen layer, in the order of the networks' parameters.
    pub adapters: Vec<Adapter>,
    #[module(skip)]
    config: LoraConfig,
    /// Places in `adapters` by the weights that they are added to.
    #[module(skip)]
    places: HashMap<ParamId, usize>,
}

/// The adapter of one layer.
#[derive(Module, Debug)]
pub struct Adapter {
    /// `[rank, inputs]`
    pub a: Param<Tensor<2>>,
    /// `[outputs, rank]`, zero at first.
    pub b: Param<Tensor<2>>,
    #[module(skip)]
    layer: Layer,
}

/// A layer with an adapter.
#[derive(Debug, Clone)]
struct Layer {
    weight: ParamId,
    /// Its name in a file of adapters.
    name: String,
    /// `[outputs, inputs]`
    shape: [usize; 2],
    /// Dimensions of its weight in the file of its network.
    dims: usize,
}

impl Adapter {
    /// The name of its layer in a file of adapters: `unet.….to_q`.
    #[must_use]
    pub fn layer(&self) -> &str {
        &self.layer.name
    }
}

impl Lora {
    /// Fresh adapters for the layers that `config` chooses, among the parameters whose names begin
    /// with one of `learns`; they add nothing yet. `unet` are the sizes of the U-Net.
    ///
    /// # Errors
    /// [`Error::Config`] when nothing is chosen.
    pub fn attach(
        networks: &mut Networks,
        unet: &UNetConfig,
        config: &LoraConfig,
        (learns, init): (&[String], &Init),
    ) -> Result<()> {
        let mut find = Find {
            path: ModulePath::default(),
            unet: UNetKeys::of_config(unet),
            config,
            learns,
            found: Vec::new(),
        };
        networks.visit(&mut find);
        let layers = find.found;
        if layers.is_empty() {
            return Err(Error::Config(format!(
                "lora.targets is {:?}: no layer below {learns:?} is called so",
                config.targets
            )));
        }
        let places = layers.iter().enumerate();
        let places = places.map(|(place, layer)| (layer.weight, place)).collect();
        let adapters = layers.into_iter().map(|layer| {
            let [outputs, inputs] = layer.shape;
            Adapter {
                a: init.weight([config.rank, inputs], inputs),
                b: init.parameter([outputs, config.rank], Fill::Constant(0.0)),
                layer,
            }
        });
        let adapters = adapters.collect();
        let config = config.clone();
        let lora = Self {
            adapters,
            config,
            places,
        };
        networks.lora = Some(arrange_as(lora, DType::F32));
        Ok(())
    }

    /// The adapter of a weight, where it has one.
    fn of(&self, weight: ParamId) -> Option<&Adapter> {
        self.places.get(&weight).map(|&place| &self.adapters[place])
    }

    /// Whether a weight has an adapter.
    pub(crate) fn adapts(&self, weight: ParamId) -> bool {
        self.places.contains_key(&weight)
    }

    /// A weight with its adapter added, in f32; `None` where it has none. Gradients flow to the
    /// adapter if it is `tracked`.
    pub(crate) fn adapted<const D: usize>(
        &self,
        weight: ParamId,
        values: &Tensor<D>,
        tracked: bool,
    ) -> Option<Tensor<D>> {
        let adapter = self.of(weight)?;
        let [a, b] = [&adapter.a, &adapter.b].map(|matrix| match tracked {
            true => matrix.val(),
            false => matrix.val().without_autodiff(),
        });
        let more = difference(a, b, self.config.scale());
        Some(values.clone().cast(DType::F32) + more.reshape(values.dims()))
    }

    /// Bytes that adapted weights take during a pass in a data type of so many bytes.
    pub(crate) fn adapted_bytes(&self, bytes: usize) -> usize {
        let shapes = self.adapters.iter().map(|adapter| adapter.layer.shape);
        shapes
            .map(|shape| shape.iter().product::<usize>() * bytes)
            .sum()
    }

    /// Writes the adapters alone, as diffusers reads them.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let adapters = self.adapters.iter().map(|adapter| {
            let data = |matrix: &Param<Tensor<2>>| matrix.val().without_autodiff().into_data();
            AdapterTensors {
                layer: adapter.layer.name.clone(),
                a: data(&adapter.a),
                b: data(&adapter.b),
                dims: adapter.layer.dims,
            }
        });
        let settings = (self.config.rank, self.config.alpha);
        write(path, adapters.collect(), settings).map(drop)
    }
}

struct Find<'a> {
    path: ModulePath,
    unet: UNetKeys,
    config: &'a LoraConfig,
    learns: &'a [String],
    found: Vec<Layer>,
}

impl Find<'_> {
    /// What files of adapters call a weight's layer, and the dimensions of the weight in its
    /// network's file; `None` for what adapters are not made for.
    fn layer(&self, parameter: &str) -> Option<(String, usize)> {
        let (network, ours) = parameter.split_once('.')?;
        let (network, source) = match network {
            "unet" => ("unet", self.unet.source(ours)),
            "temporal" => ("unet", UNetKeys::temporal().source(ours)),
            "text_encoder" => {
                // As transformers 5 calls it.
                let keys = ClipTextKeys { prefixed: false };
                ("text_encoder", keys.source(ours))
            }
            _ => return None,
        };
        let dims = shape_in_file(source.transform, &[1, 1]).len();
        let layer = source.name.strip_suffix(".weight")?;
        Some((format!("{network}.{layer}"), dims))
    }
}

impl ModuleVisitor for Find<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parameter = self.path.name();
        // Adapters are for matrices: linear layers.
        if D != 2 || !self.path.is_arranged() {
            return;
        }
        let learns = self.learns.iter().any(|part| parameter.starts_with(part));
        let layer = self.layer(&parameter).filter(|_| learns);
        let Some((name, dims)) = layer.filter(|(name, _)| self.config.chooses(name)) else {
            return;
        };
        let shape = param.lazy_shape();
        self.found.push(Layer {
            weight: param.id,
            name,
            shape: [shape[0], shape[1]],
            dims,
        });
    }
}
