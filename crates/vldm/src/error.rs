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
}
