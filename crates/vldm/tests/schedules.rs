//! Noise schedules and step spacings against tables exported from diffusers 0.42.1
//! (`tests/golden/export.py`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

use serde::Deserialize;
use vldm::diffusion::{
    BetaRange, FinalSigma, LevelSpacing, NoiseSchedule, NoiseScheduleConfig, StepGrid, StepPlan,
    StepSpacing, StepsConfig,
};
use vldm::sampler::SamplerConfig;

#[derive(Deserialize)]
struct Golden {
    tables: Vec<TableRow>,
    grids: Vec<GridRow>,
    edm: Vec<EdmRow>,
}

#[derive(Deserialize)]
struct TableRow {
    schedule: String,
    zero_terminal_snr: bool,
    timesteps: Vec<usize>,
    alphas_cumprod: Vec<f64>,
    exact: Option<Vec<f64>>,
}

#[derive(Debug, Deserialize)]
struct GridRow {
    schedule: String,
    sampler: String,
    spacing: String,
    offset: usize,
    karras: bool,
    steps: usize,
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    init_noise_sigma: f64,
}

#[derive(Deserialize)]
struct EdmRow {
    steps: usize,
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    init_noise_sigma: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/schedules.json")).expect("the fixture parses")
}

fn schedule(name: &str, zero_terminal_snr: bool) -> NoiseSchedule {
    let range = |beta_start, beta_end| BetaRange {
        beta_start,
        beta_end,
        steps: 1000,
        zero_terminal_snr,
    };
    let config = match name {
        "stable_diffusion" => NoiseScheduleConfig::ScaledLinear(range(0.00085, 0.012)),
        "driving" => NoiseScheduleConfig::ScaledLinear(range(0.0015, 0.0195)),
        "pixel_upsampler" => NoiseScheduleConfig::Linear(range(1e-4, 2e-2)),
        other => panic!("unknown schedule {other}"),
    };
    NoiseSchedule::new(config).expect("valid")
}

fn spacing(name: &str, offset: usize) -> StepSpacing {
    match name {
        "leading" => StepSpacing::Leading { offset },
        "trailing" => StepSpacing::Trailing {},
        "linspace" => StepSpacing::Linspace {},
        other => panic!("unknown spacing {other}"),
    }
}

fn steps_config(spacing: StepSpacing, karras: bool) -> StepsConfig {
    let karras_levels = LevelSpacing::Karras {
        sigma_min: None,
        sigma_max: None,
        rho: 7.0,
    };
    let levels = if karras {
        karras_levels
    } else {
        LevelSpacing::Table {}
    };
    StepsConfig {
        spacing,
        levels,
        final_sigma: FinalSigma::Zero,
    }
}

/// The largest of `|found − expected|/(absolute + relative·|expected|)`.
fn excess(found: &[f64], expected: &[f64], absolute: f64, relative: f64) -> f64 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    pairs
        .map(|(f, e)| (f - e).abs() / (absolute + relative * e.abs()))
        .fold(0.0, f64::max)
}

#[test]
fn tables_agree_within_the_rounding_of_f32() {
    for row in golden().tables {
        let schedule = schedule(&row.schedule, row.zero_terminal_snr);
        let found: Vec<f64> = row
            .timesteps
            .iter()
            .map(|index| schedule.alphas_cumprod()[*index])
            .collect();
        // Near zero signal, f32 takes differences of nearly equal numbers.
        let absolute = if row.zero_terminal_snr { 1e-7 } else { 0.0 };
        let worst = excess(&found, &row.alphas_cumprod, absolute, 2e-6);
        assert!(
            worst <= 1.0,
            "{} ({}): {worst}",
            row.schedule,
            row.zero_terminal_snr
        );
        if let Some(exact) = row.exact {
            let worst = excess(&found, &exact, 0.0, 1e-12);
            assert!(worst <= 1.0, "{} in f64: {worst}", row.schedule);
        }
    }
}

