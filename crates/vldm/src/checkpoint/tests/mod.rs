//! Round trips through a small module, and everything that can be wrong with a file.

mod damage;
mod files;
mod fit;
mod round_trip;

use std::path::{Path, PathBuf};

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use tempfile::TempDir;

use super::key_map::{Identity, KeyMap, Source, Transform};
use super::*;
use crate::nn::{Conv2d, Fill, Init, Linear};

#[derive(Module, Debug)]
struct Mixer {
    mix_factor: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Net {
    conv: Conv2d,
    layers: Vec<Linear>,
    mixer: Option<Mixer>,
    size: usize,
}

fn net(seed: u64) -> Net {
    net_on(&Device::flex(), seed)
}

fn net_on(device: &Device, seed: u64) -> Net {
    let init = Init::new(device, seed);
    Net {
        conv: Conv2d::new(3, 8, 3, &init),
        layers: (0..3).map(|_| Linear::new(8, 8, true, &init)).collect(),
        mixer: Some(Mixer {
            mix_factor: init.parameter([1], Fill::Constant(0.25)),
        }),
        size: 8,
    }
}

/// The names of [`net`]'s file in another program's layout.
#[derive(Debug)]
struct Foreign;

impl KeyMap for Foreign {
    fn source(&self, ours: &str) -> Source {
        let transform = match ours {
            "mixer.mix_factor" => Transform::Negate,
            "layers.0.weight" => Transform::Reshape { rank: 4 },
            "layers.1.weight" => Transform::Transpose,
            _ => Transform::None,
        };
        Source {
            name: format!("model.{}", ours.replace("layers", "blocks")),
            transform,
        }
    }

    fn is_ignored(&self, theirs: &str) -> bool {
        theirs.starts_with("ema.")
    }
}

fn values(module: &Net) -> Vec<(String, Vec<f32>)> {
    let list = |name: &str, data: TensorData| (name.to_owned(), data.iter::<f32>().collect());
    let mut out = vec![list(
        "conv",
        vldm_kernels::unpack(module.conv.weight.val()).into_data(),
    )];
    for layer in &module.layers {
        out.push(list(
            "weight",
            vldm_kernels::unpack(layer.weight.val()).into_data(),
        ));
        let bias = layer.bias.as_ref().unwrap();
        out.push(list("bias", bias.val().into_data()));
    }
    let mixer = module.mixer.as_ref().unwrap();
    out.push(list("mixer", mixer.mix_factor.val().into_data()));
    out
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    (folder, path)
}

fn save_net(path: &Path, map: &dyn KeyMap, dtype: DType) -> Net {
    let net = net(1);
    let options = SaveOptions {
        dtype,
        ..SaveOptions::default()
    };
    save(&net, path, map, &options).unwrap();
    net
}

#[track_caller]
fn load_error(weights: &Weights, map: &dyn KeyMap, options: &LoadOptions) -> String {
    load(net(2), weights, map, options).unwrap_err().to_string()
}
