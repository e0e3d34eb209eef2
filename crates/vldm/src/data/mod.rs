//! Training data: clips read in a fixed order.
//!
//! - A [`ClipSource`] holds clips and reads windows of them.
//! - [`Order`] says which clips make batch `n`, as a pure function of the seed and `n`.
//! - [`Loader`] reads batches ahead of time on several threads, replaces clips that cannot be read
//!   and counts them.

mod cache;
pub mod loader;
pub mod order;
mod sample;
mod times;

pub use loader::{Broken, BrokenPolicy, Loaded, Loader, LoaderSettings};
pub use order::{BatchPlan, Order, OrderReport, OrderSettings};
pub use sample::{ClipInfo, ClipSource, Fit, Placement, Sample, Skipped, Window};
pub use times::Take;
