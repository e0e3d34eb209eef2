//! Which files the metric networks are read from.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use vldm::Error;
use vldm::metrics::{
    Detector, FeatureNet, MetricNetwork, Provenance, load_detector, load_features,
};

/// Where files lie that nobody names.
const FOLDER: &str = "assets/metrics";

/// The feature network's file.
#[derive(Debug, Args)]
pub(crate) struct FeaturesArgs {
    /// The feature network [default: assets/metrics/features.safetensors, here or above the
    /// program].
    #[arg(long, value_name = "FILE")]
    pub(crate) features: Option<PathBuf>,
}

/// The detector's file.
#[derive(Debug, Args)]
pub(crate) struct DetectorArgs {
    /// The detector [default: assets/metrics/detector.safetensors, here or above the program].
    #[arg(long, value_name = "FILE")]
    pub(crate) detector: Option<PathBuf>,
}

impl FeaturesArgs {
    pub(crate) fn load(&self, device: &Device) -> vldm::Result<(FeatureNet, Provenance)> {
        load_features(
            &file(self.features.as_ref(), MetricNetwork::Features)?,
            device,
        )
    }
}

impl DetectorArgs {
    pub(crate) fn load(&self, device: &Device) -> vldm::Result<(Detector, Provenance)> {
        load_detector(
            &file(self.detector.as_ref(), MetricNetwork::Detector)?,
            device,
        )
    }
}

fn file(named: Option<&PathBuf>, network: MetricNetwork) -> vldm::Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.clone());
    }
    let name = network.name();
    let file = PathBuf::from(FOLDER).join(format!("{name}.safetensors"));
    let program = std::env::current_exe().unwrap_or_default();
    let above = program.ancestors().skip(1).map(|folder| folder.join(&file));
    std::iter::once(file.clone())
        .chain(above)
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Error::Input(format!(
                "no --{name} was given, and there is no {} here or in a folder above the program: \
                 name a file, or make one with `vldm evaluate train {name} -o FILE`",
                file.display()
            ))
        })
}
