//! Metrics: how near made clips come to true ones, and whether they show what was asked for.
//!
//! Plain numbers need no network: [`psnr`], [`ssim`], [`frame_difference_error`], [`segments`] and
//! [`drift`], [`spread`], [`spearman`], [`compare`] of boxes, [`frechet`] of features, each with its
//! source, and intervals by [`Resampling`].
//!
//! Two small networks look at pictures and clips of 128×64 pixels: [`FeatureNet`], in whose features
//! Fréchet distances are measured, and [`Detector`]. Both learn from the driving world alone
//! ([`train_features`], [`train_detector`]). What they measure holds for clips of that world, and
//! **is not comparable with published numbers** ([`NOT_PUBLISHED`]).

mod blocks;
mod boxes;
mod detector;
mod detector_examples;
mod detector_training;
mod drift;
mod feature_examples;
mod feature_training;
mod features;
mod files;
mod frechet;
mod interval;
mod pictures;
mod pool;
mod prompt;
mod ranks;
mod spoil;
mod spread;
mod trainer;
mod truth;

pub use blocks::{ConvNorm, SIZE};
pub use boxes::{BoxScores, Detection, MATCH, compare, overlap};
pub use detector::{Detector, DetectorConfig};
pub use detector_training::{NEAR, SEEN, near, train_detector};
pub use drift::{Drift, Segment, SegmentMeter, drift, segments};
pub use feature_training::train_features;
pub use features::{FeatureConfig, FeatureLevel, FeatureNet, Reading};
pub use files::{
    MetricNetwork, Provenance, load_detector, load_features, save_detector, save_features,
};
pub use frechet::{FeatureMoments, FrechetDistance, frechet};
pub use interval::{Estimate, Resampling};
pub use pictures::{frame_difference_error, psnr, ssim};
pub use pool::RATES;
pub use prompt::{Aspect, NamedScore, NamedVehicle, named_score, named_vehicles};
pub use ranks::spearman;
pub use spoil::Spoiling;
pub use spread::spread;
pub use trainer::{TrainingEvent, TrainingSettings, Watch};
pub use truth::{Look, TruthSource};
pub use vldm_world::{Class, MIN_PIXELS};

/// What stands beside every number that comes from one of the networks here.
pub const NOT_PUBLISHED: &str = "measured with a small network trained on vldm's driving world; \
                                 not comparable with published numbers";
