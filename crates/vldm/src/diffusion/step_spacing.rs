//! Which levels of a noise schedule a sampling run visits.
//!
//! The rules are those of diffusers 0.42.1, because models are judged by what its schedulers
//! make of them, and they are not the same for all of them: [`StepGrid`] names the three
//! families. `tests/schedules.rs` compares with tables exported from there.
//!
//! # Source
//!
//! Lin et al. 2023 (arXiv:2305.08891), table 2 (leading, trailing, linspace); Karras et al.
//! 2022 (arXiv:2206.00364), eq. 5 (Karras levels).
//!
//! Differs from diffusers in this:
//! - A step ends where the next one starts. Diffusers' DDIM steps by `table/steps` entries
//!   whatever its grid says, so that under `linspace`, and under `trailing` when the number of
//!   steps does not divide the table, it forgets noise or counts it twice.
//! - `trailing` always has as many steps as asked for. A rounding error gives diffusers one
//!   more, at timestep −1, for 61, 103, 121 and other numbers of steps.
//! - Grids that visit a level twice are refused; diffusers divides by zero there.

use serde::{Deserialize, Serialize};

use super::noise_schedule::{check_sigmas, default_rho};
use super::{NoiseLevel, NoiseSchedule, NoiseScheduleConfig};
use crate::{Error, Result};

/// How a number of steps is laid over a table of `entries` timesteps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepSpacing {
    /// Multiples of `entries/steps` from 0, plus `offset`: never reaches the noisiest entry.
    /// What Stable Diffusion (offset 1) and the public upsampler are run with.
    Leading {
        /// Added to every timestep ("steps_offset").
        #[serde(default)]
        offset: usize,
    },
    /// Backwards from the noisiest entry. (The braces make serde refuse surplus keys.)
    Trailing {},
    /// Both ends of the table, and evenly between.
    Linspace {},
}

/// Where the levels themselves come from, once the timesteps are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LevelSpacing {
    /// From the table, at the timesteps of [`StepSpacing`].
    Table {},
    /// Evenly in `sigma^(1/rho)` ("Karras sigmas"). The ends, where not given, are those of the
    /// chosen timesteps ([`StepGrid::Whole`] and [`StepGrid::OpenEnded`]: of the whole table).
    Karras {
        /// The smallest level.
        #[serde(default)]
        sigma_min: Option<f64>,
        /// The largest level.
        #[serde(default)]
        sigma_max: Option<f64>,
        /// Exponent: larger means more levels near `sigma_min`.
        #[serde(default = "default_rho")]
        rho: f64,
    },
}

/// The level that the last step ends at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigma {
    /// No noise left: the result is exactly the last clean estimate.
    #[default]
    Zero,
    /// The first entry of the table. What diffusers' DDIM does for Stable Diffusion
    /// (`set_alpha_to_one = false`).
    FirstOfTable,
}

/// How steps are chosen from a schedule.
///
/// On a continuous schedule ([`NoiseScheduleConfig::Edm`]) the levels are its own, and only
/// the scale of the initial noise depends on `spacing`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepsConfig {
    /// How timesteps are laid over the table.
    pub spacing: StepSpacing,
    /// Where the levels come from.
    #[serde(default = "table_levels")]
    pub levels: LevelSpacing,
    /// Where the last step ends.
    #[serde(default)]
    pub final_sigma: FinalSigma,
}

fn table_levels() -> LevelSpacing {
    LevelSpacing::Table {}
}

/// The three families of grids; which one a sampler uses is its own affair
/// ([`SamplerConfig::grid`](crate::sampler::SamplerConfig::grid)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepGrid {
    /// Whole timesteps; initial noise of the variance-preserving variable has variance 1
    /// (DDIM).
    Whole,
    /// Timesteps may lie between entries; under linspace and trailing, initial noise has
    /// standard deviation `sigma`, not `√(sigma² + 1)` (Euler, Euler ancestral, Heun).
    Fractional,
    /// As `Whole`, of one step more, whose last point is left out under leading and linspace
    /// (DPM-Solver).
    OpenEnded,
}

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

/// Timesteps in falling order, kept within the table.
fn timesteps(spacing: StepSpacing, grid: StepGrid, steps: usize, entries: usize) -> Vec<f64> {
    // An open-ended grid has one point more, the last of which is left out.
    let open = usize::from(grid == StepGrid::OpenEnded);
    let last = (entries - 1) as f64;
    let count = steps + open;
    let timestep = |index: usize| match spacing {
        StepSpacing::Leading { offset } => {
            let position = count - 1 - index;
            (position * (entries / count) + offset) as f64
        }
        StepSpacing::Linspace {} => {
            let position = count - 1 - index;
            let interval = last / count.saturating_sub(1).max(1) as f64;
            let timestep = if position == 0 {
                0.0
            } else {
                position as f64 * interval
            };
            if grid == StepGrid::Fractional {
                timestep
            } else {
                timestep.round_ties_even()
            }
        }
        StepSpacing::Trailing {} => {
            // The difference is taken as numpy's `arange` takes it: it decides ties.
            let (entries, steps) = (entries as f64, steps as f64);
            let interval = (entries - entries / steps) - entries;
            (entries + index as f64 * interval).round_ties_even() - 1.0
        }
    };
    (0..steps)
        .map(|index| timestep(index).clamp(0.0, last))
        .collect()
}

/// `count` levels from `high` to `low`, even in `sigma^(1/rho)` (Karras et al., eq. 5).
fn karras(low: f64, high: f64, rho: f64, count: usize) -> impl Iterator<Item = f64> {
    let (low_root, high_root) = (low.powf(1.0 / rho), high.powf(1.0 / rho));
    let intervals = count.saturating_sub(1).max(1) as f64;
    (0..count).map(move |index| {
        let ramp = index as f64 / intervals;
        (high_root + ramp * (low_root - high_root)).powf(rho)
    })
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
