//! What is gathered for the next file of a cache.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{TensorData, f16};

use super::StoredType;
use super::index::{CacheFile, Line, Part};
use crate::checkpoint::write_tensors;
use crate::data::Encoded;
use crate::error::{Error, Result};

/// Parts of clips, until there are enough for a file.
#[derive(Debug, Default)]
pub(super) struct Shard {
    parts: Vec<(Part, Encoded)>,
}

impl Shard {
    pub(super) fn push(&mut self, part: Part, encoded: Encoded) {
        self.parts.push((part, encoded));
    }

    /// Frames in all parts.
    pub(super) fn frames(&self) -> usize {
        self.parts.iter().map(|(_, encoded)| encoded.shape[0]).sum()
    }

    /// Writes the parts and empties the shard.
    pub(super) fn write(
        &mut self,
        folder: &Path,
        number: usize,
        stored: StoredType,
    ) -> Result<Line> {
        let mut tensors = Vec::new();
        let mut parts = Vec::new();
        for (number, (part, encoded)) in std::mem::take(&mut self.parts).into_iter().enumerate() {
            let shape = encoded.shape;
            let mut put = |kind: &str, values| {
                let data = data(values, &shape, stored)
                    .map_err(|reason| Error::Input(format!("{}: {reason}", part.clip.id)))?;
                tensors.push((format!("{number}.{kind}"), data));
                Ok::<_, Error>(())
            };
            put("mean", encoded.mean)?;
            if let Some(logvar) = encoded.logvar {
                put("logvar", logvar)?;
            }
            parts.push(part);
        }
        let file = write(folder, format!("latents-{number:05}.safetensors"), &tensors)?;
        Ok(Line::Latents { file, parts })
    }
}

/// Prompts, until there are enough for a file.
#[derive(Debug, Default)]
pub(super) struct PromptShard {
    /// Hash, values, and `[tokens, width]`.
    prompts: Vec<(String, Vec<f32>, [usize; 2])>,
}

impl PromptShard {
    pub(super) fn push(&mut self, hash: String, values: Vec<f32>, shape: [usize; 2]) {
        self.prompts.push((hash, values, shape));
    }

    pub(super) fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Writes the prompts and empties the shard.
    pub(super) fn write(
        &mut self,
        folder: &Path,
        number: usize,
        stored: StoredType,
    ) -> Result<Line> {
        let mut tensors = Vec::new();
        let mut prompts = Vec::new();
        for (hash, values, shape) in std::mem::take(&mut self.prompts) {
            let data = data(values, &shape, stored)
                .map_err(|reason| Error::Input(format!("the prompts: {reason}")))?;
            tensors.push((hash.clone(), data));
            prompts.push(hash);
        }
        let file = write(folder, format!("prompts-{number:05}.safetensors"), &tensors)?;
        Ok(Line::Prompts { file, prompts })
    }
}

fn write(folder: &Path, name: String, tensors: &[(String, TensorData)]) -> Result<CacheFile> {
    write_tensors(&folder.join(&name), tensors, &BTreeMap::new())?;
    CacheFile::of(folder, name)
}

/// Numbers as they are stored; says what cannot be.
fn data(
    values: Vec<f32>,
    shape: &[usize],
    stored: StoredType,
) -> std::result::Result<TensorData, String> {
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(format!(
            "its encoder gives {value}: the weights are damaged, or too large for dtype = \"bf16\""
        ));
    }
    match stored {
        StoredType::F32 => Ok(TensorData::new(values, shape.to_vec())),
        StoredType::F16 => {
            let largest = values
                .iter()
                .fold(0.0_f32, |most, value| most.max(value.abs()));
            if largest > f16::MAX.to_f32() {
                return Err(format!("{largest} does not fit f16: store f32"));
            }
            let halves: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
            Ok(TensorData::new(halves, shape.to_vec()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_stored_is_told() {
        let check = |value, stored, expected: &str| {
            let error = data(vec![0.5, value], &[2], stored).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(7e4, StoredType::F16, "70000 does not fit f16");
        check(f32::NAN, StoredType::F32, "gives NaN");
        assert!(data(vec![7e4], &[1], StoredType::F32).is_ok());
        let half = data(vec![0.1], &[1], StoredType::F16).unwrap();
        let back: Vec<f32> = half.iter::<f32>().collect();
        assert!((back[0] - 0.1).abs() < 0.1 / 2048.0);
    }
}
