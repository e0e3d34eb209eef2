//! What can be wrong with a checkpoint, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A checkpoint cannot be read, written, or does not fit the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted ("read", "write").
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A folder holds nothing of what was looked for.
    #[error("{} holds no {what}: looked for {}{hint}", path.display(), looked_for.join(", "))]
    NotFound {
        /// The folder.
        path: PathBuf,
        /// What was wanted ("weights", "model").
        what: &'static str,
        /// File names that would have been taken, in order of preference.
        looked_for: Vec<String>,
        /// Empty, or "; " and advice.
        hint: String,
    },
    /// The bytes are not what the format says.
    #[error("{} is damaged or of another kind: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The tensors do not fit the model.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// A configuration file says something that cannot be.
    #[error("{}: `{key}` is {got}, expected {expected}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The key, with dots between levels.
        key: String,
        /// What the file says.
        got: String,
        /// What would be accepted.
        expected: String,
    },
    /// Readable, but of a kind that is not supported.
    #[error("{}: {problem}", path.display())]
    Unsupported {
        /// The file or folder.
        path: PathBuf,
        /// What it is, and what is supported.
        problem: String,
    },
    /// A tensor cannot be written as asked.
    #[error("cannot save tensor `{name}`: {problem}")]
    Save {
        /// The tensor's name in the file.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl CheckpointError {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        }
    }

    /// A file that could not be written.
    #[must_use]
    pub fn write(path: &Path, source: io::Error) -> Self {
        Self::Io {
            action: "write",
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            problem: problem.into(),
        }
    }

    pub(crate) fn unsupported(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unsupported {
            path: path.to_path_buf(),
            problem: problem.into(),
        }
    }
}

/// How many names of each kind a message lists.
const LISTED: usize = 20;

/// Everything that keeps a file's tensors from filling a model, found in one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// What was to be filled ("unet").
    pub part: String,
    /// The file or folder.
    pub path: PathBuf,
    /// Tensors that the model needs and the file lacks.
    pub missing: Vec<Missing>,
    /// Tensors of the wrong shape.
    pub misshapen: Vec<Misshapen>,
    /// Tensors whose values are not floating-point numbers that we read, with their data type.
    pub wrong_type: Vec<(String, String)>,
    /// Tensors of the file that nothing uses.
    pub surplus: Vec<String>,
}

/// A tensor that the model needs and the file lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The parameter's path in our module.
    pub ours: String,
    /// The name it should have in the file.
    pub theirs: String,
    /// An unused name of the file that looks much like it.
    pub nearest: Option<String>,
}

impl Missing {
    pub(super) fn new(ours: String, theirs: String) -> Self {
        Self {
            ours,
            theirs,
            nearest: None,
        }
    }
}

/// A tensor of the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name in the file.
    pub name: String,
    /// The shape that the model needs.
    pub expected: Vec<usize>,
    /// The shape in the file.
    pub got: Vec<usize>,
}

impl Mismatch {
    /// Whether there is nothing to complain about.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.misshapen.is_empty()
            && self.wrong_type.is_empty()
            && self.surplus.is_empty()
    }
}

impl From<Mismatch> for CheckpointError {
    fn from(mismatch: Mismatch) -> Self {
        Self::Mismatch(Box::new(mismatch))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} does not fit the {}: {} tensors missing, {} of the wrong shape, {} of the wrong \
             type, {} that nothing uses; check that the configuration belongs to these weights",
            self.path.display(),
            self.part,
            self.missing.len(),
            self.misshapen.len(),
            self.wrong_type.len(),
            self.surplus.len(),
        )?;
        list(f, "missing", &self.missing, |f, missing| {
            write!(f, "{}", missing.theirs)?;
            if missing.ours != missing.theirs {
                write!(f, " (for our {})", missing.ours)?;
            }
            match &missing.nearest {
                Some(nearest) => write!(f, ", unused and similar: {nearest}"),
                None => Ok(()),
            }
        })?;
        list(f, "wrong shape", &self.misshapen, |f, tensor| {
            let Misshapen {
                name,
                expected,
                got,
            } = tensor;
            write!(f, "{name}: expected {expected:?}, got {got:?}")
        })?;
        list(f, "wrong type", &self.wrong_type, |f, (name, got)| {
            write!(f, "{name}: expected F32, F16, BF16 or F64, got {got}")
        })?;
        list(f, "nothing uses", &self.surplus, |f, name| {
            write!(f, "{name}")
        })
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    items: &[T],
    line: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for item in items.iter().take(LISTED) {
        write!(f, "\n  {heading}: ")?;
        line(f, item)?;
    }
    match items.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => write!(f, "\n  {heading}: and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_counts_everything_and_lists_the_first_twenty() {
        let mismatch = Mismatch {
            part: "unet".into(),
            path: "model.safetensors".into(),
            missing: vec![Missing {
                ours: "a.to_out.weight".into(),
                theirs: "a.to_out.0.weight".into(),
                nearest: Some("a.to_out.1.weight".into()),
            }],
            misshapen: vec![Misshapen {
                name: "b".into(),
                expected: vec![4, 2],
                got: vec![2, 4],
            }],
            surplus: (0..25).map(|i| format!("extra.{i}")).collect(),
            ..Mismatch::default()
        };
        let text = CheckpointError::from(mismatch).to_string();
        for part in [
            "model.safetensors does not fit the unet: 1 tensors missing, 1 of the wrong shape, 0 of the wrong type, 25",
            "missing: a.to_out.0.weight (for our a.to_out.weight), unused and similar: a.to_out.1.weight",
            "b: expected [4, 2], got [2, 4]",
            "nothing uses: extra.19",
            "nothing uses: and 5 more",
        ] {
            assert!(text.contains(part), "{part}\nnot in\n{text}");
        }
        assert!(!text.contains("extra.20"));
    }
}
