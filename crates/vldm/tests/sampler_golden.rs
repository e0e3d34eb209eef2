//! Samplers step by step against diffusers 0.42.1, and noise against an independent
//! implementation of its generator (`tests/golden/export.py`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::Deserialize;
use vldm::diffusion::{
    BetaRange, FinalSigma, LevelSpacing, NoiseSchedule, NoiseScheduleConfig, Parameterization,
    Preconditioning, StepSpacing, StepsConfig,
};
use vldm::rng::{Draw, NoiseKey, Stage};
use vldm::sampler::{GivenNoise, SamplerConfig, Sampling};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    sampler: String,
    steps: usize,
    eta: f64,
    scale: f64,
    config: Config,
    shape: [usize; 5],
    initial_noise: Vec<f32>,
    step_noise: Vec<Vec<f32>>,
    latents: Vec<Vec<f32>>,
}

/// The configuration of diffusers' scheduler.
#[derive(Debug, Deserialize)]
struct Config {
    beta_start: f64,
    beta_end: f64,
    prediction_type: String,
    #[serde(default)]
    timestep_spacing: Option<String>,
    #[serde(default)]
    steps_offset: usize,
    #[serde(default)]
    use_karras_sigmas: bool,
    #[serde(default)]
    set_alpha_to_one: Option<bool>,
    #[serde(default)]
    final_sigmas_type: Option<String>,
    #[serde(default)]
    timestep_type: Option<String>,
    #[serde(default)]
    sigma_min: Option<f64>,
    #[serde(default)]
    sigma_max: Option<f64>,
}

impl Config {
    fn preconditioning(&self) -> Preconditioning {
        let config = if let (Some(sigma_min), Some(sigma_max)) = (self.sigma_min, self.sigma_max) {
            assert_eq!(self.timestep_type.as_deref(), Some("continuous"));
            NoiseScheduleConfig::Edm {
                sigma_min,
                sigma_max,
                rho: 7.0,
            }
        } else {
            NoiseScheduleConfig::ScaledLinear(BetaRange {
                beta_start: self.beta_start,
                beta_end: self.beta_end,
                steps: 1000,
                zero_terminal_snr: false,
            })
        };
        let parameterization = match self.prediction_type.as_str() {
            "epsilon" => Parameterization::Epsilon,
            "v_prediction" => Parameterization::V,
            "sample" => Parameterization::X0,
            other => panic!("unknown prediction type {other}"),
        };
        let schedule = NoiseSchedule::new(config).expect("valid");
        Preconditioning {
            parameterization,
            schedule,
        }
    }

    fn steps(&self) -> StepsConfig {
        let spacing = match self.timestep_spacing.as_deref() {
            Some("leading") => StepSpacing::Leading {
                offset: self.steps_offset,
            },
            Some("trailing") => StepSpacing::Trailing {},
            _ => StepSpacing::Linspace {},
        };
        let karras = LevelSpacing::Karras {
            sigma_min: None,
            sigma_max: None,
            rho: 7.0,
        };
        let levels = if self.use_karras_sigmas {
            karras
        } else {
            LevelSpacing::Table {}
        };
        let first = self.set_alpha_to_one == Some(false)
            || self.final_sigmas_type.as_deref() == Some("sigma_min");
        let final_sigma = if first {
            FinalSigma::FirstOfTable
        } else {
            FinalSigma::Zero
        };
        StepsConfig {
            spacing,
            levels,
            final_sigma,
        }
    }
}

/// The stand-in for a network in `export.py`.
fn network(sample: Tensor<5>, timestep: f64, scale: f64) -> Tensor<5> {
    let bent = sample
        .clone()
        .mul_scalar(0.7)
        .add_scalar(0.05 * timestep * scale)
        .tanh();
    bent.mul_scalar(1.0 + 0.2 * (timestep * scale).sin()) + sample.mul_scalar(0.3)
}

