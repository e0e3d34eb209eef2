//! `vldm data`: looking at training data, and making some.

mod report;
pub(crate) mod scan;
pub(crate) mod world;
