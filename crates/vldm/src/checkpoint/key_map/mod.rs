//! Names of tensors: ours, and those of the files that other programs write.
//!
//! Our modules are built so that a parameter's path is its name in diffusers' layout wherever
//! Rust permits. The maps here know the rest: where diffusers' names cannot be field names, where
//! our temporal layers lie inside a video model's file, and how single-file (LDM) checkpoints
//! number their blocks.

mod autoencoder;
mod clip;
mod ldm;
mod unet;

pub use autoencoder::{AttentionNames, AutoencoderKeys};
pub use clip::{ClipTextKeys, OpenClipKeys};
pub(crate) use ldm::{AUTOENCODER, SVD_ENCODER, UNET};
pub use ldm::{LdmAutoencoderKeys, LdmUNetKeys};
pub use unet::{Projection, UNetKeys, UNetPart};

/// How a file's tensor becomes our parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// As it is.
    None,
    /// With its sign changed (mixers that weigh the other branch).
    Negate,
    /// The same values in `rank` dimensions: the file's shape is ours and trailing ones (a 1×1
    /// convolution that is a linear layer of ours). Loading accepts any number of trailing ones,
    /// saving writes `rank` dimensions.
    Reshape {
        /// Dimensions in the file.
        rank: usize,
    },
    /// The `part`-th of `of` equal runs of rows (fused query, key and value). Cannot be saved.
    Rows {
        /// Which run, from 0.
        part: usize,
        /// How many runs the tensor holds.
        of: usize,
    },
    /// A matrix with rows and columns exchanged.
    Transpose,
}

/// Where one of our parameters is found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The tensor's name in the file.
    pub name: String,
    /// What to do with it.
    pub transform: Transform,
}

impl Source {
    /// The tensor of this name, as it is.
    pub fn plain(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            transform: Transform::None,
        }
    }
}

/// From our parameters' names to a file's.
pub trait KeyMap: std::fmt::Debug {
    /// Where the parameter at path `ours` is found. Names that the map does not know are passed
    /// through, and then show up as missing.
    fn source(&self, ours: &str) -> Source;

    /// Whether a tensor of the file may be left unused: other parts of the same file, training
    /// state, tables that we compute.
    fn is_ignored(&self, theirs: &str) -> bool {
        let _ = theirs;
        false
    }
}

/// The file uses our names: our own temporal layers, and everything else that only we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity;

impl KeyMap for Identity {
    fn source(&self, ours: &str) -> Source {
        Source::plain(ours)
    }
}

/// A part that lies under a prefix in a file; everything outside the prefix is another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefixed<M> {
    /// With its dot: `"first_stage_model."`.
    pub prefix: String,
    /// The names below the prefix.
    pub map: M,
}

impl<M: KeyMap> KeyMap for Prefixed<M> {
    fn source(&self, ours: &str) -> Source {
        let Source { name, transform } = self.map.source(ours);
        Source {
            name: format!("{}{name}", self.prefix),
            transform,
        }
    }

    fn is_ignored(&self, theirs: &str) -> bool {
        match theirs.strip_prefix(&self.prefix) {
            Some(inner) => self.map.is_ignored(inner),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::golden;
