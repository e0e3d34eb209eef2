//! What can go wrong: only what the caller asked for.

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a world could not be made or a frame not be rendered.
///
/// Every message says what was expected, what came, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A size, length or setting is out of range.
    #[error("{0}")]
    Input(String),

    /// Two settings cannot both hold; leave one of them open.
    #[error("{0}")]
    Contradiction(String),

    /// The clip has no such frame.
    #[error("the clip has {num_frames} frames, counted from 0: there is no frame {frame}")]
    NoSuchFrame {
        /// What was asked for.
        frame: usize,
        /// The clip's length.
        num_frames: usize,
    },
}
