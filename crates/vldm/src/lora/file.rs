//! Files of adapters.
//!
//! ```text
//! unet.down_blocks.0.attentions.0.….to_q.lora_A.weight   [rank, inputs]   peft, diffusers
//! unet.….to_q.lora.down.weight                           the same         diffusers, older
//! unet.….attn1.processor.to_q_lora.down.weight           the same         diffusers, oldest
//! lora_unet_down_blocks_0_….to_q.lora_down.weight        the same         kohya's scripts
//! ```
//!
//! α stands in a tensor `….alpha`, or in the metadata as peft's configuration, or is the rank.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use serde_json::{Map, Value, json};

use crate::checkpoint::{CheckpointError, Weights, write_tensors};
use crate::error::{Error, Result};

/// The metadata's key under which diffusers keeps peft's configuration, as JSON.
const CONFIGURATION: &str = "lora_adapter_metadata";

/// How the names of A and B end, below the name of the layer.
const ENDS: [(&str, &str); 4] = [
    (".lora_A.weight", ".lora_B.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    (".lora_down.weight", ".lora_up.weight"),
    ("_lora.down.weight", "_lora.up.weight"),
];

/// An adapter on disk.
#[derive(Debug)]
pub struct LoraFile {
    weights: Weights,
    /// By the layer's name as the file has it.
    layers: BTreeMap<String, Layer>,
    configuration: Map<String, Value>,
}

/// The names of a layer's tensors.
#[derive(Debug, Default)]
struct Layer {
    a: Option<String>,
    b: Option<String>,
    alpha: Option<String>,
}

/// A layer's adapter, read.
pub(super) struct LayerValues {
    /// `[rank, inputs]`, positions of a kernel folded into the inputs.
    pub(super) a: Tensor<2>,
    /// `[outputs, rank]`
    pub(super) b: Tensor<2>,
    /// α over the rank.
    pub(super) scale: f64,
}

impl LoraFile {
    /// Opens a file and finds its layers; values are read when they are merged.
    ///
    /// # Errors
    /// When the file cannot be read, or holds a tensor that is none of an adapter's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let weights = Weights::open(path)?;
        let mut layers: BTreeMap<String, Layer> = BTreeMap::new();
        for name in weights.names() {
            if let Some(layer) = name.strip_suffix(".alpha") {
                layers.entry(layer.into()).or_default().alpha = Some(name.into());
                continue;
            }
            let found = ENDS.iter().find_map(|(a, b)| {
                let a = name.strip_suffix(a).map(|layer| (layer, true));
                a.or_else(|| name.strip_suffix(b).map(|layer| (layer, false)))
            });
            let Some((layer, is_a)) = found else {
                return Err(Error::Input(format!(
                    "{}: {name} is no tensor of a low-rank adapter; expected names such as \
                     unet.….to_q.lora_A.weight",
                    weights.path().display()
                )));
            };
            let layer = layers.entry(layer.into()).or_default();
            let place = if is_a { &mut layer.a } else { &mut layer.b };
            *place = Some(name.into());
        }
        let configuration = match weights.metadata().get(CONFIGURATION) {
            None => Map::new(),
            Some(text) => serde_json::from_str(text).map_err(|error| {
                let problem = format!("its metadata `{CONFIGURATION}`: {error}");
                CheckpointError::damaged(weights.path(), problem)
            })?,
        };
        Ok(Self {
            weights,
            layers,
            configuration,
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.weights.path()
    }

    /// The layers it has, by its own names.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    pub(super) fn has(&self, layer: &str) -> bool {
        self.layers.contains_key(layer)
    }

    /// The adapter of a layer for a weight of `[outputs, inputs, kernel..]`.
    ///
    /// # Errors
    /// When half of it is missing, or it is for a weight of another shape.
    pub(super) fn values(&self, name: &str, weight: &[usize]) -> Result<LayerValues> {
        let fail = |problem: String| {
            Err(Error::Input(format!(
                "{}: {problem}",
                self.path().display()
            )))
        };
        let Some(layer) = self.layers.get(name) else {
            return fail(format!("no layer {name}"));
        };
        let (Some(a), Some(b)) = (&layer.a, &layer.b) else {
            return fail(format!("{name} has only one of its two matrices"));
        };
        let shape = |name: &str| self.weights.shape(name).map(<[usize]>::to_vec);
        let (a_shape, b_shape) = (shape(a).unwrap_or_default(), shape(b).unwrap_or_default());
        let rank = a_shape.first().copied().unwrap_or(0);
        let inputs = weight.iter().skip(1).product::<usize>();
        let fits = rank > 0
            && elements(&a_shape[1..]) == Some(inputs)
            && b_shape.iter().take(2).eq([&weight[0], &rank])
            && b_shape.iter().skip(2).all(|&size| size == 1);
        if !fits {
            return fail(format!(
                "{name} has matrices of {a_shape:?} and {b_shape:?}, which do not make a weight of \
                 {weight:?}: the adapter is of another model"
            ));
        }
        let alpha = match &layer.alpha {
            Some(alpha) => self.number(alpha)?,
            None => self.configured_alpha(name).unwrap_or(rank as f64),
        };
        let by = match self.configured(name, "use_rslora").and_then(Value::as_bool) {
            Some(true) => (rank as f64).sqrt(),
            _ => rank as f64,
        };
        Ok(LayerValues {
            a: self.matrix(a, [rank, inputs])?,
            b: self.matrix(b, [weight[0], rank])?,
            scale: alpha / by,
        })
    }

    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Tensor<2>> {
        let data = self.weights.data(name)?.convert::<f32>();
        let values: Vec<f32> = data
            .try_to_vec()
            .map_err(|error| Error::Backend(format!("{name} cannot be read: {error:?}")))?;
        let device = burn::tensor::Device::flex();
        Ok(Tensor::from_data(TensorData::new(values, shape), &device))
    }

    fn number(&self, name: &str) -> Result<f64> {
        let data = self.weights.data(name)?.convert::<f64>();
        let value = data.iter::<f64>().next().filter(|value| value.is_finite());
        value.ok_or_else(|| {
            let problem = format!("{name} is no number");
            CheckpointError::damaged(self.weights.path(), problem).into()
        })
    }

    /// What peft's configuration says for the network of a layer.
    fn configured(&self, layer: &str, key: &str) -> Option<&Value> {
        let part = layer.split('.').next().unwrap_or_default();
        let of_part = self.configuration.get(&format!("{part}.{key}"));
        of_part.or_else(|| self.configuration.get(key))
    }

    fn configured_alpha(&self, layer: &str) -> Option<f64> {
        let pattern = self
            .configured(layer, "alpha_pattern")
            .and_then(Value::as_object);
        let own = pattern.and_then(|pattern| {
            let is_of = |of: &str| layer == of || layer.ends_with(&format!(".{of}"));
            pattern
                .iter()
                .find(|(of, _)| is_of(of))
                .map(|(_, alpha)| alpha)
        });
        own.or_else(|| self.configured(layer, "lora_alpha"))?
            .as_f64()
    }
}

/// How many elements a shape of foreign bytes has, if that is a number.
fn elements(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |count, &size| count.checked_mul(size))
}

