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
//! Differs from diffusers in this: `trailing` always has as many steps as asked for. A rounding
//! error gives diffusers one more, at timestep −1, for 61, 103, 121 and other numbers of steps.

use serde::{Deserialize, Serialize};

use super::noise_schedule::default_rho;

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
/// On a continuous schedule ([`Edm`](super::NoiseScheduleConfig::Edm)) the levels are its own,
/// and only the scale of the initial noise depends on `spacing`.
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

/// Timesteps in falling order, kept within the table.
pub(super) fn timesteps(
    spacing: StepSpacing,
    grid: StepGrid,
    steps: usize,
    entries: usize,
) -> Vec<f64> {
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
pub(super) fn karras(low: f64, high: f64, rho: f64, count: usize) -> impl Iterator<Item = f64> {
    let (low_root, high_root) = (low.powf(1.0 / rho), high.powf(1.0 / rho));
    let intervals = count.saturating_sub(1).max(1) as f64;
    (0..count).map(move |index| {
        let ramp = index as f64 / intervals;
        (high_root + ramp * (low_root - high_root)).powf(rho)
    })
}
