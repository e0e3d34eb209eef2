//! Running a case's steps and comparing them.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};
use vldm::conditioning::boxes::BoxBatch;
use vldm::diffusion::{
    NoiseLevel, NoiseSchedule, NoiseScheduleConfig, Parameterization, Preconditioning,
};
use vldm::train::{
    AdversarialConfig, AdversarialStage, Augmentation, Clips, Decay, Example, Given, Learner,
    LowResolution, Networks, OptimizerConfig, Pass, Schedule, TemporalWords, Words,
    adversarial_pass, block_pass, denoising_pass, frame_weights,
};

use super::case::Case;

/// What of an example a case's files do not say.
#[derive(Default)]
pub(crate) struct ExampleParts {
    pub(crate) micro_batches: bool,
    pub(crate) warm_up_and_cosine: bool,
    pub(crate) frame_weights: Option<Vec<f64>>,
}

/// A pass of a diffusion stage: with all activations, or with those of one block at a time.
pub(crate) type DiffusionPass =
    fn(&Networks, &Preconditioning, Example, (DType, f64)) -> vldm::Result<Pass>;

/// Losses within 1e-4 and gradients of the first step within 1e-3 of the reference, with both kinds
/// of pass.
pub(crate) fn diffusion(
    case: &Case,
    (schedule, parameterization): (NoiseScheduleConfig, Parameterization),
    learns: &[&str],
    parts: &ExampleParts,
) {
    let preconditioning = Preconditioning {
        parameterization,
        schedule: NoiseSchedule::new(schedule).unwrap(),
    };
    // At the higher rate every mistake of an optimiser moves a loss by more than the tolerance.
    let runs: [(f64, &str, f64, DiffusionPass); 3] = [
        (1e-3, "", 1e-4, denoising_pass),
        (1e-2, "fast", 2e-5, denoising_pass),
        (1e-2, "fast", 2e-5, block_pass),
    ];
    for (rate, run, tolerance, pass) in runs {
        let reference = [
            case.numbers(run, "losses"),
            case.numbers(run, "gradient_norms"),
        ];
        let learner = learner(case, learns, (rate, parts.warm_up_and_cosine));
        ten_steps(
            case,
            learner,
            (&preconditioning, learns, parts),
            (reference, tolerance, pass),
        );
    }
    let learner = learner(case, learns, (1e-3, false));
    let index: &[usize] = if parts.micro_batches { &[0, 0] } else { &[0] };
    let example = example(case, index, &preconditioning, parts);
    for dtype in [DType::F32, DType::BF16] {
        passes_agree(
            case,
            learner.networks(),
            (&preconditioning, &example),
            dtype,
        );
    }
}

