//! Training the feature network on the driving world.

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::feature_examples::{CROWDEDNESS, FeatureBatch, FeatureExamples};
use super::features::{CLASSES, FeatureConfig, FeatureNet, VALUES};
use super::frechet::FeatureMoments;
use super::pool::{PoolSettings, RATES, render};
use super::ranks::spearman;
use super::trainer::{Trainer, TrainingEvent, TrainingSettings, Watch};
use crate::data::Sample;
use crate::error::Result;
use crate::nn::{Init, Linear};
use crate::train::parameters::plain;

/// Frames of a rendered window; clips of the training are parts of it.
const WINDOW: usize = 12;
/// Names of the heads of classes.
const HEADS: [&str; CLASSES.len()] = [
    "time_of_day",
    "weather",
    "road",
    "lane_change",
    "order",
    "rate",
];
/// Names of the numbers.
const NUMBERS: [&str; VALUES] = [
    "crowdedness",
    "speed",
    "metres_per_frame",
    "curvature",
    "blur",
    "noise",
    "red",
    "green",
    "blue",
];

/// Weights of the numbers' errors: blur and noise are rare, and small beside the rest.
const WEIGHTS: [f32; VALUES] = [1.0, 1.0, 1.0, 1.0, 8.0, 8.0, 1.0, 1.0, 1.0];
/// Blur and noise are measured on clips that have some.
const SPOILT: [usize; 2] = [4, 5];
/// True clips that the features are whitened on, at most.
const WHITENED_ON: usize = 1024;
/// Frames of each.
const WHITENED_FRAMES: usize = 8;
/// Directions in which true clips hardly vary are enlarged as if they varied by this share of the
/// mean variance.
const LEAST_VARIANCE: f64 = 1e-3;

/// Trains a feature network from nothing but a seed, and measures it on worlds that it never saw:
/// accuracies of the heads, and rank correlations of the numbers with the truth, by name.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) when a size is out of range, those of the device and of
/// `watch`.
pub fn train_features(
    config: &FeatureConfig,
    settings: &TrainingSettings,
    device: &Device,
    watch: &mut Watch,
) -> Result<(FeatureNet, BTreeMap<String, f64>)> {
    config.validate()?;
    settings.validate()?;
    let pool = |seed, windows| PoolSettings {
        seed,
        windows,
        frames: WINDOW,
        rates: RATES.to_vec(),
        threads: settings.threads,
    };
    let worlds = render(&pool(settings.seed, settings.windows), watch)?;
    let examples = FeatureExamples {
        pool: &worlds,
        seed: settings.seed,
        batch: settings.batch,
    };
    let net = FeatureNet::new(config, &Init::new(device, settings.seed));
    let mut trainer = Trainer::new(net, settings);
    for step in 0..settings.steps {
        let batch = examples.batch(step, device)?;
        let loss = trainer.step(|net| loss(net, &batch, settings))?;
        watch(TrainingEvent::Step(step + 1, loss))?;
    }
    let net = whitened(trainer.finish(), &worlds, device)?;
    drop(worlds);
    let held_out = settings.held_out_seed();
    let worlds = render(&pool(held_out, settings.held_out), watch)?;
    let examples = FeatureExamples {
        pool: &worlds,
        seed: held_out,
        batch: settings.batch,
    };
    let batches = (settings.held_out * 2).div_ceil(settings.batch) as u64;
    let report = measure(&net, &examples, (batches, device))?;
    Ok((net, report))
}

/// Cross-entropies of the classes and squared errors of the numbers.
fn loss(net: &FeatureNet, batch: &FeatureBatch, settings: &TrainingSettings) -> Tensor<1> {
    let pixels = batch.pixels.clone().cast(settings.dtype).autodiff();
    let (_, heads) = net.forward(pixels, batch.frames);
    let mut at = 0;
    let mut total: Option<Tensor<1>> = None;
    for count in CLASSES {
        let logits = heads.clone().narrow(1, at, count);
        let truth = batch.classes.clone().narrow(1, at, count).autodiff();
        let entropy = -(log_softmax(logits, 1) * truth).sum();
        at += count;
        total = Some(match total {
            None => entropy,
            Some(total) => total + entropy,
        });
    }
    let error = heads.narrow(1, at, VALUES) - batch.values.clone().autodiff();
    let error = error * batch.known.clone().autodiff();
    let weights = TensorData::new(WEIGHTS.to_vec(), [1, VALUES]);
    let weights = Tensor::<2>::from_data(weights, &batch.values.device()).autodiff();
    let squares = (error.clone() * error * weights).sum() * (1.0 / batch.truth.len() as f64);
    match total {
        None => squares,
        Some(total) => total + squares,
    }
}

