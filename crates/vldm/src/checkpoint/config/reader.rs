//! Foreign JSON, one key at a time: every message names the key, what was expected and what came.
//!
//! As diffusers does, an absent key and `null` mean the default; unknown keys are the format's
//! business and are passed over.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::checkpoint::CheckpointError;

type Result<T> = std::result::Result<T, CheckpointError>;

/// Longest configuration file that is read, in bytes.
const LONGEST: u64 = 16 << 20;
/// Sizes above this are a mistake, and would overflow further on.
const LARGEST: u64 = 1 << 24;

/// A JSON object and the file it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Json {
    path: PathBuf,
    object: Map<String, Value>,
}

impl Json {
    /// Reads a file that holds one JSON object.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is far too long, or holds something else.
    pub fn read(path: &Path) -> Result<Self> {
        let length = std::fs::metadata(path)
            .map_err(|error| CheckpointError::read(path, error))?
            .len();
        if length > LONGEST {
            return Err(CheckpointError::damaged(
                path,
                format!("it has {length} bytes, a configuration has a few thousand"),
            ));
        }
        let text = std::fs::read(path).map_err(|error| CheckpointError::read(path, error))?;
        Self::parse(path, &text)
    }

    /// The same from bytes; `path` is what messages call them.
    ///
    /// # Errors
    ///
    /// When they are not one JSON object.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(object)) => Ok(Self {
                path: path.to_path_buf(),
                object,
            }),
            Ok(_) => Err(CheckpointError::damaged(
                path,
                "it is JSON, but not an object of settings",
            )),
            Err(error) => Err(CheckpointError::damaged(
                path,
                format!("it is not JSON: {error}"),
            )),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys and values.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// The object at `key`, if that is what is there.
    pub(crate) fn inner(&self, key: &str) -> Option<Self> {
        let object = self.object.get(key)?.as_object()?.clone();
        Some(Self {
            path: self.path.clone(),
            object,
        })
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn wrong(&self, key: &str, expected: impl Into<String>) -> CheckpointError {
        let mut got = self
            .object
            .get(key)
            .map_or("absent".into(), Value::to_string);
        if got.len() > 200 {
            got = got.chars().take(200).chain("…".chars()).collect();
        }
        CheckpointError::Config {
            path: self.path.clone(),
            key: key.to_owned(),
            got,
            expected: expected.into(),
        }
    }

    /// A count of at least one.
    pub(crate) fn size(&self, key: &str, default: usize) -> Result<usize> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => as_size(value).ok_or_else(|| self.wrong(key, SIZE)),
        }
    }

    pub(crate) fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        match self.get(key) {
            None => Ok(None),
            Some(_) => self.size(key, 1).map(Some),
        }
    }

    /// One side for both, or `[height, width]`.
    pub(crate) fn optional_sides(&self, key: &str) -> Result<Option<[usize; 2]>> {
        match self.get(key) {
            Some(Value::Array(_)) => match self.sizes(key, &[])?.as_slice() {
                &[height, width] => Ok(Some([height, width])),
                _ => Err(self.wrong(key, "one whole number, or a height and a width")),
            },
            _ => Ok(self.optional_size(key)?.map(|side| [side; 2])),
        }
    }

    /// A whole number from zero.
    pub(crate) fn count(&self, key: &str, default: usize) -> Result<usize> {
        match self.get(key) {
            None => Ok(default),
            Some(value) if value.as_u64() == Some(0) => Ok(0),
            Some(_) => self.size(key, default),
        }
    }

    pub(crate) fn number(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_f64()
                .filter(|number| number.is_finite())
                .ok_or_else(|| self.wrong(key, "a number")),
        }
    }

    pub(crate) fn positive(&self, key: &str, default: f64) -> Result<f64> {
        let number = self.number(key, default)?;
        if number > 0.0 {
            Ok(number)
        } else {
            Err(self.wrong(key, "a number above 0"))
        }
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    pub(crate) fn text<'a>(&'a self, key: &str, default: &'a str) -> Result<&'a str> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_str().ok_or_else(|| self.wrong(key, "a string")),
        }
    }

    /// One of several strings, as what each stands for.
    pub(crate) fn choice<T: Copy>(&self, key: &str, default: &str, of: &[(&str, T)]) -> Result<T> {
        let text = self.text(key, default)?;
        of.iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let names: Vec<String> = of.iter().map(|(name, _)| format!("{name:?}")).collect();
                self.wrong(key, names.join(" or "))
            })
    }

    /// A setting of which only one value is supported.
    pub(crate) fn only(&self, key: &str, value: Value) -> Result<()> {
        match self.get(key) {
            None => Ok(()),
            Some(got) if *got == value => Ok(()),
            // 1 and 1.0 are one number in Python.
            Some(got) if got.as_f64().is_some() && got.as_f64() == value.as_f64() => Ok(()),
            Some(_) => Err(self.wrong(key, format!("{value} (nothing else is supported)"))),
        }
    }

    /// A list of counts, at least one.
    pub(crate) fn sizes(&self, key: &str, default: &[usize]) -> Result<Vec<usize>> {
        let Some(value) = self.get(key) else {
            return Ok(default.to_vec());
        };
        let wrong = || self.wrong(key, format!("a list of up to 16, each {SIZE}"));
        let list = value.as_array().ok_or_else(wrong)?;
        if list.is_empty() || list.len() > 16 {
            return Err(wrong());
        }
        list.iter()
            .map(|value| as_size(value).ok_or_else(wrong))
            .collect()
    }

    /// One count for all levels, or one for each.
    pub(crate) fn per_level(&self, key: &str, default: usize, levels: usize) -> Result<Vec<usize>> {
        match self.get(key) {
            Some(Value::Array(_)) => {
                let sizes = self.sizes(key, &[])?;
                if sizes.len() == levels {
                    Ok(sizes)
                } else {
                    Err(self.wrong(key, format!("a number, or a list of {levels}")))
                }
            }
            _ => Ok(vec![self.size(key, default)?; levels]),
        }
    }

    /// One flag for all levels, or one for each.
    pub(crate) fn flags_per_level(
        &self,
        key: &str,
        default: bool,
        levels: usize,
    ) -> Result<Vec<bool>> {
        let Some(Value::Array(list)) = self.get(key) else {
            return Ok(vec![self.flag(key, default)?; levels]);
        };
        let flags: Option<Vec<bool>> = list.iter().map(Value::as_bool).collect();
        flags
            .filter(|flags| flags.len() == levels)
            .ok_or_else(|| self.wrong(key, format!("true, false, or a list of {levels} of them")))
    }

    /// A list of strings of a given length, each as what it stands for.
    pub(crate) fn choices<T: Copy>(
        &self,
        key: &str,
        default: &[&str],
        length: usize,
        of: &[(&str, T)],
    ) -> Result<Vec<T>> {
        let names: Vec<&str> = of.iter().map(|(name, _)| *name).collect();
        let wrong = || {
            self.wrong(
                key,
                format!("a list of {length}, each one of {}", names.join(", ")),
            )
        };
        let list: Vec<&str> = match self.get(key) {
            None => default.to_vec(),
            Some(value) => value
                .as_array()
                .and_then(|list| list.iter().map(Value::as_str).collect())
                .ok_or_else(wrong)?,
        };
        if list.len() != length {
            return Err(wrong());
        }
        list.iter()
            .map(|text| {
                of.iter()
                    .find(|(name, _)| name == text)
                    .map(|(_, value)| *value)
            })
            .collect::<Option<Vec<T>>>()
            .ok_or_else(wrong)
    }
}

const SIZE: &str = "a whole number from 1 to 16777216";

fn as_size(value: &Value) -> Option<usize> {
    let number = value
        .as_u64()
        .filter(|number| (1..=LARGEST).contains(number))?;
    usize::try_from(number).ok()
}