/// The two kinds of pass have the same loss, bit for bit, and the same gradients but for the order
/// in which some are added: in f32 within 5e-7 of the norm
/// of all.
fn passes_agree(
    case: &Case,
    networks: &Networks,
    (preconditioning, example): (&Preconditioning, &Example),
    dtype: DType,
) {
    let run = |pass: DiffusionPass| {
        pass(networks, preconditioning, example.clone(), (dtype, 1.0)).unwrap()
    };
    let [plain, blocks] = [run(denoising_pass), run(block_pass)];
    assert_eq!(plain.loss.to_bits(), blocks.loss.to_bits(), "{}", case.name);
    let names = |pass: &Pass| pass.gradients.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&plain), names(&blocks), "{}", case.name);
    let values = |tensor: &Tensor<1>| tensor.to_data().try_to_vec::<f32>().unwrap();
    let norm = |values: &[f32]| {
        let squares = values.iter().map(|value| f64::from(*value).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let (mut all, mut all_errors, mut equal) = (0.0f64, 0.0f64, 0);
    let mut errors = Vec::new();
    for (name, expected) in &plain.gradients {
        let (expected, got) = (values(expected), values(&blocks.gradients[name]));
        let pairs = expected.iter().zip(&got);
        let difference: Vec<f32> = pairs.map(|(a, b)| a - b).collect();
        let (size, error) = (norm(&expected), norm(&difference));
        equal += usize::from(error == 0.0);
        (all, all_errors) = (all.hypot(size), all_errors.hypot(error));
        errors.push((error, size, name));
    }
    // Of tensors that matter: what should be zero is as small as rounding leaves it.
    let counted = errors.iter().filter(|(_, size, _)| *size > 1e-3 * all);
    let worst = counted.fold((0.0, ""), |worst, (error, size, name)| {
        match error / size > worst.0 {
            true => (error / size, name),
            false => worst,
        }
    });
    let together = all_errors / all;
    println!(
        "{} in {}: {equal} of {} gradients are equal; all together differ by {together:.1e}, at most \
         {:.1e} in {}",
        case.name,
        dtype.name(),
        errors.len(),
        worst.0,
        worst.1
    );
    // Measured: up to 1.7e-7 and 1.3e-6 in f32, 7e-3 and 4e-2 in bf16, whose last bit is 4e-3.
    let tolerances = match dtype {
        DType::F32 => (5e-7, 3e-6),
        _ => (1.5e-2, 1e-1),
    };
    assert!(together <= tolerances.0, "{}: {together:.1e}", case.name);
    assert!(worst.0 <= tolerances.1, "{}: {worst:?}", case.name);
}

fn ten_steps(
    case: &Case,
    mut learner: Learner,
    (preconditioning, learns, parts): (&Preconditioning, &[&str], &ExampleParts),
    ([losses, norms], tolerance, pass): ([Vec<f64>; 2], f64, DiffusionPass),
) {
    for step in 0..losses.len() {
        let batches: Vec<Vec<usize>> = match parts.micro_batches {
            true => (0..2).map(|micro| vec![step, micro]).collect(),
            false => vec![vec![step]],
        };
        let share = 1.0 / batches.len() as f64;
        let passes: Vec<Pass> = batches
            .iter()
            .map(|index| {
                let example = example(case, index, preconditioning, parts);
                let how = (DType::F32, share);
                pass(learner.networks(), preconditioning, example, how).unwrap()
            })
            .collect();
        if step == 0 && !parts.micro_batches {
            compare(case, learner.networks(), &passes[0], learns);
        }
        let outcome = learner.step(passes);
        println!("{} {step}: {} {}", case.name, outcome.loss, losses[step]);
        assert!(outcome.applied);
        close(
            &format!("{}: loss of step {step}", case.name),
            outcome.loss,
            losses[step],
            tolerance,
        );
        close(
            &format!("{}: norm of step {step}", case.name),
            outcome.gradient_norm,
            norms[step],
            1e-3,
        );
    }
}

fn learner(case: &Case, learns: &[&str], settings: (f64, bool)) -> Learner {
    learner_of(case.networks(), learns, settings)
}

pub(crate) fn learner_of(
    networks: Networks,
    learns: &[&str],
    (learning_rate, warm_up_and_cosine): (f64, bool),
) -> Learner {
    let config = OptimizerConfig {
        learning_rate,
        ema: 0.0,
        ..OptimizerConfig::default()
    };
    let schedule = Schedule {
        warmup: if warm_up_and_cosine { 4 } else { 0 },
        decay: match warm_up_and_cosine {
            true => Decay::Cosine { end: 0.1 },
            false => Decay::Constant {},
        },
        steps: 10,
    };
    let learns = |name: &str| learns.iter().any(|part| name.starts_with(part));
    Learner::new(networks, &learns, DType::F32, (config, schedule))
}

pub(crate) fn example(
    case: &Case,
    index: &[usize],
    preconditioning: &Preconditioning,
    parts: &ExampleParts,
) -> Example {
    let clean: Tensor<5> = case.floats("x0", index);
    let [batch, frames, ..] = clean.dims();
    let at = |input: &str| -> Vec<NoiseLevel> {
        let timesteps = case.values(input, index);
        timesteps
            .into_iter()
            .map(|t| preconditioning.schedule.level(t))
            .collect()
    };
    let levels = match case.has("sigmas") {
        true => case
            .values("sigmas", index)
            .into_iter()
            .map(NoiseLevel::from_sigma)
            .collect(),
        false => at("timesteps"),
    };
    let augmentation = || Augmentation {
        noise: case.floats("augmentation_noise", index),
        levels: at("augmentation_timesteps"),
    };
    let given: Vec<bool> = match case.has("given") {
        true => case
            .values("given", index)
            .into_iter()
            .map(|given| given > 0.0)
            .collect(),
        false => vec![false; batch * frames],
    };
    Example {
        max_distance: None,
        noise: case.floats("noise", index),
        levels,
        weights: parts
            .frame_weights
            .clone()
            .unwrap_or_else(|| frame_weights(&given)),
        context: words(case, index),
        temporal_context: temporal_words(case, index, batch),
        given: case.has("given").then(|| Given {
            mask: case.floats("given", index),
            augmentation: augmentation(),
        }),
        low: case.has("low").then(|| LowResolution {
            pixels: case.floats("low", index),
            augmentation: augmentation(),
        }),
        image: case
            .has("image_latents")
            .then(|| case.floats("image_latents", index)),
        scalars: case
            .has("added_time_ids")
            .then(|| case.floats("added_time_ids", index)),
        first_frame: match case.has("first_frame") {
            true => case.values("first_frame", index)[0] as usize,
            false => 0,
        },
        clean,
    }
}

fn temporal_words(case: &Case, index: &[usize], batch: usize) -> TemporalWords {
    match case.has("regimes") {
        false => TemporalWords::Spatial,
        true => TemporalWords::FrameRate {
            regime: case.ints("regimes", index),
            fps: match case.has("fps") {
                true => case.floats("fps", index),
                false => Tensor::zeros([batch], &Device::flex()),
            },
        },
    }
}

fn words(case: &Case, index: &[usize]) -> Words {
    if case.has("input_ids") {
        return Words::Text(case.ints("input_ids", index));
    }
    if case.has("boxes") {
        return Words::Boxes(BoxBatch {
            coordinates: case.floats("boxes", index),
            classes: case.ints("box_classes", index),
        });
    }
    if case.has("labels") {
        return Words::Labels(case.ints("labels", index));
    }
    let tokens = ["context", "image_embeds"]
        .into_iter()
        .find(|name| case.has(name));
    tokens.map_or(Words::None, |name| Words::Tokens(case.floats(name, index)))
}

/// The first step of an adversarial stage: losses and gradients of both sides.
pub(crate) fn first_step(case: &Case, stage: AdversarialStage, config: &AdversarialConfig) {
    let learns: &[&str] = match stage {
        AdversarialStage::Autoencoder => &["autoencoder.", "discriminator."],
        AdversarialStage::Decoder => &[
            "autoencoder.decoder.",
            "autoencoder.post_quant_conv.",
            "temporal_decoder.",
            "discriminator.",
        ],
    };
    let learner = learner(case, learns, (1e-3, false));
    let pixels: Tensor<5> = case.floats("pixels", &[0]);
    let noise = case.has("posterior_noise").then(|| {
        let noise: Tensor<5> = case.floats("posterior_noise", &[0]);
        let [b, f, c, h, w] = noise.dims();
        noise.reshape([b * f, c, h, w])
    });
    let clips = Clips {
        pixels,
        posterior_noise: noise,
    };
    let run = |dtype| {
        let how = (dtype, 1.0, true);
        adversarial_pass(learner.networks(), clips.clone(), (stage, config), how).unwrap()
    };
    let pass = run(DType::F32);
    in_half_precision(case, &pass, &run(DType::BF16));
    let losses: BTreeMap<String, f64> =
        serde_json::from_value(case.expected["losses"].clone()).unwrap();
    for (name, expected) in losses {
        let got = match name.as_str() {
            "total" => pass.loss,
            part => pass.parts[part],
        };
        close(&format!("{}: {name}", case.name), got, expected, 1e-4);
    }
    compare(case, learner.networks(), &pass, learns);
}

/// A pass in half precision has the same parts, an error of pixels as near as its rounding lets it be
/// (measured: 0.3 %), and gradients in f32.
fn in_half_precision(case: &Case, pass: &Pass, half: &Pass) {
    let [got, expected] = [half, pass].map(|pass| pass.parts["l1"]);
    let error = (got - expected).abs() / expected;
    assert!(error < 2e-2, "{}: {got} instead of {expected}", case.name);
    assert!(half.parts.keys().eq(pass.parts.keys()), "{}", case.name);
    assert!(
        half.gradients.keys().eq(pass.gradients.keys()),
        "{}",
        case.name
    );
    for (name, gradient) in &half.gradients {
        assert_eq!(gradient.dtype(), DType::F32, "{}: {name}", case.name);
    }
}

/// Every gradient within 1e-3 of the largest value of its tensor, where that is not nothing.
fn compare(case: &Case, networks: &Networks, pass: &Pass, learns: &[&str]) {
    let expected = flat(&case.gradients());
    let order = flat(networks);
    let mut compared = 0;
    let largest = expected
        .values()
        .flatten()
        .fold(0.0f32, |a, b| a.max(b.abs()));
    for (name, expected) in &expected {
        if !learns.iter().any(|part| name.starts_with(part)) {
            assert!(!pass.gradients.contains_key(name), "{name} is frozen");
            continue;
        }
        assert_eq!(order[name].len(), expected.len(), "{name}");
        let Some(got) = pass.gradient(name, networks) else {
            let most = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            assert!(
                most < 1e-6 * largest,
                "{}: {name} has no gradient, expected {most}",
                case.name
            );
            continue;
        };
        let scale = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        let error = got
            .iter()
            .zip(expected)
            .fold(0.0f32, |a, (x, y)| a.max((x - y).abs()));
        // What should be zero is as small as rounding leaves it.
        assert!(
            error <= 1e-3 * scale.max(1e-4 * largest),
            "{}: gradient of {name} is off by {error:.2e} of {scale:.2e}",
            case.name
        );
        compared += 1;
    }
    println!("{}: {compared} gradients", case.name);
    assert!(compared > 10);
}

/// All parameters, each in row-major order.
fn flat(networks: &Networks) -> BTreeMap<String, Vec<f32>> {
    #[derive(Default)]
    struct Flat(Vec<String>, BTreeMap<String, Vec<f32>>);
    impl ModuleVisitor for Flat {
        fn enter_module(&mut self, name: &str, container: &str) {
            if !container.starts_with("Enum:") {
                self.0.push(name.into());
            }
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            if !container.starts_with("Enum:") {
                self.0.pop();
            }
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param.val().into_data().try_to_vec().unwrap();
            self.1.insert(self.0.join("."), values);
        }
    }
    let mut flat = Flat::default();
    networks.visit(&mut flat);
    flat.1
}

#[track_caller]
pub(crate) fn close(what: &str, got: f64, expected: f64, tolerance: f64) {
    let scale = expected.abs().max(1.0);
    assert!(
        (got - expected).abs() <= tolerance * scale,
        "{what} is {got}, expected {expected}"
    );
}
