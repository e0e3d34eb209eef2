//! Adding an adapter to the weights of a model.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};

use super::{LoraFile, difference};
use crate::checkpoint::ModulePath;
use crate::checkpoint::key_map::{ClipTextKeys, KeyMap, Projection, UNetKeys};
use crate::error::{Error, Result};
use crate::model::Model;

/// What was merged.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraReport {
    /// The adapter's file.
    pub path: PathBuf,
    /// Weights that it was added to.
    pub layers: usize,
    /// How strongly.
    pub scale: f64,
}

impl fmt::Display for LoraReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            layers,
            scale,
        } = self;
        write!(f, "{}: {layers} weights, scale {scale}", path.display())
    }
}

/// Adds an adapter times `scale` to a model's U-Net, temporal layers and text encoder; each weight
/// keeps its data type.
///
/// # Errors
/// When the adapter has a layer that the model lacks or has in another shape. The model must not be
/// used then: part of the adapter may have been added.
pub fn merge(model: &mut Model, file: &LoraFile, scale: f64) -> Result<LoraReport> {
    let mut merge = Merge {
        path: ModulePath::default(),
        keys: Box::new(UNetKeys::image(Projection::Linear)),
        network: UNET,
        file,
        scale,
        merged: BTreeSet::new(),
        failed: None,
    };
    if let Some(unet) = model.unet.take() {
        let temporal = unet.temporal.map(|layers| {
            merge.keys = Box::new(UNetKeys::temporal());
            layers.map(&mut merge)
        });
        merge.keys = Box::new(UNetKeys::of_config(&unet.config));
        model.unet = Some(crate::model::VideoUNet {
            unet: unet.unet.map(&mut merge),
            temporal,
            ..unet
        });
    }
    if let Some(encoder) = model.text_encoder.take() {
        merge.keys = Box::new(ClipTextKeys { prefixed: true });
        merge.network = TEXT_ENCODER;
        model.text_encoder = Some(encoder.map(&mut merge));
    }
    if let Some(error) = merge.failed {
        return Err(error);
    }
    let strange: Vec<&str> = file
        .layers()
        .filter(|layer| !merge.merged.contains(*layer))
        .collect();
    match (strange.first(), merge.merged.len()) {
        (Some(first), layers) => Err(Error::Input(format!(
            "{}: {} of its {} layers are not in the model, the first is {first}: the adapter is of \
             another model",
            file.path().display(),
            strange.len(),
            layers + strange.len()
        ))),
        (None, 0) => Err(Error::Input(format!(
            "{}: no adapter in it",
            file.path().display()
        ))),
        (None, layers) => Ok(LoraReport {
            path: file.path().to_path_buf(),
            layers,
            scale,
        }),
    }
}

/// What a network is called in files of adapters: by diffusers, and by kohya's scripts.
type Network = (&'static str, &'static str);
const UNET: Network = ("unet", "lora_unet_");
const TEXT_ENCODER: Network = ("text_encoder", "lora_te_");

struct Merge<'a> {
    path: ModulePath,
    keys: Box<dyn KeyMap>,
    network: Network,
    file: &'a LoraFile,
    scale: f64,
    merged: BTreeSet<String>,
    failed: Option<Error>,
}

impl Merge<'_> {
    /// The name under which the file has the layer of this parameter.
    fn layer(&self, parameter: &str) -> Option<String> {
        let name = self.keys.source(parameter).name;
        let layer = name.strip_suffix(".weight")?;
        let (network, flat) = self.network;
        // transformers 5 has no `text_model.`
        let short = layer.strip_prefix("text_model.").unwrap_or(layer);
        let mut names = vec![
            format!("{network}.{layer}"),
            format!("{network}.{short}"),
            format!("{flat}{}", layer.replace('.', "_")),
        ];
        if network == UNET.0 {
            names.push(layer.to_owned());
        }
        if let Some((attention, projection)) = layer.rsplit_once(".to_") {
            let projection = projection.trim_end_matches(".0");
            names.push(format!("{network}.{attention}.processor.to_{projection}"));
            names.push(format!("{attention}.processor.to_{projection}"));
        }
        names.into_iter().find(|name| self.file.has(name))
    }

    fn merged<const D: usize>(&self, layer: &str, weight: Tensor<D>) -> Result<Tensor<D>> {
        let (dims, dtype) = (weight.dims(), weight.dtype());
        let values = self.file.values(layer, &dims)?;
        let more = difference(values.a, values.b, values.scale * self.scale);
        let sum = vldm_kernels::unpack(weight).cast(DType::F32) + more.reshape(dims);
        let sum = sum.cast(dtype);
        Ok(match self.path.is_arranged() {
            true => vldm_kernels::pack(sum),
            false => sum,
        })
    }
}

impl ModuleMapper for Merge<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D < 2 || self.failed.is_some() {
            return param;
        }
        let Some(layer) = self.layer(&self.path.name()) else {
            return param;
        };
        match self.merged(&layer, param.val()) {
            Ok(sum) => {
                self.merged.insert(layer);
                param.map(|_| sum)
            }
            Err(error) => {
                self.failed = Some(error);
                param
            }
        }
    }
}
