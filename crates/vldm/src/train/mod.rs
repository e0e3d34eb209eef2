//! Training: every stage of the paper, from clips to checkpoints.
//!
//! A stage is a set of [`Networks`], some of whose parameters learn, and a loss. All diffusion
//! stages share one loss ([`denoising`]): what they learn from ([`Example`]) differs, not what
//! they do with it. Two stages are adversarial ([`adversarial_pass`]).
//!
//! # Source
//! Blattmann et al. 2023 (arXiv:2304.08818), sections 3.1–3.4 and appendix H.

mod adversarial;
mod block_pass;
mod build;
pub mod cache;
mod checkpoint;
pub mod denoising;
mod discriminator;
mod draws;
mod estimate;
mod evaluate;
mod example;
mod latents;
mod learner;
mod lora;
mod lpips;
mod memory;
mod networks;
pub(crate) mod optimizer;
mod outputs;
mod overfit;
pub(crate) mod parameters;
mod pass;
mod picture;
mod prepare;
mod recipe;
pub mod report;
mod run;
mod sample;
mod schedule;
mod settings;
mod sources;
mod stage;
mod start;
mod whiten;

pub use adversarial::{AdversarialConfig, AdversarialStage, Clips, adversarial_pass};
pub(crate) use checkpoint::latest_model;

pub use block_pass::block_pass;
pub use build::{Start, fresh_networks, model_of, networks, networks_of};
pub use discriminator::{Discriminator, DiscriminatorConfig};
pub use example::{
    Augmentation, Example, Given, LowResolution, TemporalWords, Words, frame_weights,
};
pub use learner::{Learner, StepOutcome};
pub use lora::{Adapter, Lora, LoraConfig};
pub use lpips::PerceptualLoss;
pub use memory::{TrainingMemory, machine_memory};
pub use networks::Networks;
pub use optimizer::OptimizerConfig;
pub use overfit::{
    Decoded, DecoderReport, DecoderSettings, Look, OverfitReport, OverfitSettings,
    compare_decoders, overfit_one_clip,
};
pub use pass::{Pass, denoising_pass};
pub use recipe::Recipe;
pub use run::{Event, Run, Summary};
pub use schedule::{Decay, Schedule};
pub use settings::{
    ActivationCheckpointing, BatchConfig, CheckpointConfig, ConditioningConfig, DreamboothConfig,
    EvaluationConfig, SamplesConfig, WorkingType,
};
pub use stage::TrainingStage;
