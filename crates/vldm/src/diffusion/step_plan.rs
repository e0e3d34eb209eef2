//! The levels of a sampling run, step by step.
//!
//! # Source
//!
//! Karras et al. 2022 (arXiv:2206.00364), algorithm 1, for the form: a step is an interval of
//! noise levels.
//!
//! Differs from diffusers in this:
//! - A step ends where the next one starts. Diffusers' DDIM steps by `table/steps` entries
//!   whatever its grid says, so that under `linspace`, and under `trailing` when the number of
//!   steps does not divide the table, it forgets noise or counts it twice.
//! - Grids that visit a level twice are refused; diffusers divides by zero there.

use super::noise_schedule::check_sigmas;
use super::step_spacing::{karras, timesteps};
use super::{
    FinalSigma, LevelSpacing, NoiseLevel, NoiseSchedule, NoiseScheduleConfig, StepGrid,
    StepSpacing, StepsConfig,
};
use crate::{Error, Result};

/// One interval of a sampling run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Counted from 0.
    pub index: usize,
    /// How many steps the run has.
    pub count: usize,
    /// The level the step starts from.
    pub from: NoiseLevel,
    /// The level the step ends at; not above `from`.
    pub to: NoiseLevel,
}

impl Step {
    /// `to.sigma/from.sigma`: the part of the noise that a step leaves.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.to.sigma / self.from.sigma
    }

    /// Whether this is the last step of the run.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.index + 1 == self.count
    }
}

/// The levels of a sampling run, in falling order, and the scale of the noise it starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPlan {
    levels: Vec<NoiseLevel>,
    init_scale: f64,
}

impl StepPlan {
    /// Plans `steps` steps.
    ///
    /// # Errors
    /// [`Error::Input`] if the schedule has no such number of different levels;
    /// [`Error::Config`] if `config` contradicts the schedule.
    pub fn new(
        schedule: &NoiseSchedule,
        config: &StepsConfig,
        grid: StepGrid,
        steps: usize,
    ) -> Result<Self> {
        if steps == 0 {
            return Err(Error::Input("sampling needs at least 1 step, got 0".into()));
        }
        let mut levels = match schedule.config() {
            NoiseScheduleConfig::Edm {
                sigma_min,
                sigma_max,
                rho,
            } => karras(sigma_min, sigma_max, rho, steps)
                .map(|sigma| schedule.level(schedule.timestep_at(sigma)))
                .collect(),
            _ => table_plan(schedule, config, grid, steps)?,
        };
        levels.push(final_level(schedule, config.final_sigma)?);
        check_falling(&levels)?;
        let first = levels[0].sigma;
        let leading = matches!(config.spacing, StepSpacing::Leading { .. });
        let init_scale = if grid == StepGrid::Fractional && !leading {
            first
        } else {
            first.hypot(1.0)
        };
        Ok(Self { levels, init_scale })
    }

    /// A plan over levels of one's own: falling, at least two, the last may be 0. Initial noise
    /// gets the standard deviation of the noisy variable, `√(sigma² + 1)`.
    ///
    /// # Errors
    /// [`Error::Input`] if the levels do not fall.
    pub fn from_levels(levels: Vec<NoiseLevel>) -> Result<Self> {
        if levels.len() < 2 {
            return Err(Error::Input(format!(
                "a sampling run needs at least 2 noise levels, got {}",
                levels.len()
            )));
        }
        check_falling(&levels)?;
        let init_scale = levels[0].sigma.hypot(1.0);
        Ok(Self { levels, init_scale })
    }

    /// The number of steps.
    #[must_use]
    pub fn num_steps(&self) -> usize {
        self.levels.len() - 1
    }

    /// All levels, one more than steps.
    #[must_use]
    pub fn levels(&self) -> &[NoiseLevel] {
        &self.levels
    }

    /// What unit-variance noise is multiplied by to start the run, in the variable
    /// `x0 + sigma·noise`.
    #[must_use]
    pub fn init_scale(&self) -> f64 {
        self.init_scale
    }

    /// The step of an index below [`StepPlan::num_steps`].
    #[must_use]
    pub fn step(&self, index: usize) -> Option<Step> {
        let (from, to) = (*self.levels.get(index)?, *self.levels.get(index + 1)?);
        Some(Step {
            index,
            count: self.num_steps(),
            from,
            to,
        })
    }
}

/// Levels of a table schedule, without the final one.
fn table_plan(
    schedule: &NoiseSchedule,
    config: &StepsConfig,
    grid: StepGrid,
    steps: usize,
) -> Result<Vec<NoiseLevel>> {
    let entries = schedule.sigmas().len();
    if steps > entries {
        return Err(Error::Input(format!(
            "the model knows {entries} noise levels, so at most {entries} steps, got {steps}"
        )));
    }
    let chosen = timesteps(config.spacing, grid, steps, entries);
    let chosen: Vec<NoiseLevel> = chosen
        .into_iter()
        .map(|timestep| schedule.level(timestep))
        .collect();
    let LevelSpacing::Karras {
        sigma_min,
        sigma_max,
        rho,
    } = config.levels
    else {
        return Ok(chosen);
    };
    let (low, high) = match grid {
        StepGrid::Fractional => (chosen[steps - 1].sigma, chosen[0].sigma),
        StepGrid::Whole | StepGrid::OpenEnded => schedule.sigma_range(),
    };
    let (low, high) = (sigma_min.unwrap_or(low), sigma_max.unwrap_or(high));
    // One step stands at one level, so its ends coincide unless both are given.
    if steps > 1 {
        check_sigmas(low, high, rho)?;
    }
    let level = |sigma| {
        let timestep = schedule.timestep_at(sigma);
        let whole = grid != StepGrid::Fractional;
        let timestep = if whole {
            timestep.round_ties_even()
        } else {
            timestep
        };
        NoiseLevel {
            sigma,
            timestep: Some(timestep),
        }
    };
    Ok(karras(low, high, rho, steps).map(level).collect())
}

fn final_level(schedule: &NoiseSchedule, final_sigma: FinalSigma) -> Result<NoiseLevel> {
    match (final_sigma, schedule.sigmas().is_empty()) {
        (FinalSigma::Zero, _) => Ok(NoiseLevel::CLEAN),
        (FinalSigma::FirstOfTable, false) => Ok(schedule.level(0.0)),
        (FinalSigma::FirstOfTable, true) => Err(Error::Config(
            "final_sigma = first_of_table needs a schedule with a table; \
             continuous schedules end at zero"
                .into(),
        )),
    }
}

/// Levels must fall; only the final one may repeat its predecessor (a step that does nothing).
fn check_falling(levels: &[NoiseLevel]) -> Result<()> {
    let last = levels.len() - 1;
    for (index, pair) in levels.windows(2).enumerate() {
        let (from, to) = (pair[0].sigma, pair[1].sigma);
        let falls = if index + 1 == last {
            to <= from && to >= 0.0
        } else {
            to < from
        };
        if !(falls && from.is_finite() && from > 0.0) {
            return Err(Error::Input(format!(
                "noise levels have to fall, but level {index} is {from} and the next one {to}: \
                 take fewer steps, or another spacing"
            )));
        }
    }
    Ok(())
}
