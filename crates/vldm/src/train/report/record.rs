//! What is known about one step of training, and about one look at held-out data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One entry of a run's record; in JSON its `kind` says which, `step` or `evaluation`.
///
/// JSON has no word for infinities and NaN: a value that is not finite is written as `null`, and
/// `null` is read as NaN. All other values are read back to the last bit. Fields that are not
/// known here are passed over when reading, so that older programs can show newer runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A step of the optimiser.
    Step(StepRecord),
    /// A measurement on held-out data.
    Evaluation(EvaluationRecord),
}

impl Record {
    /// Steps of the optimiser that lie behind this entry.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step(record) => record.step,
            Self::Evaluation(record) => record.step,
        }
    }
}

/// One step of the optimiser.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Number of the step, counted from 1: steps done when this was written.
    pub step: u64,
    /// The loss that was minimised, mean over the step's examples.
    #[serde(with = "number")]
    pub loss: f64,
    /// Learning rate of this step.
    #[serde(with = "number")]
    pub learning_rate: f64,
    /// Norm of the whole gradient before clipping.
    #[serde(with = "number")]
    pub gradient_norm: f64,
    /// Examples per second of this step, waiting included.
    #[serde(with = "number")]
    pub examples_per_second: f64,
    /// Share of the step's time that was spent waiting for data, 0 to 1.
    #[serde(with = "number")]
    pub waited_share: f64,
    /// Whether the weights were left as they were, because the gradient was not finite.
    pub skipped: bool,
    /// Parts of the loss by name.
    #[serde(with = "named")]
    pub parts: BTreeMap<String, f64>,
    /// Seconds of training since the run began, over all its restarts.
    #[serde(with = "number")]
    pub seconds: f64,
}

/// A measurement on held-out data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Steps of the optimiser behind the weights that were measured.
    pub step: u64,
    /// Noise levels (sigma) and the mean loss at each.
    #[serde(with = "pairs")]
    pub losses: Vec<(f64, f64)>,
    /// Mean loss over the noise levels.
    #[serde(with = "number")]
    pub mean: f64,
}

/// A number that JSON can hold: `null` when it is not finite.
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        number::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number::deserialize(deserializer).map(Self)
    }
}

/// Single values.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f64(*value)
        } else {
            serializer.serialize_none()
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
    }
}

/// Values by name.
mod named {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Number;

    pub(super) fn serialize<S: Serializer>(
        values: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(values.iter().map(|(name, &value)| (name, Number(value))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let values = BTreeMap::<String, Number>::deserialize(from)?;
        Ok(values.into_iter().map(|(name, v)| (name, v.0)).collect())
    }
}

/// Lists of two values each.
mod pairs {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Number;

    pub(super) fn serialize<S: Serializer>(
        pairs: &[(f64, f64)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(pairs.iter().map(|&(a, b)| (Number(a), Number(b))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(f64, f64)>, D::Error> {
        let pairs = Vec::<(Number, Number)>::deserialize(from)?;
        Ok(pairs.into_iter().map(|(a, b)| (a.0, b.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(loss: f64) -> Record {
        Record::Step(StepRecord {
            step: 7,
            loss,
            parts: BTreeMap::from([("reconstruction".into(), loss), ("kl".into(), 0.5)]),
            ..StepRecord::default()
        })
    }

    fn again(record: &Record) -> Record {
        serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap()
    }

    #[test]
    fn the_kind_stands_in_the_line() {
        let record = Record::Evaluation(EvaluationRecord {
            step: 3,
            losses: vec![(0.5, 0.25), (2.0, f64::INFINITY)],
            mean: f64::NAN,
        });
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"kind":"evaluation","step":3,"losses":[[0.5,0.25],[2.0,null]],"mean":null}"#
        );
        assert!(
            serde_json::to_string(&step(1.0))
                .unwrap()
                .starts_with(r#"{"kind":"step","step":7,"loss":1.0,"#)
        );
    }

    #[test]
    fn finite_values_survive_to_the_last_bit() {
        let mut values = vec![
            0.0,
            -0.0,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            0.1 + 0.2,
            1e21,
        ];
        // Mantissas and exponents of all kinds, from a multiplicative generator.
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            values.push(f64::from_bits(bits));
        }
        for value in values.into_iter().filter(|value| value.is_finite()) {
            let Record::Step(read) = again(&step(value)) else {
                panic!("another kind");
            };
            assert_eq!(read.loss.to_bits(), value.to_bits(), "{value:e}");
            assert_eq!(read.parts["reconstruction"].to_bits(), value.to_bits());
        }
    }

    #[test]
    fn what_is_not_finite_comes_back_as_nan() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let Record::Step(read) = again(&step(value)) else {
                panic!("another kind");
            };
            assert!(read.loss.is_nan() && read.parts["reconstruction"].is_nan());
            assert_eq!(read.parts["kl"], 0.5);
        }
    }

    #[test]
    fn fields_of_newer_programs_are_passed_over() {
        let line = r#"{"kind":"evaluation","step":1,"losses":[],"mean":2.5,"fvd":300}"#;
        assert_eq!(serde_json::from_str::<Record>(line).unwrap().step(), 1);
        let other = line.replace("evaluation", "prophecy");
        assert!(serde_json::from_str::<Record>(&other).is_err());
    }
}
