//! Learning for a while: by steps or by time.

use std::time::{Duration, Instant};

use super::super::learner::Learner;
use super::super::optimizer::OptimizerConfig;
use super::super::pass::Pass;
use super::super::schedule::{Decay, Schedule};
use crate::error::Result;

/// Steps over which the learning rate rises.
const WARM_UP: u64 = 20;

/// What the learning rate falls to, as a share of its highest.
const LAST_RATE: f64 = 0.01;

/// The schedule of every learner here: [`descend`] sets the rate itself.
pub(super) const CONSTANT: Schedule = Schedule {
    warmup: 0,
    decay: Decay::Constant {},
    steps: 1,
};

/// How long something is learnt: until the steps are taken or the time is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Budget {
    steps: u64,
    time: Duration,
}

impl Budget {
    pub(super) fn new(steps: u64, time: Duration) -> Self {
        Self { steps, time }
    }

    /// A part of it.
    pub(super) fn share(self, share: f64) -> Self {
        Self {
            steps: (self.steps as f64 * share).round() as u64,
            time: self.time.mul_f64(share),
        }
    }

    /// How much of it is spent, from 0 to 1 and beyond.
    fn spent(&self, steps: u64, time: Duration) -> f64 {
        let by_steps = steps as f64 / self.steps.max(1) as f64;
        by_steps.max(time.as_secs_f64() / self.time.as_secs_f64().max(1e-9))
    }
}

/// The optimiser of every self-test. The mixers' weights learn as fast as everything else: at the
/// high rate of a test they would otherwise settle before the temporal layers know anything.
pub(super) fn optimizer(own: OptimizerConfig, learning_rate: f64) -> OptimizerConfig {
    OptimizerConfig {
        learning_rate,
        alpha_rate: 1.0,
        weight_decay: 0.0,
        ema: 0.0,
        ..own
    }
}

/// Takes steps along `pass`, a function of the learner and the step's number, until `budget` is
/// spent. The learning rate rises to `rate` and falls along half a cosine, which ends when the
/// budget does.
pub(super) fn descend(
    learner: &mut Learner,
    (budget, rate): (Budget, f64),
    mut pass: impl FnMut(&Learner, u64) -> Result<Pass>,
    watch: &mut dyn FnMut(u64, f64) -> Result<()>,
) -> Result<()> {
    let begin = Instant::now();
    for step in 0.. {
        let spent = budget.spent(step, begin.elapsed());
        if spent >= 1.0 {
            break;
        }
        let rises = ((step + 1) as f64 / WARM_UP as f64).min(1.0);
        let falls = 0.5 * (1.0 + libm::cos(std::f64::consts::PI * spent));
        learner.set_learning_rate(rate * rises * (LAST_RATE + (1.0 - LAST_RATE) * falls));
        let passed = pass(learner, step)?;
        let outcome = learner.step(vec![passed]);
        watch(learner.steps(), outcome.loss)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_or_time_end_it() {
        let budget = Budget::new(100, Duration::from_secs(10)).share(0.5);
        assert_eq!(budget.spent(25, Duration::ZERO), 0.5);
        assert_eq!(budget.spent(25, Duration::from_secs(4)), 0.8);
        assert!(budget.spent(50, Duration::from_secs(4)) >= 1.0);
    }
}
