//! Training data: clips with captions, labels and boxes, read in a fixed order.
//!
//! - A [`ClipSource`] holds clips and reads windows of them: [`FolderSource`], [`ShardSource`] and
//!   [`WorldSource`]; [`DataConfig`] names one in a recipe.
//! - [`Order`] says which clips make batch `n`, as a pure function of the seed and `n`.
//! - [`Loader`] reads batches ahead of time on several threads, replaces clips that cannot be read
//!   and counts them.
//! - [`Export`] writes the clips of a source as a folder of MP4 files.
//! - [`Scan`] reads everything once, before training, and says what is there and what is broken.
//!
//! Nothing here knows a tensor: a [`Sample`] has 8-bit frames.

mod annotations;
mod cache;
mod config;
mod export;
mod file;
pub mod folder;
mod framing;
pub mod loader;
pub mod order;
mod record;
mod sample;
pub mod scan;
pub mod shards;
mod statistics;
mod times;
pub mod world;

pub use annotations::Annotations;
pub use config::DataConfig;
pub use export::{Export, ExportEvent};
pub use folder::FolderSource;
pub use loader::{Broken, BrokenPolicy, Loaded, Loader, LoaderSettings};
pub use order::{BatchPlan, Order, OrderReport, OrderSettings};
pub use record::{ClipRecord, Decoded, Facts, Fingerprint, Quarantined, SCAN_FILE, ScanReport};
pub use sample::{ClipInfo, ClipSource, Encoded, Fit, Placement, Sample, Skipped, Window};
pub(crate) use scan::hash;
pub use scan::{DataKind, Scan, ScanEvent, ScanSettings};
pub use shards::ShardSource;
pub use statistics::{Count, Statistics};
pub use times::Take;
pub use world::{WorldConfig, WorldSource};

#[cfg(test)]
mod tests;
