//! What can go wrong, by what the caller can do about it.

use crate::checkpoint::CheckpointError;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration, preset or stack file is wrong: mend the file.
    #[error("{0}")]
    Config(String),
    /// A checkpoint cannot be read or does not fit the model: choose another file.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// What was asked for cannot be done: change the request.
    #[error("{0}")]
    Input(String),
    /// Frames cannot be read or written.
    #[error(transparent)]
    Media(#[from] vldm_media::Error),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The device is not there or cannot do it: choose another `--device`.
    #[error("{0}")]
    Backend(String),
    /// The computation left the range of finite numbers.
    #[error(
        "non-finite values after sampling step {step} (counted from 0): nothing after it can be \
         right; try `--dtype f32` or a lower guidance scale"
    )]
    NonFinite {
        /// The step that produced them, counted from 0.
        step: usize,
    },
}
