//! Training data: clips read in a fixed order.
//!
//! - A [`ClipSource`] holds clips and reads windows of them.
//! - [`Order`] says which clips make batch `n`, as a pure function of the seed and `n`.

mod cache;
pub mod order;
mod sample;
mod times;

pub use order::{BatchPlan, Order, OrderReport, OrderSettings};
pub use sample::{ClipInfo, ClipSource, Fit, Placement, Sample, Skipped, Window};
pub use times::Take;
