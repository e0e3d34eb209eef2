//! The laws every sampler obeys, over the list of all samplers.
//!
//! The data are normally distributed, so that the exact denoiser and the exact solution of the
//! probability-flow equation are known in closed form: for data with mean m and variance s²,
//! `D(x, σ) = (s²·x + σ²·m)/(s² + σ²)` and `x(σ) = m + (x(σ₀) − m)·√((s² + σ²)/(s² + σ₀²))`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

use burn::tensor::{DType, Device, Tensor, TensorData};
use vldm::diffusion::{
    FinalSigma, LevelSpacing, NoiseLevel, NoiseSchedule, NoiseScheduleConfig, StepPlan,
    StepSpacing, StepsConfig,
};
use vldm::rng::{Draw, Stage};
use vldm::sampler::{NoNoise, SampleNoise, SampleSeed, SamplerConfig, Sampling, all_samplers};
use vldm::{Error, Result};

const MEAN: f64 = 0.7;
const VARIANCE: f64 = 0.6;

/// The exact denoiser of the normal distribution.
fn normal(x: Tensor<5>, level: NoiseLevel) -> Result<Tensor<5>> {
    let noise = level.sigma * level.sigma;
    let scaled = x.mul_scalar(VARIANCE / (VARIANCE + noise));
    Ok(scaled.add_scalar(MEAN * noise / (VARIANCE + noise)))
}

/// The exact solution at `to` of the equation that is at `x` at `from`.
fn solution(x: f64, from: f64, to: f64) -> f64 {
    MEAN + (x - MEAN) * ((VARIANCE + to * to) / (VARIANCE + from * from)).sqrt()
}

/// A denoiser that is not linear and mixes neither batch nor positions.
fn bent(x: Tensor<5>, level: NoiseLevel) -> Result<Tensor<5>> {
    Ok(x.mul_scalar(1.0 / (1.0 + level.sigma)).tanh())
}

/// `steps + 1` levels from 8 to 0.1, even in the seventh root.
fn levels(steps: usize) -> StepPlan {
    let root = |sigma: f64| sigma.powf(1.0 / 7.0);
    let level = |index: usize| {
        let ramp = index as f64 / steps as f64;
        NoiseLevel::from_sigma((root(8.0) + ramp * (root(0.1) - root(8.0))).powi(7))
    };
    StepPlan::from_levels((0..=steps).map(level).collect()).expect("falling")
}

/// A plan from 80 to zero noise.
fn to_zero(sampler: SamplerConfig, steps: usize) -> StepPlan {
    let schedule = NoiseScheduleConfig::Edm {
        sigma_min: 0.002,
        sigma_max: 80.0,
        rho: 7.0,
    };
    let schedule = NoiseSchedule::new(schedule).expect("valid");
    let config = StepsConfig {
        spacing: StepSpacing::Trailing {},
        levels: LevelSpacing::Table {},
        final_sigma: FinalSigma::Zero,
    };
    sampler.plan(&schedule, &config, steps).expect("valid")
}

fn tensor(values: Vec<f64>, shape: [usize; 5], dtype: DType) -> Tensor<5> {
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), dtype))
}

fn values(x: Tensor<5>) -> Vec<f64> {
    x.into_data_dtype(DType::F64).try_to_vec().expect("f64")
}

fn seeds(seeds: &[u64]) -> SampleNoise {
    let samples = seeds
        .iter()
        .map(|seed| SampleSeed {
            seed: *seed,
            first_frame: 0,
        })
        .collect();
    SampleNoise {
        samples,
        stage: Stage::KeyFrames,
    }
}

/// A run over `bent` to zero noise, from the noise of the seeds.
fn sample(sampler: SamplerConfig, mut noise: SampleNoise, frames: usize) -> Vec<f32> {
    let shape = [noise.samples.len(), frames, 4, 3, 5];
    let initial = noise
        .tensor(Draw::Initial, shape, &Device::flex())
        .expect("seeds match");
    let plan = to_zero(sampler, 12);
    let run = Sampling::new(sampler.build(), plan, &bent, initial, &mut noise);
    run.finish()
        .expect("runs")
        .into_data()
        .try_to_vec()
        .expect("f32")
}

