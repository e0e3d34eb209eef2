//! `vldm data`: looking at training data, making some, and encoding it.

pub(crate) mod encode;
mod report;
pub(crate) mod scan;
pub(crate) mod world;