/// Accuracies and rank correlations on held-out worlds.
fn measure(
    net: &FeatureNet,
    examples: &FeatureExamples,
    (batches, device): (u64, &Device),
) -> Result<BTreeMap<String, f64>> {
    let mut right = [[0.0; 2]; CLASSES.len()];
    let mut night = [0.0; 2];
    let mut numbers: [Vec<(f64, f64)>; VALUES] = Default::default();
    for step in 0..batches {
        let batch = examples.batch(step, device)?;
        let (_, heads) = net.forward(batch.pixels.clone(), batch.frames);
        let [_, width] = heads.dims();
        let heads: Vec<f32> = heads.into_data().iter::<f32>().collect();
        for (row, heads) in heads.chunks(width).enumerate() {
            let mut at = 0;
            for (head, &count) in CLASSES.iter().enumerate() {
                let found = highest(&heads[at..at + count]);
                at += count;
                if let Some(truth) = batch.truth[row][head] {
                    right[head][0] += f64::from(u8::from(found == truth));
                    right[head][1] += 1.0;
                    if head == 0 {
                        night[0] += f64::from(u8::from((found == 2) == (truth == 2)));
                        night[1] += 1.0;
                    }
                }
            }
            for (index, pairs) in numbers.iter_mut().enumerate() {
                let truth = batch.numbers[row][index];
                let truth = truth.filter(|truth| !SPOILT.contains(&index) || *truth > 0.0);
                if let Some(truth) = truth {
                    pairs.push((f64::from(heads[at + index]), truth));
                }
            }
        }
    }
    let mut report = BTreeMap::new();
    for (name, [right, all]) in HEADS.iter().zip(right) {
        report.insert(format!("accuracy.{name}"), right / f64::max(all, 1.0));
    }
    report.insert("accuracy.night".into(), night[0] / f64::max(night[1], 1.0));
    for (name, pairs) in NUMBERS.iter().zip(numbers) {
        let (found, truth): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        if let Some(correlation) = spearman(&found, &truth) {
            report.insert(format!("rank_correlation.{name}"), correlation);
        }
        if *name == "crowdedness" {
            let errors = found.iter().zip(&truth).map(|(a, b)| (a - b).abs());
            let mean = errors.sum::<f64>() / found.len().max(1) as f64;
            report.insert("vehicles_off_by".into(), mean * CROWDEDNESS);
        }
    }
    Ok(report)
}

/// The same network, whose features have mean 0 and no covariance but 1 over true clips.
fn whitened(net: FeatureNet, worlds: &[Sample], device: &Device) -> Result<FeatureNet> {
    let width = net.whiten.weight.val().dims()[0];
    let identity = |at: usize| f32::from(u8::from(at / width == at % width));
    let net = FeatureNet {
        whiten: linear(
            (0..width * width).map(identity).collect(),
            vec![0.0; width],
            device,
        ),
        ..net
    };
    let clips = worlds.iter().take(WHITENED_ON);
    let clips: Vec<_> = clips
        .map(|world| &world.frames[..WHITENED_FRAMES])
        .collect();
    let readings = net.read(&clips, device)?;
    let features: Vec<&[f64]> = readings.iter().map(|one| one.features.as_slice()).collect();
    let (rows, offset) = FeatureMoments::of(&features)?.whitening(LEAST_VARIANCE)?;
    Ok(FeatureNet {
        whiten: linear(
            rows.iter().map(|&value| value as f32).collect(),
            offset.iter().map(|&value| value as f32).collect(),
            device,
        ),
        ..net
    })
}

fn linear(weight: Vec<f32>, bias: Vec<f32>, device: &Device) -> Linear {
    let width = bias.len();
    let init = Init::new(device, 0);
    let linear = Linear {
        weight: init.parameter_from([width, width], move || weight),
        bias: Some(init.parameter_from([width], move || bias)),
    };
    plain(linear, DType::F32)
}

fn highest(values: &[f32]) -> usize {
    let places = values.iter().enumerate();
    places
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(at, _)| at)
}
