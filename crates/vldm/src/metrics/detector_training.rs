//! Training the detector on the driving world.

use std::collections::BTreeMap;

use burn::tensor::activation::{log_sigmoid, log_softmax, relu, sigmoid};
use burn::tensor::{Device, Tensor};
use vldm_world::Class;

use super::boxes::{BoxScores, Detection, compare, matches};
use super::detector::{CLASSES, Detector, DetectorConfig, KINDS, PAINTS, rare};
use super::detector_examples::{DetectorBatch, collate, picture};
use super::pool::{PoolSettings, render};
use super::trainer::{Trainer, TrainingEvent, TrainingSettings, Watch};
use super::truth::Look;
use crate::conditioning::boxes::ObjectBox;
use crate::data::Sample;
use crate::error::Result;
use crate::nn::Init;

/// Frames of a rendered window, far apart in time.
const WINDOW: usize = 6;
/// Their rate: what is on the road has changed after half a second.
const RATE: f64 = 2.0;
/// Detections of at least this score count as seen.
pub const SEEN: f32 = 0.3;
/// Boxes of at least this share of the picture's height are near enough to tell their colour and kind:
/// four pixels.
pub const NEAR: f32 = 4.0 / 64.0;
/// Weight of the edges' logarithms beside the overlap.
const LOGARITHMS: f64 = 0.5;

/// Trains a detector from nothing but a seed, and measures it on worlds that it never saw: recall,
/// precision and average precision at an overlap of one half, and how often kind and paint of what
/// was found are right, by name.
///
/// # Errors
/// As [`train_features`](super::train_features).
pub fn train_detector(
    config: &DetectorConfig,
    settings: &TrainingSettings,
    device: &Device,
    watch: &mut Watch,
) -> Result<(Detector, BTreeMap<String, f64>)> {
    config.validate()?;
    settings.validate()?;
    let pool = |seed, windows| PoolSettings {
        seed,
        windows,
        frames: WINDOW,
        rates: vec![RATE],
        threads: settings.threads,
    };
    let worlds = render(&pool(settings.seed, settings.windows), watch)?;
    let detector = Detector::new(config, &Init::new(device, settings.seed));
    let mut trainer = Trainer::new(detector, settings);
    for step in 0..settings.steps {
        let first = step * settings.batch as u64;
        let numbers = first..first + settings.batch as u64;
        let pictures: Vec<_> = numbers
            .map(|number| picture(&worlds, settings.seed, number))
            .collect();
        let batch = collate(&pictures, device)?;
        let loss = trainer.step(|detector| loss(detector, &batch, settings))?;
        watch(TrainingEvent::Step(step + 1, loss))?;
    }
    let detector = trainer.finish();
    drop(worlds);
    let worlds = render(&pool(settings.held_out_seed(), settings.held_out), watch)?;
    let report = measure(&detector, &worlds, device)?;
    Ok((detector, report))
}

fn loss(detector: &Detector, batch: &DetectorBatch, settings: &TrainingSettings) -> Tensor<1> {
    let pixels = batch.pixels.clone().cast(settings.dtype).autodiff();
    let outputs = detector.forward(pixels);
    let part = |from: usize, count: usize| outputs.clone().narrow(3, from, count);
    let heat = heat_loss(
        rare(part(0, CLASSES)),
        batch.heat.clone().autodiff(),
        batch.middles.clone().autodiff(),
    );
    let edges = edge_loss(
        part(CLASSES, 4),
        batch.edges.clone().autodiff(),
        batch.weight.clone().autodiff(),
    );
    let entropy = |logits: Tensor<4>, truth: &Tensor<4>| {
        -(log_softmax(logits, 3) * truth.clone().autodiff()).sum()
    };
    let kinds = entropy(part(CLASSES + 4, KINDS), &batch.kinds);
    let paints = entropy(part(CLASSES + 4 + KINDS, PAINTS), &batch.paints);
    (heat + edges * 2.0 + (kinds + paints) * 0.5) * (1.0 / batch.objects)
}

/// Zhou et al. 2019, eq. 1, with α = 2 and β = 4; summed. `is_middle` is 1 where `heat` is.
fn heat_loss(logits: Tensor<4>, heat: Tensor<4>, is_middle: Tensor<4>) -> Tensor<1> {
    let p = sigmoid(logits.clone());
    let miss = (p.clone() * -1.0 + 1.0).powi_scalar(2) * log_sigmoid(logits.clone());
    let elsewhere = (heat * -1.0 + 1.0).powi_scalar(4);
    let alarm = elsewhere * p.powi_scalar(2) * log_sigmoid(-logits);
    -(miss * is_middle.clone() + alarm * (is_middle * -1.0 + 1.0)).sum()
}

/// One minus the overlap (Yu et al. 2016, arXiv:1608.01471), and the error of the logarithms.
fn edge_loss(logarithms: Tensor<4>, edges: Tensor<4>, weight: Tensor<4>) -> Tensor<1> {
    let logarithms = logarithms.clamp(-6.0, 6.0);
    let error = (logarithms.clone() - edges.clone().log()).abs().mean_dim(3);
    let made = logarithms.exp();
    let area = |edges: &Tensor<4>| {
        let side = |a: usize| edges.clone().narrow(3, a, 1) + edges.clone().narrow(3, a + 2, 1);
        side(0) * side(1)
    };
    let smaller = made.clone() - relu(made.clone() - edges.clone());
    let both = area(&smaller);
    let union = area(&made) + area(&edges) - both.clone();
    let overlap = both / union;
    ((overlap * -1.0 + 1.0 + error * LOGARITHMS) * weight).sum()
}

