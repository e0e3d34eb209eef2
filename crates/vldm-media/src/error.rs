//! What can go wrong, sorted by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why frames could not be read or written.
///
/// Every message says what was expected, what came, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for what cannot be done; ask for something else.
    #[error("{0}")]
    Input(String),

    /// The file is of a kind that cannot be read or written here; the message names the remedy.
    #[error("{}: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        reason: String,
    },

    /// The file is not what it claims to be, or is cut short; get another copy of it.
    #[error("{}: damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected, and what came.
        reason: String,
    },

    /// Reading the file would pass a limit of [`crate::Limits`].
    #[error("{}: too large: {reason}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, what the file asks for, and what to do.
        reason: String,
    },

    /// The operating system refused; mend the disk, the permissions or the path.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "create", "read".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// What was written did not read back the same, and was thrown away.
    #[error("{}: not kept, because reading it back gave {found} instead of {expected}", path.display())]
    Verify {
        /// The file that was to be written.
        path: PathBuf,
        /// What had been written.
        expected: String,
        /// What was read back.
        found: String,
    },
}

impl Error {
    pub(crate) fn unsupported(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(crate) fn too_large(path: &Path, reason: impl Into<String>) -> Self {
        Self::TooLarge {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(crate) fn verify(
        path: &Path,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Verify {
            path: path.to_path_buf(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// For `map_err`: an I/O error with the path and what was tried.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
