//! Which clips a recipe asks for.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vldm_media::Fps;

use super::folder::FolderSource;
use super::sample::ClipSource;
use super::shards::ShardSource;
use super::world::{WorldConfig, WorldSource};
use crate::error::Result;

/// A source of clips as a recipe names it.
///
/// ```
/// # use vldm::data::DataConfig;
/// let config: DataConfig = toml::from_str("type = \"world\"\nclips = 64\nseconds = 4.0")?;
/// let source = config.open()?;
/// assert_eq!(source.clip(63).id, "world/63");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum DataConfig {
    /// A folder of clips and pictures with captions beside them: [`FolderSource`].
    Folder {
        /// The folder.
        path: PathBuf,
        /// The rate of folders of numbered pictures, which carry none; 24 unless set.
        #[serde(default)]
        picture_fps: Option<Fps>,
    },
    /// WebDataset shards: [`ShardSource`].
    Shards {
        /// A tar file, or a folder of them.
        path: PathBuf,
    },
    /// The procedural driving world: [`WorldSource`].
    World(WorldConfig),
}

impl DataConfig {
    /// Opens the source: finds its clips, their size and length.
    ///
    /// # Errors
    /// Those of the source.
    pub fn open(&self) -> Result<Arc<dyn ClipSource>> {
        Ok(match self {
            Self::Folder { path, picture_fps } => {
                Arc::new(FolderSource::open(path, picture_fps.unwrap_or(Fps::FILM))?)
            }
            Self::Shards { path } => Arc::new(ShardSource::open(path)?),
            Self::World(config) => Arc::new(WorldSource::new(config.clone())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_told() {
        let check = |text: &str, expected: &str| {
            let error = toml::from_str::<DataConfig>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            "type = \"folder\"\npath = \"a\"\nfps = 3",
            "unknown field `fps`",
        );
        check(
            "type = \"world\"\nclips = 1\nlength = 3",
            "unknown field `length`",
        );
        check(
            "type = \"world\"\nclips = 1\n[scene]\nsnow = true",
            "unknown field `snow`",
        );
        check("type = \"video\"", "unknown variant `video`");
    }

    #[test]
    fn sources_are_named_in_recipes() {
        let check = |text: &str| {
            let config: DataConfig = toml::from_str(text).unwrap();
            let written = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<DataConfig>(&written).unwrap(), config);
        };
        check("type = \"folder\"\npath = \"clips\"");
        check("type = \"folder\"\npath = \"clips\"\npicture_fps = 12.5");
        check("type = \"shards\"\npath = \"shards\"");
        check("type = \"world\"\nclips = 3\nseed = 9\n[scene]\ntime_of_day = \"night\"");
    }
}