/// A layer's adapter, to be written.
#[derive(Debug)]
pub(crate) struct AdapterTensors {
    /// The layer's name with that of its network: `unet.….to_q`.
    pub(crate) layer: String,
    /// `[rank, inputs]`
    pub(crate) a: TensorData,
    /// `[outputs, rank]`
    pub(crate) b: TensorData,
    /// Dimensions of the layer's weight in the file of its network; further ones are 1.
    pub(crate) dims: usize,
}

/// Writes adapters as diffusers does: `load_lora_weights` reads them.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write(
    path: &Path,
    adapters: Vec<AdapterTensors>,
    (rank, alpha): (usize, f64),
) -> Result<PathBuf> {
    let mut networks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut tensors = Vec::new();
    for AdapterTensors { layer, a, b, dims } in adapters {
        let (network, module) = layer.split_once('.').unwrap_or(("unet", &layer));
        networks
            .entry(network.into())
            .or_default()
            .push(module.into());
        for (name, data) in [("lora_A", a), ("lora_B", b)] {
            let (bytes, shape, dtype) = data.into_parts();
            let mut shape = shape.to_vec();
            shape.resize(dims.max(2), 1);
            tensors.push((
                format!("{layer}.{name}.weight"),
                TensorData::from_bytes(bytes, shape, dtype),
            ));
        }
    }
    let mut configuration = Map::new();
    for (network, modules) in networks {
        let mut put =
            |key: &str, value: Value| configuration.insert(format!("{network}.{key}"), value);
        put("peft_type", json!("LORA"));
        put("r", json!(rank));
        put("lora_alpha", json!(alpha));
        put("lora_dropout", json!(0.0));
        put("bias", json!("none"));
        put("target_modules", json!(modules));
    }
    let text = Value::Object(configuration).to_string();
    let metadata = BTreeMap::from([
        ("format".to_owned(), "pt".to_owned()),
        (CONFIGURATION.to_owned(), text),
    ]);
    write_tensors(path, &tensors, &metadata)?;
    Ok(path.to_path_buf())
}
