//! Sets of clips by name: a folder, shards, or worlds made on the spot.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use vldm::data::{ClipSource, DataConfig, WorldConfig};
use vldm_media::Fps;

/// A set of clips by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClipsName {
    /// A folder or a .tar file.
    Path(PathBuf),
    /// Driving worlds of this seed.
    World(u64),
}

impl FromStr for ClipsName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(seed) = text.strip_prefix("world:") else {
            return Ok(Self::Path(PathBuf::from(text)));
        };
        let seed = seed.parse();
        Ok(Self::World(seed.map_err(|_| {
            format!("expected world:SEED with a whole number, not \"{text}\"")
        })?))
    }
}

impl std::fmt::Display for ClipsName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::World(seed) => write!(f, "world:{seed}"),
        }
    }
}

impl ClipsName {
    /// Opens the set. Of worlds `count` are made, at least `seconds` long; pictures are clips of one
    /// frame at the given rate.
    pub(crate) fn open(
        &self,
        count: usize,
        (seconds, picture_fps): (f64, Option<Fps>),
    ) -> vldm::Result<Arc<dyn ClipSource>> {
        match self {
            ClipsName::World(seed) => {
                let mut config = WorldConfig::new(count, *seed);
                config.seconds = config.seconds.max(seconds);
                DataConfig::World(config)
            }
            ClipsName::Path(path) if path.extension().is_some_and(|end| end == "tar") => {
                DataConfig::Shards { path: path.clone() }
            }
            ClipsName::Path(path) => DataConfig::Folder {
                path: path.clone(),
                picture_fps,
            },
        }
        .open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_by_name() {
        let check = |text: &str, expected: ClipsName| assert_eq!(text.parse(), Ok(expected));
        check("world", ClipsName::Path("world".into()));
        check("world:7", ClipsName::World(7));
        check("worlds", ClipsName::Path("worlds".into()));
        check("./world", ClipsName::Path("./world".into()));
        assert!("world:x".parse::<ClipsName>().is_err());
    }
}
