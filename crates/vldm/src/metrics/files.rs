//! Metric networks on disk: one safetensors file each, which says how it was trained.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, Device};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::detector::{Detector, DetectorConfig};
use super::features::{FeatureConfig, FeatureNet};
use crate::checkpoint::key_map::Identity;
use crate::checkpoint::{self, CheckpointError, LoadOptions, Metadata, SaveOptions, Weights};
use crate::error::{Error, Result};
use crate::nn::Init;

/// The entry that says which network a file holds.
const KIND: &str = "vldm.metric";
/// The entry that says how it was trained.
const TRAINING: &str = "vldm.training";

/// Which metric network a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricNetwork {
    /// A [`FeatureNet`].
    Features,
    /// A [`Detector`].
    Detector,
}

impl MetricNetwork {
    /// Its name, as in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Features => "features",
            Self::Detector => "detector",
        }
    }
}

/// Where a metric network came from: distances and recalls of two files are two different things.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Provenance {
    /// The file.
    pub path: PathBuf,
    /// The first 12 hexadecimal digits of its SHA-256.
    pub fingerprint: String,
    /// How it was trained and how well it does on worlds that it never saw, as the file says.
    pub training: BTreeMap<String, f64>,
}

/// Writes a feature network in half precision.
///
/// # Errors
/// [`Error::Checkpoint`] when the disk refuses or a value does not fit.
pub fn save_features(
    net: &FeatureNet,
    config: &FeatureConfig,
    training: &BTreeMap<String, f64>,
    path: &Path,
) -> Result<()> {
    save(net, (MetricNetwork::Features, config), training, path)
}

/// Writes a detector in half precision.
///
/// # Errors
/// As [`save_features`].
pub fn save_detector(
    net: &Detector,
    config: &DetectorConfig,
    training: &BTreeMap<String, f64>,
    path: &Path,
) -> Result<()> {
    save(net, (MetricNetwork::Detector, config), training, path)
}

/// Reads a feature network.
///
/// # Errors
/// [`Error::Checkpoint`] when the file is damaged or holds something else.
pub fn load_features(path: &Path, device: &Device) -> Result<(FeatureNet, Provenance)> {
    let (weights, config, provenance) = open::<FeatureConfig>(path, MetricNetwork::Features)?;
    config.validate()?;
    let net = FeatureNet::new(&config, &Init::new(device, 0));
    let options = LoadOptions::new(MetricNetwork::Features.name());
    let (net, _) = checkpoint::load(net, &weights, &Identity, &options)?;
    Ok((net, provenance))
}

/// Reads a detector.
///
/// # Errors
/// As [`load_features`].
pub fn load_detector(path: &Path, device: &Device) -> Result<(Detector, Provenance)> {
    let (weights, config, provenance) = open::<DetectorConfig>(path, MetricNetwork::Detector)?;
    config.validate()?;
    let net = Detector::new(&config, &Init::new(device, 0));
    let options = LoadOptions::new(MetricNetwork::Detector.name());
    let (net, _) = checkpoint::load(net, &weights, &Identity, &options)?;
    Ok((net, provenance))
}

fn save<M: Module, C: Serialize>(
    net: &M,
    (kind, config): (MetricNetwork, &C),
    training: &BTreeMap<String, f64>,
    path: &Path,
) -> Result<()> {
    let json = |error: serde_json::Error| Error::Config(error.to_string());
    let options = SaveOptions {
        dtype: DType::F16,
        metadata: Metadata {
            config: Some(serde_json::to_value(config).map_err(json)?),
            step: None,
            other: [
                (KIND.to_owned(), kind.name().to_owned()),
                (
                    TRAINING.to_owned(),
                    serde_json::to_string(training).map_err(json)?,
                ),
            ]
            .into(),
        },
        max_shard_bytes: None,
    };
    checkpoint::save(net, path, &Identity, &options)?;
    Ok(())
}

fn open<C: DeserializeOwned>(path: &Path, kind: MetricNetwork) -> Result<(Weights, C, Provenance)> {
    let weights = Weights::open(path)?;
    let metadata = Metadata::of(&weights)?;
    let name = kind.name();
    let found = metadata.other.get(KIND).map(String::as_str);
    let wrong = |problem: String| Error::Checkpoint(CheckpointError::unsupported(path, problem));
    if found != Some(name) {
        return Err(wrong(format!(
            "it holds {}, expected the metric network `{name}`; make one with `vldm evaluate \
             train {name}`",
            found.unwrap_or("no metric network"),
        )));
    }
    let config = metadata
        .config
        .ok_or_else(|| wrong("it does not say its sizes".into()))?;
    let config = serde_json::from_value(config)
        .map_err(|error| wrong(format!("its sizes cannot be read: {error}")))?;
    let training = metadata
        .other
        .get(TRAINING)
        .map(String::as_str)
        .unwrap_or("{}");
    let training = serde_json::from_str(training).map_err(|error| {
        wrong(format!(
            "what it says of its training cannot be read: {error}"
        ))
    })?;
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let digest = Sha256::digest(&bytes);
    let fingerprint: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let provenance = Provenance {
        path: path.to_path_buf(),
        fingerprint,
        training,
    };
    Ok((weights, config, provenance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vldm_media::Frame;

    #[test]
    fn networks_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let path = folder.path().join("features.safetensors");
        let config = FeatureConfig {
            channels: vec![8, 16],
            features: 6,
        };
        let net = FeatureNet::new(&config, &Init::new(&device, 3));
        let training = [("accuracy.night".to_owned(), 0.875)].into();
        save_features(&net, &config, &training, &path).unwrap();
        let (back, provenance) = load_features(&path, &device).unwrap();
        assert_eq!(provenance.training, training);
        assert_eq!(provenance.fingerprint.len(), 12);
        let clip = vec![Frame::filled(128, 64, [200, 90, 10]).unwrap(); 3];
        let features = |net: &FeatureNet| net.read(&[&clip], &device).unwrap()[0].features.clone();
        for (a, b) in features(&net).iter().zip(features(&back)) {
            assert!((a - b).abs() < 1e-2, "{a} {b}");
        }
        let error = load_detector(&path, &device).unwrap_err().to_string();
        assert!(error.contains("it holds features, expected"), "{error}");
    }

    #[test]
    fn a_detector_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let path = folder.path().join("detector.safetensors");
        let config = DetectorConfig {
            channels: [8; 4],
            hidden: 8,
        };
        let net = Detector::new(&config, &Init::new(&device, 3));
        save_detector(&net, &config, &BTreeMap::new(), &path).unwrap();
        let (back, _) = load_detector(&path, &device).unwrap();
        let frame = Frame::from_fn(128, 64, |x, y| [x as u8, y as u8, 7]).unwrap();
        let count = |net: &Detector| net.detect(&[&frame], &device).unwrap()[0].len();
        assert_eq!(count(&net), count(&back));
    }
}
