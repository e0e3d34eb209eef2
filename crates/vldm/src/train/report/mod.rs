//! What a training run writes for people to look at: a line of numbers per step, the same for
//! TensorBoard, and a picture of the curves.
//!
//! [`MetricsFile`] is the record of the run, from which the rest can be made again. [`EventFile`]
//! holds the same numbers, and pictures, as TensorBoard reads them. [`plot()`] draws a run.
//! Nothing here computes a loss, reads a clock or knows a network.

mod jsonl;
mod plot;
mod record;
mod tensorboard;

pub use jsonl::{MetricsFile, read};
pub use plot::{PLOT_HEIGHT, PLOT_WIDTH, plot};
pub use record::{EvaluationRecord, Record, StepRecord};
pub use tensorboard::{EventFile, Moment, event_file_name};

use std::io;
use std::path::Path;

use crate::Error;

/// For `map_err`: what was tried with which file.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Input(format!("cannot {action} `{}`: {error}", path.display()))
}