#[test]
fn measured_order_is_the_declared_one() {
    for sampler in all_samplers() {
        let Some(order) = sampler.build().ode_order() else {
            continue;
        };
        let start = [-9.0, -2.0, 0.5, 3.0, 11.0];
        let exact = start.map(|x| solution(x, 8.0, 0.1));
        let mut points = Vec::new();
        for steps in [20, 40, 80, 160, 320] {
            let x = tensor(start.to_vec(), [1, 1, 1, 1, 5], DType::F64);
            let noise = &mut NoNoise;
            let run = Sampling::from_latents(sampler.build(), levels(steps), &normal, x, noise);
            let last = run.last().expect("has steps").expect("runs");
            let found = values(last.x);
            let error = found
                .iter()
                .zip(exact)
                .map(|(f, e)| (f - e).abs())
                .fold(0.0, f64::max);
            points.push(((1.0 / steps as f64).ln(), error.ln()));
        }
        let slope = slope(&points);
        println!("{}: declared {order}, measured {slope:.3}", sampler.name());
        assert!(
            (slope - f64::from(order)).abs() <= 0.3,
            "{sampler:?}: {slope} for {order}"
        );
    }
}

/// The slope of the least-squares line through the points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let covariance: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    covariance
        / points
            .iter()
            .map(|(x, _)| (x - mean_x).powi(2))
            .sum::<f64>()
}

/// Mean and variance of 65,536 samples after `steps` steps from the exact distribution at 10.
fn moments(sampler: SamplerConfig, steps: usize) -> (f64, f64) {
    let schedule = NoiseScheduleConfig::Edm {
        sigma_min: 0.01,
        sigma_max: 10.0,
        rho: 7.0,
    };
    let schedule = NoiseSchedule::new(schedule).expect("valid");
    let config = StepsConfig {
        spacing: StepSpacing::Trailing {},
        levels: LevelSpacing::Table {},
        final_sigma: FinalSigma::Zero,
    };
    let plan = sampler.plan(&schedule, &config, steps).expect("valid");
    let mut noise = seeds(&[11]);
    let start = noise
        .tensor(Draw::Initial, [1, 4, 4, 64, 64], &Device::flex())
        .expect("one seed")
        .mul_scalar((VARIANCE + 100.0).sqrt())
        .add_scalar(MEAN);
    let run = Sampling::from_latents(sampler.build(), plan, &normal, start, &mut noise);
    let found = values(run.finish().expect("runs"));
    let count = found.len() as f64;
    let mean = found.iter().sum::<f64>() / count;
    let variance = found.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (mean, variance)
}

