//! A case on disk: weights, gradients of the first step, inputs, expected numbers.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::de::DeserializeOwned;
use vldm::autoencoder::{AutoencoderConfig, TemporalDecoderConfig, TemporalDecoderLayers};
use vldm::checkpoint::key_map::{AutoencoderKeys, Identity, KeyMap};
use vldm::checkpoint::{LoadOptions, Metadata, Weights, load};
use vldm::conditioning::boxes::{BoxEncoder, BoxEncoderConfig};
use vldm::conditioning::encoders::ConditionEncoders;
use vldm::conditioning::frame_rate::{FrameRateConfig, FrameRateEncoder};
use vldm::conditioning::labels::{LabelEncoder, LabelEncoderConfig};
use vldm::model::{LoadSettings, ModelDescription};
use vldm::nn::{Init, arrange};
use vldm::train::{Discriminator, DiscriminatorConfig, Networks, networks_of};

/// One folder of `tests/training`.
pub(crate) struct Case {
    pub(crate) name: String,
    folder: PathBuf,
    weights: PathBuf,
    steps: Weights,
    pub(crate) expected: serde_json::Value,
}

impl Case {
    pub(crate) fn open(name: &str) -> Self {
        Self::open_with_weights_of(name, name)
    }

    /// A case that shares weights and inputs with another.
    pub(crate) fn open_with_weights_of(name: &str, shared: &str) -> Self {
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/training");
        let [folder, weights] = [name, shared].map(|name| all.join(name));
        let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        Self {
            name: name.into(),
            steps: Weights::open(weights.join("steps.safetensors")).unwrap(),
            expected: serde_json::from_str(&expected).unwrap(),
            folder,
            weights,
        }
    }

    /// A list of expected numbers, of a further run or (`""`) of the first.
    pub(crate) fn numbers(&self, run: &str, key: &str) -> Vec<f64> {
        let expected = match run {
            "" => &self.expected,
            run => &self.expected[run],
        };
        serde_json::from_value(expected[key].clone()).unwrap()
    }

    pub(crate) fn has(&self, input: &str) -> bool {
        self.steps.contains(input)
    }

    /// An input of a step, and of a micro-batch where there are several.
    fn data(&self, input: &str, index: &[usize]) -> TensorData {
        let data = self.steps.data(input).unwrap();
        let shape = data.shape().to_vec();
        let count: usize = shape[index.len()..].iter().product();
        let mut start = 0;
        for (axis, &index) in index.iter().enumerate() {
            start = start * shape[axis] + index;
        }
        let values: Vec<f64> = data.convert::<f64>().try_to_vec().unwrap();
        let part = values[start * count..(start + 1) * count].to_vec();
        TensorData::new(part, shape[index.len()..].to_vec())
    }

    pub(crate) fn floats<const D: usize>(&self, input: &str, index: &[usize]) -> Tensor<D> {
        let data = self.data(input, index).convert::<f32>();
        Tensor::from_data(data, &Device::flex())
    }

    pub(crate) fn ints<const D: usize>(&self, input: &str, index: &[usize]) -> Tensor<D, Int> {
        let data = self.data(input, index).convert::<i64>();
        Tensor::from_data(data, &Device::flex())
    }

    pub(crate) fn values(&self, input: &str, index: &[usize]) -> Vec<f64> {
        self.data(input, index).try_to_vec().unwrap()
    }

    /// The networks with their start values.
    pub(crate) fn networks(&self) -> Networks {
        networks(&self.weights.join("model"))
    }

    /// The same networks with the gradients of the first step in place of the parameters.
    pub(crate) fn gradients(&self) -> Networks {
        let folder = tempfile::tempdir().unwrap();
        copy(&self.weights.join("model"), folder.path());
        copy(&self.weights.join("gradient"), folder.path());
        copy(&self.folder.join("gradient"), folder.path());
        networks(folder.path())
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in from.read_dir().into_iter().flatten() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn networks(model: &Path) -> Networks {
    let temporal = Some(model.join("temporal.safetensors")).filter(|file| file.is_file());
    let settings = LoadSettings {
        device: Device::flex(),
        dtype: DType::F32,
        temporal,
    };
    let description = ModelDescription::open(model, None).unwrap();
    let autoencoder = description.autoencoder.clone().map(|part| part.config);
    let mut networks = networks_of(description.load(&settings).unwrap());
    let init = Init::new(&settings.device, 0);
    let labels = part(model, "labels", &Identity, |c: &LabelEncoderConfig| {
        LabelEncoder::new(c, &init)
    });
    let boxes = part(model, "boxes", &Identity, |c: &BoxEncoderConfig| {
        BoxEncoder::new(c, &init)
    });
    let frame_rate = part(model, "frame_rate", &Identity, |c: &FrameRateConfig| {
        FrameRateEncoder::new(c, &init)
    });
    networks.conditions = Some(ConditionEncoders {
        labels,
        boxes,
        frame_rate,
    });
    if let Some(config) = autoencoder {
        networks.discriminator = discriminator(model, &init);
        networks.temporal_decoder = temporal_decoder(model, &config, &init);
    }
    networks
}

fn temporal_decoder(
    model: &Path,
    config: &AutoencoderConfig,
    init: &Init,
) -> Option<TemporalDecoderLayers> {
    let keys = AutoencoderKeys::Temporal;
    part(
        model,
        "temporal_decoder",
        &keys,
        |c: &TemporalDecoderConfig| TemporalDecoderLayers::new(config, *c, init),
    )
}

fn discriminator(model: &Path, init: &Init) -> Option<Discriminator> {
    let path = model.join("discriminator.safetensors");
    if !path.is_file() {
        return None;
    }
    let weights = Weights::open(&path).unwrap();
    let over_time = weights.shape("convs.0.weight").unwrap()[2] == 3;
    let config = DiscriminatorConfig {
        channels: weights.shape("convs.0.weight").unwrap()[0],
        layers: if over_time { 4 } else { 3 },
        over_time,
    };
    let module = Discriminator::new(&config, 3, init);
    let options = LoadOptions::new("discriminator");
    Some(load(module, &weights, &Identity, &options).unwrap().0)
}

/// A part in a file of its own, with its configuration in the metadata.
fn part<M: Module, C: DeserializeOwned>(
    model: &Path,
    name: &str,
    keys: &dyn KeyMap,
    new: impl FnOnce(&C) -> M,
) -> Option<M> {
    let path = model.join(format!("{name}.safetensors"));
    if !path.is_file() {
        return None;
    }
    let weights = Weights::open(&path).unwrap();
    let config = Metadata::of(&weights).unwrap().config.unwrap();
    let module = new(&serde_json::from_value(config).unwrap());
    Some(arrange(
        load(module, &weights, keys, &LoadOptions::new(name))
            .unwrap()
            .0,
    ))
}
