//! Labels of a clip (night or day, how many cars) as one token for cross-attention.
//!
//! # Source
//! Blattmann et al. 2023, section 4.1 and table 6: embedding width 256, sequence length 1, dropped
//! in training with probability 0.1. How two labels become one token is not said; here their
//! vectors are summed.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{Embedding, Init};

/// The sizes of a [`LabelEncoder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelEncoderConfig {
    /// Width of the token: the U-Net's `context_width`.
    pub width: usize,
    /// The labels, in order.
    pub labels: Vec<LabelConfig>,
}

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelConfig {
    /// What training data and requests call it.
    pub name: String,
    /// Number of values, counted from 0.
    pub values: usize,
}

impl LabelConfig {
    /// `value`, or the last one there is: as training data is read, where the last value means that
    /// much or more.
    #[must_use]
    pub fn nearest(&self, value: usize) -> usize {
        value.min(self.values - 1)
    }
}

impl LabelEncoderConfig {
    /// Checks that the sizes describe an encoder.
    ///
    /// # Errors
    /// [`Error::Config`] names what is wrong.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: &str| Err(Error::Config(format!("label encoder: {message}")));
        if self.width == 0 || self.labels.is_empty() {
            return fail("expected a width of at least 1 and at least one label");
        }
        for (index, label) in self.labels.iter().enumerate() {
            if label.values == 0 || label.name.is_empty() {
                return fail("every label needs a name and at least one value");
            }
            if self.labels[..index].iter().any(|l| l.name == label.name) {
                return fail(&format!("the label \"{}\" stands there twice", label.name));
            }
        }
        Ok(())
    }

    /// The labels of several clips as a tensor; `None` is unknown, dropped or unconditional.
    ///
    /// # Shapes
    /// - `clips`: per clip one value for each label
    /// - returns: `[batch, labels]`
    ///
    /// # Errors
    /// [`Error::Input`] when a clip has more or fewer values than there are labels, or a value is
    /// out of range.
    pub fn batch(&self, clips: &[Vec<Option<usize>>], device: &Device) -> Result<Tensor<2, Int>> {
        let mut indices = Vec::with_capacity(clips.len() * self.labels.len());
        for values in clips {
            self.check(values)?;
            for (value, label) in values.iter().zip(&self.labels) {
                indices.push(value.unwrap_or(label.values) as i64);
            }
        }
        let data = TensorData::new(indices, [clips.len(), self.labels.len()]);
        Ok(Tensor::from_data(data, device))
    }

    /// Checks one clip's values, one for each label.
    ///
    /// # Errors
    /// As [`LabelEncoderConfig::batch`].
    pub fn check(&self, values: &[Option<usize>]) -> Result<()> {
        if values.len() != self.labels.len() {
            return Err(Error::Input(format!(
                "got {} label values, expected {}: {}",
                values.len(),
                self.labels.len(),
                self.names().join(", ")
            )));
        }
        let wrong = values.iter().zip(&self.labels).find_map(|(value, label)| {
            let value = (*value)?;
            (value >= label.values).then_some((label, value))
        });
        match wrong {
            None => Ok(()),
            Some((label, value)) => Err(Error::Input(format!(
                "label \"{}\" is {value}, expected at most {}",
                label.name,
                label.values - 1
            ))),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.labels.iter().map(|l| l.name.as_str()).collect()
    }
}

/// Labels to one token.
#[derive(Module, Debug)]
pub struct LabelEncoder {
    /// Per label one vector for each value, and a last one for "unknown".
    pub tables: Vec<Embedding>,
}

impl LabelEncoder {
    /// An encoder with fresh parameters; `config` has been validated.
    pub fn new(config: &LabelEncoderConfig, init: &Init) -> Self {
        let table = |label: &LabelConfig| Embedding::new(label.values + 1, config.width, 0.5, init);
        Self {
            tables: config.labels.iter().map(table).collect(),
        }
    }

    /// The sum of the labels' vectors.
    ///
    /// # Shapes
    /// - `labels`: `[batch, labels]`, from [`LabelEncoderConfig::batch`]
    /// - returns: `[batch, 1, width]`
    pub fn forward(&self, labels: Tensor<2, Int>) -> Tensor<3> {
        let vectors: Vec<Tensor<3>> = self
            .tables
            .iter()
            .enumerate()
            .map(|(index, table)| table.forward(labels.clone().narrow(1, index, 1))) // [batch, 1, width]
            .collect();
        Tensor::cat(vectors, 1).sum_dim(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LabelEncoderConfig {
        let label = |name: &str, values| LabelConfig {
            name: name.into(),
            values,
        };
        LabelEncoderConfig {
            width: 6,
            labels: vec![label("night", 2), label("crowdedness", 5)],
        }
    }

    #[test]
    fn tokens_are_sums() {
        let device = Device::flex();
        let encoder = LabelEncoder::new(&config(), &Init::new(&device, 1));
        let clips = [vec![Some(1), Some(4)], vec![None, None]];
        let labels = config().batch(&clips, &device).expect("valid");
        let tokens = encoder.forward(labels);
        assert_eq!(tokens.dims(), [2, 1, 6]);
        let row = |table: usize, index| encoder.tables[table].weight.val().narrow(0, index, 1);
        let expected = Tensor::cat(vec![row(0, 1) + row(1, 4), row(0, 2) + row(1, 5)], 0);
        let difference = (tokens.reshape([2, 6]) - expected).abs().max();
        assert!(difference.into_scalar::<f32>() < 1e-6);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let check = |values: Vec<Option<usize>>, expected: &str| {
            let error = config().batch(&[values], &Device::flex());
            let error = error.expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(vec![Some(0)], "expected 2: night, crowdedness");
        check(vec![Some(0), Some(5)], "\"crowdedness\" is 5");
    }
}
