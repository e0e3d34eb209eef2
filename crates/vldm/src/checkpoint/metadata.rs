//! What files say about themselves.

use std::collections::BTreeMap;

use super::CheckpointError;
use super::mapped::Weights;

type Result<T> = std::result::Result<T, CheckpointError>;

/// Version of what we write beside the tensors; readers refuse higher ones.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// What a file says about itself beside its tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// The model's configuration: with it a file alone is enough to rebuild its model.
    pub config: Option<serde_json::Value>,
    /// Training steps behind these weights.
    pub step: Option<u64>,
    /// Anything else.
    pub other: BTreeMap<String, String>,
}

impl Metadata {
    /// The entries as written. `format: pt` is what other readers ask for.
    pub(super) fn entries(&self) -> BTreeMap<String, String> {
        let mut entries = self.other.clone();
        entries.insert("format".into(), "pt".into());
        entries.insert("vldm.format_version".into(), FORMAT_VERSION.to_string());
        if let Some(config) = &self.config {
            entries.insert("vldm.config".into(), config.to_string());
        }
        if let Some(step) = self.step {
            entries.insert("vldm.step".into(), step.to_string());
        }
        entries
    }

    /// Reads back what a file says about itself; a file that others wrote says nothing.
    ///
    /// # Errors
    ///
    /// When the format version is higher than ours, or an entry is not what it should be.
    pub fn of(weights: &Weights) -> Result<Self> {
        let damaged = |problem: String| CheckpointError::damaged(weights.path(), problem);
        let mut metadata = Self::default();
        for (key, value) in weights.metadata() {
            let unreadable = || damaged(format!("its metadata `{key}` is {value:?}"));
            match key.as_str() {
                "format" => {}
                "vldm.format_version" => {
                    let version: u32 = value.parse().map_err(|_| unreadable())?;
                    if version > FORMAT_VERSION {
                        return Err(CheckpointError::unsupported(
                            weights.path(),
                            format!(
                                "written in format version {version}, this program reads up to \
                                 {FORMAT_VERSION}: update it"
                            ),
                        ));
                    }
                }
                "vldm.config" => {
                    metadata.config = Some(serde_json::from_str(value).map_err(|_| unreadable())?);
                }
                "vldm.step" => metadata.step = Some(value.parse().map_err(|_| unreadable())?),
                _ => {
                    metadata.other.insert(key.clone(), value.clone());
                }
            }
        }
        Ok(metadata)
    }
}