#[test]
fn grids_agree_with_every_scheduler() {
    let mut compared = 0;
    for row in golden().grids {
        let sampler = SamplerConfig::from_name(&row.sampler).expect("known");
        let schedule = schedule(&row.schedule, false);
        let config = steps_config(spacing(&row.spacing, row.offset), row.karras);
        let plan = sampler
            .plan(&schedule, &config, row.steps)
            .unwrap_or_else(|error| {
                panic!("{row:?}: {error}");
            });
        let timesteps: Vec<f64> = plan.levels()[..row.steps]
            .iter()
            .filter_map(|level| level.timestep)
            .collect();
        let sigmas: Vec<f64> = plan.levels().iter().map(|level| level.sigma).collect();
        assert_eq!(plan.num_steps(), row.steps);
        // Fractional timesteps carry the rounding of the f32 table they were looked up in.
        let tolerance = if row.karras { 1e-3 } else { 1e-4 };
        let worst = excess(&timesteps, &row.timesteps, tolerance, 1e-6);
        assert!(
            worst <= 1.0,
            "timesteps of {row:?}: {timesteps:?} ({worst})"
        );
        // Low sigmas are differences of nearly equal numbers in f32.
        let worst = excess(&sigmas, &row.sigmas, 2e-6, 3e-6);
        assert!(worst <= 1.0, "sigmas of {row:?}: {sigmas:?} ({worst})");
        let init = match sampler.grid() {
            StepGrid::Fractional => row.init_noise_sigma,
            // These work in the variance-preserving variable.
            _ => row.init_noise_sigma * row.sigmas[0].hypot(1.0),
        };
        let worst = excess(&[plan.init_scale()], &[init], 2e-6, 3e-6);
        assert!(
            worst <= 1.0,
            "initial scale of {row:?}: {} ({worst})",
            plan.init_scale()
        );
        compared += 1;
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn the_levels_of_stable_video_diffusion() {
    let config = NoiseScheduleConfig::Edm {
        sigma_min: 0.002,
        sigma_max: 700.0,
        rho: 7.0,
    };
    let schedule = NoiseSchedule::new(config).expect("valid");
    let steps = steps_config(StepSpacing::Leading { offset: 1 }, false);
    for row in golden().edm {
        let plan = SamplerConfig::Euler {}
            .plan(&schedule, &steps, row.steps)
            .expect("valid");
        let timesteps: Vec<f64> = plan.levels()[..row.steps]
            .iter()
            .filter_map(|level| level.timestep)
            .collect();
        let sigmas: Vec<f64> = plan.levels().iter().map(|level| level.sigma).collect();
        assert!(
            excess(&sigmas, &row.sigmas, 0.0, 1e-6) <= 1.0,
            "{} steps",
            row.steps
        );
        assert!(
            excess(&timesteps, &row.timesteps, 1e-6, 1e-6) <= 1.0,
            "{} steps",
            row.steps
        );
        assert!((plan.init_scale() / row.init_noise_sigma - 1.0).abs() < 1e-6);
        assert_eq!(sigmas[row.steps], 0.0);
    }
}

#[test]
fn stable_diffusions_ddim_ends_at_the_first_entry() {
    let schedule = schedule("stable_diffusion", false);
    let mut config = steps_config(StepSpacing::Leading { offset: 1 }, false);
    config.final_sigma = FinalSigma::FirstOfTable;
    let plan = SamplerConfig::Ddim { eta: 0.0 }
        .plan(&schedule, &config, 50)
        .expect("valid");
    assert_eq!(plan.levels()[49].timestep, Some(1.0));
    assert_eq!(plan.levels()[50].timestep, Some(0.0));
    assert_eq!(plan.levels()[50].sigma, schedule.sigmas()[0]);
}

#[test]
fn every_number_of_steps_gives_that_many() {
    let schedule = schedule("stable_diffusion", false);
    let spacings = [
        spacing("leading", 1),
        spacing("trailing", 0),
        spacing("linspace", 0),
    ];
    for grid in [StepGrid::Whole, StepGrid::Fractional, StepGrid::OpenEnded] {
        for spacing in spacings {
            for karras in [false, true] {
                let config = steps_config(spacing, karras);
                for steps in 1..=499 {
                    let plan = StepPlan::new(&schedule, &config, grid, steps)
                        .unwrap_or_else(|error| panic!("{grid:?} {config:?} {steps}: {error}"));
                    assert_eq!(plan.num_steps(), steps);
                    assert!(
                        plan.levels()
                            .windows(2)
                            .all(|pair| pair[1].sigma < pair[0].sigma)
                    );
                }
            }
        }
    }
}

#[test]
fn impossible_plans_are_refused() {
    let table = schedule("stable_diffusion", false);
    let config = steps_config(spacing("leading", 0), false);
    let plan = |grid, steps| StepPlan::new(&table, &config, grid, steps);
    assert!(plan(StepGrid::Whole, 0).is_err());
    assert!(plan(StepGrid::Whole, 1000).is_ok());
    assert!(plan(StepGrid::Whole, 1001).is_err());
    assert!(plan(StepGrid::OpenEnded, 1000).is_err());

    let edm = NoiseScheduleConfig::Edm {
        sigma_min: 0.002,
        sigma_max: 700.0,
        rho: 7.0,
    };
    let edm = NoiseSchedule::new(edm).expect("valid");
    let config = StepsConfig {
        final_sigma: FinalSigma::FirstOfTable,
        ..config
    };
    assert!(StepPlan::new(&edm, &config, StepGrid::Fractional, 5).is_err());
}

#[test]
fn configurations_read_from_toml() {
    let check = |text: &str| toml::from_str::<StepsConfig>(text).is_ok();
    assert!(check(
        "spacing = { type = 'leading', offset = 1 }\nfinal_sigma = 'first_of_table'"
    ));
    assert!(check(
        "spacing = { type = 'trailing' }\nlevels = { type = 'karras' }"
    ));
    assert!(!check("spacing = { type = 'trailing', offset = 1 }"));
    assert!(!check("spacing = { type = 'linspace' }\nsteps = 5"));
}
