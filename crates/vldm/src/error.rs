//! The library's one error type.

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration or preset is wrong.
    #[error("{0}")]
    Config(String),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Input(String),
    /// A step produced NaN or infinite values.
    #[error("non-finite values at sampling step {step} (counted from 0)")]
    NonFinite {
        /// The step that produced them, counted from 0.
        step: usize,
    },
}

/// The library's result.
pub type Result<T> = std::result::Result<T, Error>;
