//! How the learning rate moves over a run.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decay {
    /// Nothing: the paper states one rate per model.
    Constant {},
    /// Half a cosine down to this share of the rate, at the last step of the run.
    Cosine {
        /// Share of the rate at the end, 0 to 1.
        #[serde(default)]
        end: f64,
    },
}

/// A learning-rate schedule: a linear warm-up, then [`Decay`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Steps until the full rate is reached; 0 begins with it.
    pub warmup: u64,
    /// After that.
    pub decay: Decay,
    /// Steps of the whole run.
    pub steps: u64,
}

impl Schedule {
    /// The factor on the learning rate at `step`, counted from 0.
    ///
    /// Step k of a warm-up of n steps has (k + 1)/n of the rate.
    #[must_use]
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        match self.decay {
            Decay::Constant {} => 1.0,
            Decay::Cosine { end } => {
                let length = self.steps.saturating_sub(self.warmup).max(1);
                let done = ((step - self.warmup) as f64 / length as f64).min(1.0);
                end + (1.0 - end) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done))
            }
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        if let Decay::Cosine { end } = self.decay
            && !(0.0..=1.0).contains(&end)
        {
            return Err(Error::Config(format!(
                "optimizer.decay.end is {end}, expected a share of the learning rate from 0 to 1"
            )));
        }
        if self.warmup > self.steps {
            return Err(Error::Config(format!(
                "optimizer.warmup_steps is {}, longer than the run of {} steps",
                self.warmup, self.steps
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_then_follows_the_cosine() {
        let schedule = Schedule {
            warmup: 4,
            decay: Decay::Cosine { end: 0.1 },
            steps: 10,
        };
        let factors: Vec<f64> = (0..=12).map(|step| schedule.factor(step)).collect();
        assert_eq!(factors[..5], [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert!((factors[7] - 0.55).abs() < 1e-12);
        assert!((factors[10] - 0.1).abs() < 1e-12);
        assert_eq!(factors[10], factors[12]);
    }

    #[test]
    fn constant_is_constant() {
        let schedule = Schedule {
            warmup: 0,
            decay: Decay::Constant {},
            steps: 5,
        };
        assert_eq!(schedule.factor(0), 1.0);
        assert_eq!(schedule.factor(4), 1.0);
    }
}