fn run(case: &Case, dtype: DType) -> Vec<Vec<f32>> {
    let device = Device::flex();
    let tensor = |values: &Vec<f32>| {
        Tensor::<5>::from_data(
            TensorData::new(values.clone(), case.shape),
            (&device, DType::F32),
        )
        .cast(dtype)
    };
    let mut config = SamplerConfig::from_name(&case.sampler).expect("known");
    if let SamplerConfig::Ddim { eta } = &mut config {
        *eta = case.eta;
    }
    let preconditioning = case.config.preconditioning();
    let plan = config
        .plan(&preconditioning.schedule, &case.config.steps(), case.steps)
        .expect("valid");
    let denoiser = preconditioning.wrap(|x, timestep| Ok(network(x, timestep, case.scale)));
    let mut noise = GivenNoise {
        steps: case.step_noise.iter().map(tensor).collect(),
    };
    let initial = tensor(&case.initial_noise);
    Sampling::new(config.build(), plan, &denoiser, initial, &mut noise)
        .map(|progress| {
            let latents = progress.expect("runs").latents();
            latents
                .cast(DType::F32)
                .into_data()
                .try_to_vec()
                .expect("f32")
        })
        .collect()
}

/// The largest difference, relative to the largest value.
fn error(found: &[f32], expected: &[f32]) -> f32 {
    let size = expected
        .iter()
        .fold(0.0_f32, |size, value| size.max(value.abs()));
    let pairs = found.iter().zip(expected);
    pairs.map(|(f, e)| (f - e).abs()).fold(0.0, f32::max) / size
}

#[test]
fn every_step_agrees_with_diffusers() {
    let golden: Golden =
        serde_json::from_str(include_str!("golden/samplers.json")).expect("the fixture parses");
    let mut failures = Vec::new();
    for case in &golden.cases {
        for dtype in [DType::F32, DType::F64] {
            let found = run(case, dtype);
            assert_eq!(found.len(), case.latents.len());
            let errors: Vec<f32> = found
                .iter()
                .zip(&case.latents)
                .map(|(f, e)| error(f, e))
                .collect();
            let worst = errors
                .iter()
                .fold(0.0_f32, |worst, error| worst.max(*error));
            let name = format!(
                "{} {dtype:?} eta {} {:?}",
                case.sampler, case.eta, case.config
            );
            if worst.is_nan() || worst > 1e-5 {
                failures.push(format!("{name}: {errors:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[derive(Deserialize)]
struct NoiseGolden {
    cases: Vec<NoiseCase>,
}

#[derive(Deserialize)]
struct NoiseCase {
    seed: String,
    stage: u32,
    draw: (u32, u32),
    frame: u64,
    normal: Vec<f32>,
}

#[test]
fn noise_is_the_documented_generators() {
    let golden: NoiseGolden =
        serde_json::from_str(include_str!("golden/noise.json")).expect("the fixture parses");
    for case in golden.cases {
        let stage = match case.stage {
            2 => Stage::KeyFrames,
            5 => Stage::SecondInterpolation,
            6 => Stage::Upsampling,
            other => panic!("no stage {other} in this test"),
        };
        let draw = match case.draw {
            (0, 0) => Draw::Initial,
            (1, index) => Draw::Step(index),
            (2, 0) => Draw::Augmentation,
            other => panic!("no draw {other:?} in this test"),
        };
        let key = NoiseKey {
            seed: case.seed.parse().expect("a number"),
            stage,
            draw,
        };
        let values = key.normal(case.frame..case.frame + 1, [4, 5, 10]);
        let found: Vec<f32> = values[..6].iter().chain(&values[194..]).copied().collect();
        for (found, expected) in found.iter().zip(&case.normal) {
            // Two mathematical libraries may round the last bit of f32 differently.
            assert!(
                (found - expected).abs() <= 3e-7 * expected.abs().max(0.1),
                "{}",
                case.seed
            );
        }
    }
}