/// Scores of a detector on pictures whose boxes are known.
fn measure(
    detector: &Detector,
    worlds: &[Sample],
    device: &Device,
) -> Result<BTreeMap<String, f64>> {
    let frames: Vec<_> = worlds.iter().flat_map(|world| &world.frames).collect();
    let found = detector.detect(&frames, device)?;
    let looks: Vec<&Vec<ObjectBox>> = worlds.iter().flat_map(|world| &world.boxes).collect();
    let truth: Vec<Vec<ObjectBox>> = looks.iter().map(|boxes| by_class(boxes)).collect();
    let mut report = BTreeMap::new();
    let mut add = |name: &str, scores: &BoxScores| {
        let numbers = [
            ("recall", scores.recall()),
            ("precision", scores.precision()),
            ("average_precision", Some(scores.average_precision)),
        ];
        for (number, value) in numbers {
            if let Some(value) = value {
                report.insert(format!("{number}.{name}"), value);
            }
        }
    };
    add("all", &compare(&found, &truth, SEEN));
    let (near_found, near_truth) = near(&found, &truth);
    add("near", &compare(&near_found, &near_truth, SEEN));
    let names = ["car", "truck", "pedestrian"];
    for (class, name) in Class::ALL.into_iter().zip(names) {
        let (found, truth) = of_class(&near_found, &near_truth, class.index());
        add(&format!("near.{name}"), &compare(&found, &truth, SEEN));
    }
    let (mut right, mut all) = ([0.0; 2], 0.0);
    for (found, looks) in found.iter().zip(&looks) {
        let truth = by_class(looks);
        for (detection, at) in matches(found, &truth) {
            let known = at.and_then(|at| Look::from_number(looks[at].class));
            if let (Some((kind, paint)), Some(Look::Vehicle { kind: k, paint: p })) =
                (detection.look, known)
                && detection.score >= SEEN
                && detection.bounds.y1 - detection.bounds.y0 >= NEAR
            {
                right[0] += f64::from(u8::from(kind == k));
                right[1] += f64::from(u8::from(paint == p));
                all += 1.0;
            }
        }
    }
    report.insert("accuracy.near.kind".into(), right[0] / f64::max(all, 1.0));
    report.insert("accuracy.near.paint".into(), right[1] / f64::max(all, 1.0));
    Ok(report)
}

/// Boxes whose classes are numbers of looks, with the classes of clips.
fn by_class(boxes: &[ObjectBox]) -> Vec<ObjectBox> {
    let class = |b: &ObjectBox| {
        let look = Look::from_number(b.class)?;
        Some(ObjectBox {
            class: look.class(),
            ..*b
        })
    };
    boxes.iter().filter_map(class).collect()
}

pub(crate) type Sides = (Vec<Vec<Detection>>, Vec<Vec<ObjectBox>>);

/// Without the boxes that are too low to be [`NEAR`]; detections a little lower stay, because a
/// true box may be the one that is found too low.
pub fn near(found: &[Vec<Detection>], truth: &[Vec<ObjectBox>]) -> Sides {
    let high = |b: &ObjectBox, least: f32| b.y1 - b.y0 >= least;
    let found = found.iter().zip(truth).map(|(found, truth)| {
        // A detection that is right about a far box is neither right nor wrong here.
        let kept = matches(found, truth)
            .into_iter()
            .filter(|(one, at)| match at {
                Some(at) => high(&truth[*at], NEAR),
                None => high(&one.bounds, NEAR),
            });
        kept.map(|(one, _)| one).collect()
    });
    let truth = truth.iter().map(|truth| {
        let high = truth.iter().filter(|b| high(b, NEAR));
        high.copied().collect()
    });
    (found.collect(), truth.collect())
}

fn of_class(found: &[Vec<Detection>], truth: &[Vec<ObjectBox>], class: usize) -> Sides {
    let found = found.iter().map(|found| {
        let of = found.iter().filter(|one| one.bounds.class == class);
        of.copied().collect()
    });
    let truth = truth.iter().map(|truth| {
        let of = truth.iter().filter(|b| b.class == class);
        of.copied().collect()
    });
    (found.collect(), truth.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn a_perfect_answer_costs_nothing() {
        let device = Device::flex();
        let edges = [1.5_f32, 0.5, 2.5, 3.5];
        let tensor = |values: Vec<f32>, depth: usize| {
            Tensor::<4>::from_data(TensorData::new(values, [1, 1, 1, depth]), &device)
        };
        let truth = tensor(edges.to_vec(), 4);
        let loss = |logarithms: Vec<f32>| -> f32 {
            let weight = tensor(vec![1.0], 1);
            edge_loss(tensor(logarithms, 4), truth.clone(), weight).into_scalar()
        };
        assert!(loss(edges.map(f32::ln).to_vec()).abs() < 1e-6);
        // Twice as large on every side: a quarter of the overlap, ln 2 on the logarithms.
        let twice = loss(edges.map(|edge| (2.0 * edge).ln()).to_vec());
        assert!(
            (twice - (0.75 + 0.5 * std::f32::consts::LN_2)).abs() < 1e-5,
            "{twice}"
        );
        let heat = |logit: f32| -> f32 {
            let one = tensor(vec![1.0], 1);
            heat_loss(tensor(vec![logit], 1), one.clone(), one).into_scalar()
        };
        assert!(heat(12.0) < 1e-6);
        // (1 - 1/2)² ln 2
        assert!((heat(0.0) - 0.25 * std::f32::consts::LN_2).abs() < 1e-6);
    }
}
