//! Ten steps of training of every stage against PyTorch; see `training/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

mod training {
    pub(crate) mod case;
    pub(crate) mod lora;
    pub(crate) mod steps;
}

use training::case::Case;
use training::lora;
use training::steps::{ExampleParts, diffusion, first_step};
use vldm::diffusion::Parameterization::{Epsilon, V};
use vldm::diffusion::{BetaRange, NoiseSchedule, NoiseScheduleConfig, Preconditioning};
use vldm::train::{AdversarialConfig, AdversarialStage};

fn scaled_linear(beta_start: f64, beta_end: f64) -> NoiseScheduleConfig {
    NoiseScheduleConfig::ScaledLinear(range(beta_start, beta_end))
}

fn range(beta_start: f64, beta_end: f64) -> BetaRange {
    BetaRange {
        beta_start,
        beta_end,
        steps: 1000,
        zero_terminal_snr: false,
    }
}

const STABLE_DIFFUSION: [f64; 2] = [0.00085, 0.012];
const DRIVING: [f64; 2] = [0.0015, 0.0195];

fn schedule([start, end]: [f64; 2]) -> NoiseScheduleConfig {
    scaled_linear(start, end)
}

#[test]
fn image() {
    let case = Case::open("image");
    diffusion(
        &case,
        (schedule(STABLE_DIFFUSION), Epsilon),
        &["unet."],
        &ExampleParts::default(),
    );
}

#[test]
fn image_with_micro_batches_warm_up_and_cosine() {
    let case = Case::open("image_accumulated");
    let parts = ExampleParts {
        micro_batches: true,
        warm_up_and_cosine: true,
        ..ExampleParts::default()
    };
    diffusion(&case, (schedule(DRIVING), V), &["unet."], &parts);
}

#[test]
fn boxes() {
    let case = Case::open("boxes");
    diffusion(
        &case,
        (schedule(DRIVING), V),
        &["unet.", "conditions.boxes."],
        &ExampleParts::default(),
    );
}

#[test]
fn temporal_layers() {
    let case = Case::open("temporal");
    diffusion(
        &case,
        (schedule(STABLE_DIFFUSION), Epsilon),
        &["temporal."],
        &ExampleParts::default(),
    );
}

#[test]
fn prediction() {
    let case = Case::open("prediction");
    diffusion(
        &case,
        (schedule(DRIVING), V),
        &["temporal."],
        &ExampleParts::default(),
    );
}

#[test]
fn interpolation_of_driving() {
    let case = Case::open("interpolation_driving");
    let learns = ["temporal.", "conditions.frame_rate."];
    diffusion(
        &case,
        (schedule(DRIVING), V),
        &learns,
        &ExampleParts::default(),
    );
}

#[test]
fn interpolation_from_text() {
    let case = Case::open("interpolation_text");
    let learns = ["unet.", "temporal.", "conditions.frame_rate."];
    diffusion(
        &case,
        (schedule(STABLE_DIFFUSION), Epsilon),
        &learns,
        &ExampleParts::default(),
    );
}

#[test]
fn upscaler_of_latents() {
    let case = Case::open("upscaler");
    diffusion(
        &case,
        (schedule([1e-4, 0.02]), V),
        &["unet."],
        &ExampleParts::default(),
    );
}

#[test]
fn upsampler_of_pixels_over_time() {
    let case = Case::open("upsampler_pixels");
    let schedule = NoiseScheduleConfig::Linear(range(1e-4, 0.02));
    diffusion(
        &case,
        (schedule, V),
        &["temporal."],
        &ExampleParts::default(),
    );
}

#[test]
fn stable_video_diffusion() {
    let schedule = NoiseScheduleConfig::Edm {
        sigma_min: 0.002,
        sigma_max: 700.0,
        rho: 7.0,
    };
    let learns: [&[&str]; 2] = [&["unet.", "temporal."], &["temporal."]];
    for (name, learns) in ["svd", "svd_temporal"].into_iter().zip(learns) {
        let case = Case::open_with_weights_of(name, "svd");
        diffusion(&case, (schedule, V), learns, &ExampleParts::default());
    }
}

#[test]
fn dreambooth() {
    let case = Case::open("dreambooth");
    let parts = ExampleParts {
        frame_weights: Some(vec![1.0, 1.0]),
        ..ExampleParts::default()
    };
    let learns = ["unet.", "text_encoder."];
    diffusion(
        &case,
        (schedule(STABLE_DIFFUSION), Epsilon),
        &learns,
        &parts,
    );
}

fn dreambooth_noise() -> (Preconditioning, ExampleParts) {
    let preconditioning = Preconditioning {
        parameterization: Epsilon,
        schedule: NoiseSchedule::new(schedule(STABLE_DIFFUSION)).unwrap(),
    };
    let parts = ExampleParts {
        frame_weights: Some(vec![1.0, 1.0]),
        ..ExampleParts::default()
    };
    (preconditioning, parts)
}

#[test]
fn low_rank_adapters() {
    let (preconditioning, parts) = dreambooth_noise();
    lora::ten_steps(&preconditioning, &parts);
}

#[test]
fn an_adapter_of_diffusers_is_merged() {
    let (preconditioning, parts) = dreambooth_noise();
    lora::merged(&preconditioning, &parts);
}

const PLAIN: AdversarialConfig = AdversarialConfig {
    l1: 1.0,
    squared: 0.0,
    perceptual: None,
    pyramid: 0.0,
    kl: 1e-6 * (3 * 32 * 24) as f64, // the exporter has 1e-6 for a mean over pictures of this size
    codebook: 1.0,
    commitment: 0.25,
    adversarial: 0.5,
    adaptive: true,
    adversarial_after: 0,
};

#[test]
fn autoencoders() {
    for name in ["autoencoder_kl", "autoencoder_vq"] {
        first_step(&Case::open(name), AdversarialStage::Autoencoder, &PLAIN);
    }
}

#[test]
fn decoder_over_time() {
    first_step(&Case::open("decoder"), AdversarialStage::Decoder, &PLAIN);
}
