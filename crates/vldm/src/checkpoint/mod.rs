//! Checkpoints: weights and configurations in diffusers' layout and in single files, read by
//! memory map without holding the weights twice, and written whole or not at all.
//!
//! - [`Weights`] opens safetensors files; [`load`] fills a module from them, strictly, and
//!   reports; [`save`] writes a module back.
//! - [`key_map`] knows how files name what we have, [`single_file`] which model a single file
//!   holds, [`config`] what diffusers' and transformers' configurations say.

mod atomic;
pub mod config;
mod error;
mod header;
pub mod key_map;
mod load;
mod mapped;
mod metadata;
mod save;
pub mod single_file;
mod values;

pub use atomic::write_atomically;
pub use error::{CheckpointError, Mismatch, Misshapen, Missing};
pub use load::{LoadOptions, LoadReport, count_parameters, load, parameters};
pub(crate) use load::{Path as ModulePath, shape_in_file};
pub use mapped::Weights;
pub use metadata::Metadata;
pub(crate) use save::{LazyTensor, write_lazily};
pub use save::{SaveOptions, save, write_tensors};
pub(crate) use values::for_each_run;

#[cfg(test)]
mod tests;
