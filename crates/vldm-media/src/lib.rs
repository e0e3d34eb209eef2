//! Frames in, frames out.

/// What can go wrong with media.
#[derive(Debug, thiserror::Error)]
pub enum Error {}