/// Every sampler here but those of second order errs by a variance that falls as one over the
/// number of steps, so twice the result of 200 steps less that of 100 is free of that error.
#[test]
fn samples_have_the_mean_and_variance_of_the_data() {
    for sampler in all_samplers() {
        let (coarse, fine) = (moments(sampler, 100), moments(sampler, 200));
        let (mean, variance) = (2.0 * fine.0 - coarse.0, 2.0 * fine.1 - coarse.1);
        println!("{sampler:?}: {coarse:?}, {fine:?}: mean {mean:.4}, variance {variance:.4}");
        // Standard errors: at most 0.007 and 1.2 %.
        assert!((mean - MEAN).abs() < 0.02, "{sampler:?}: mean {mean}");
        let error = variance / VARIANCE - 1.0;
        assert!(error.abs() < 0.03, "{sampler:?}: variance {variance}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    for sampler in all_samplers() {
        let first = sample(sampler, seeds(&[3]), 2);
        assert_eq!(first, sample(sampler, seeds(&[3]), 2), "{sampler:?}");
        assert_ne!(first, sample(sampler, seeds(&[4]), 2), "{sampler:?}");
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    for sampler in all_samplers() {
        let alone = sample(sampler, seeds(&[3]), 2);
        let together = sample(sampler, seeds(&[1, 3, 2]), 2);
        assert_eq!(alone, together[alone.len()..2 * alone.len()], "{sampler:?}");
    }
}

#[test]
fn a_frame_does_not_depend_on_the_cut() {
    for sampler in all_samplers() {
        let whole = sample(sampler, seeds(&[3]), 4);
        let mut second_half = seeds(&[3]);
        second_half.samples[0].first_frame = 2;
        let second_half = sample(sampler, second_half, 2);
        assert_eq!(whole[second_half.len()..], second_half, "{sampler:?}");
    }
}

#[test]
fn deterministic_samplers_agree_at_many_steps() {
    let start = vec![-60.0, -10.0, 1.0, 30.0, 90.0];
    let mut results = Vec::new();
    for sampler in all_samplers() {
        if sampler.build().ode_order().is_none() {
            continue;
        }
        let x = tensor(start.clone(), [1, 1, 1, 1, 5], DType::F64);
        let plan = to_zero(sampler, 2000);
        let noise = &mut NoNoise;
        let run = Sampling::from_latents(sampler.build(), plan, &bent, x, noise);
        results.push((sampler, values(run.finish().expect("runs"))));
    }
    assert!(results.len() >= 4);
    for (sampler, found) in &results {
        for (found, expected) in found.iter().zip(&results[0].1) {
            assert!(
                (found - expected).abs() < 5e-3,
                "{sampler:?}: {found} for {expected}"
            );
        }
    }
}

#[test]
fn zero_noise_is_reached_exactly() {
    for sampler in all_samplers() {
        let mut noise = seeds(&[5]);
        let initial = noise
            .tensor(Draw::Initial, [1, 2, 4, 3, 3], &Device::flex())
            .expect("one seed");
        for steps in [1, 2, 7, 20] {
            let plan = to_zero(sampler, steps);
            let run = Sampling::new(sampler.build(), plan, &bent, initial.clone(), &mut noise);
            let last = run.last().expect("has steps").expect("runs");
            assert_eq!(last.step.to.sigma, 0.0);
            let (latents, denoised) = (last.latents().into_data(), last.denoised.into_data());
            assert_eq!(latents, denoised, "{sampler:?} in {steps} steps");
        }
    }
}

#[test]
fn a_run_reports_every_step_in_order_and_calls_the_network_as_often_as_promised() {
    for sampler in all_samplers() {
        let calls = std::cell::Cell::new(0);
        let counting = |x: Tensor<5>, level: NoiseLevel| {
            calls.set(calls.get() + 1);
            assert!(level.sigma > 0.0, "asked for an estimate without noise");
            bent(x, level)
        };
        let mut noise = seeds(&[5]);
        let initial = noise
            .tensor(Draw::Initial, [1, 1, 1, 2, 2], &Device::flex())
            .expect("one seed");
        let plan = to_zero(sampler, 6);
        let levels = plan.levels().to_vec();
        let run = Sampling::new(sampler.build(), plan, &counting, initial, &mut noise);
        let steps: Vec<_> = run.map(|progress| progress.expect("runs").step).collect();
        assert_eq!(steps.len(), 6);
        for (index, step) in steps.iter().enumerate() {
            assert_eq!((step.index, step.count), (index, 6));
            assert_eq!((step.from, step.to), (levels[index], levels[index + 1]));
        }
        assert_eq!(calls.get(), sampler.network_calls(6), "{sampler:?}");
    }
}

#[test]
fn ancestral_euler_and_ddim_with_full_noise_are_one_rule() {
    let run = |sampler: SamplerConfig| {
        let mut noise = seeds(&[9]);
        let shape = [1, 2, 4, 3, 5];
        let x = noise
            .tensor(Draw::Initial, shape, &Device::flex())
            .expect("one seed");
        let run = Sampling::from_latents(sampler.build(), levels(9), &bent, x, &mut noise);
        values(run.finish().expect("runs"))
    };
    let (ddim, ancestral) = (
        SamplerConfig::Ddim { eta: 1.0 },
        SamplerConfig::EulerAncestral {},
    );
    assert_eq!(run(ddim), run(ancestral));
    assert_eq!(
        run(SamplerConfig::Ddim { eta: 0.0 }),
        run(SamplerConfig::Euler {})
    );
}

#[test]
fn damage_stops_the_run_and_names_the_step() {
    for sampler in all_samplers() {
        let breaking = |x: Tensor<5>, level: NoiseLevel| {
            let worst = if level.sigma < 1.0 { f64::NAN } else { 1.0 };
            Ok(x.mul_scalar(worst))
        };
        let mut noise = seeds(&[5]);
        let initial = noise
            .tensor(Draw::Initial, [1, 1, 1, 2, 2], &Device::flex())
            .expect("one seed");
        let plan = to_zero(sampler, 10);
        let run = Sampling::new(sampler.build(), plan, &breaking, initial, &mut noise);
        let items: Vec<_> = run.collect();
        let (last, before) = items.split_last().expect("has steps");
        assert!(before.iter().all(|item| item.is_ok()) && !before.is_empty());
        assert!(
            matches!(last, Err(Error::NonFinite { step, .. }) if *step == before.len()),
            "{sampler:?}: {last:?}"
        );
    }
}

#[test]
fn noise_that_does_not_fit_is_an_error() {
    let device = Device::flex();
    assert!(
        seeds(&[1])
            .tensor(Draw::Initial, [2, 1, 1, 1, 1], &device)
            .is_err()
    );
    let sampler = SamplerConfig::EulerAncestral {};
    let initial = Tensor::<5>::zeros([1, 1, 1, 1, 1], &device);
    let noise = &mut NoNoise;
    let run = Sampling::new(sampler.build(), to_zero(sampler, 3), &bent, initial, noise);
    assert!(matches!(run.finish(), Err(Error::Input(_))));
}
