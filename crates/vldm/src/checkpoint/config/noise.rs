//! Noise schedules: what diffusers keeps in `scheduler_config.json`. We read the table of noise
//! levels and what the model predicts from it; the stepping rule is the user's choice, its name
//! here only a default.

use serde_json::{Value, json};

use super::Json;
use crate::checkpoint::CheckpointError;

type Result<T> = std::result::Result<T, CheckpointError>;

/// A `scheduler_config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusersNoiseConfig {
    /// diffusers' class, which names the stepping rule ("EulerDiscreteScheduler").
    pub class_name: String,
    /// Length of the table.
    pub num_train_timesteps: usize,
    /// First β.
    pub beta_start: f64,
    /// Last β.
    pub beta_end: f64,
    /// What lies between.
    pub beta_schedule: BetaSchedule,
    /// What the model predicts.
    pub prediction: Prediction,
    /// How steps are picked from the table.
    pub spacing: Spacing,
    /// Added to leading timesteps.
    pub steps_offset: usize,
    /// Whether the step before the first has ᾱ = 1 rather than the table's first value.
    pub set_alpha_to_one: bool,
    /// Steps along the Karras (EDM) spacing of noise levels.
    pub use_karras_sigmas: bool,
    /// The model is told ¼ ln σ instead of the index (SVD).
    pub continuous_timestep: bool,
    /// Bounds of the noise levels, where the file states them.
    pub sigma_range: (Option<f64>, Option<f64>),
    /// The table is rescaled to end in pure noise.
    pub rescale_zero_snr: bool,
    /// Clamp of the predicted x₀, where the file asks for it (pixel-space models).
    pub clip_sample: Option<f64>,
    /// Noise level after the last step.
    pub final_sigma: FinalSigma,
    /// The share of fresh noise in a step of DDIM. The class says it (`DDPMScheduler` 1, others 0), or a key
    /// of our own.
    pub eta: f64,
}

/// What lies between the first and last β.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BetaSchedule {
    /// A straight line.
    Linear,
    /// The square of a straight line between the roots (Stable Diffusion).
    ScaledLinear,
    /// `squaredcos_cap_v2`: from a cosine of ᾱ.
    Cosine,
}

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// Velocity (Salimans & Ho).
    V,
    /// The clean sample.
    X0,
}

/// How steps are picked from the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Multiples of the stride from the low end.
    Leading,
    /// Evenly from end to end.
    Linspace,
    /// Multiples of the stride from the high end.
    Trailing,
}

/// Noise level after the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalSigma {
    /// None.
    Zero,
    /// The lowest of the table.
    SigmaMin,
}

/// diffusers' classes whose settings we read, with their default spacing and β range.
const CLASSES: [(&str, &str, (f64, f64)); 12] = [
    ("DDIMScheduler", "leading", ORIGINAL),
    ("DDPMScheduler", "leading", ORIGINAL),
    ("PNDMScheduler", "leading", ORIGINAL),
    ("EulerDiscreteScheduler", "linspace", ORIGINAL),
    ("EulerAncestralDiscreteScheduler", "linspace", ORIGINAL),
    ("LMSDiscreteScheduler", "linspace", ORIGINAL),
    ("HeunDiscreteScheduler", "linspace", (0.00085, 0.012)),
    ("DPMSolverMultistepScheduler", "linspace", ORIGINAL),
    ("DPMSolverSinglestepScheduler", "linspace", ORIGINAL),
    ("UniPCMultistepScheduler", "linspace", ORIGINAL),
    ("DEISMultistepScheduler", "linspace", ORIGINAL),
    ("KDPM2DiscreteScheduler", "linspace", (0.00085, 0.012)),
];
const ORIGINAL: (f64, f64) = (0.0001, 0.02);

const BETAS: [(&str, BetaSchedule); 3] = [
    ("linear", BetaSchedule::Linear),
    ("scaled_linear", BetaSchedule::ScaledLinear),
    ("squaredcos_cap_v2", BetaSchedule::Cosine),
];
const PREDICTIONS: [(&str, Prediction); 3] = [
    ("epsilon", Prediction::Epsilon),
    ("v_prediction", Prediction::V),
    ("sample", Prediction::X0),
];
const SPACINGS: [(&str, Spacing); 3] = [
    ("leading", Spacing::Leading),
    ("linspace", Spacing::Linspace),
    ("trailing", Spacing::Trailing),
];
const TIMESTEPS: [(&str, bool); 2] = [("discrete", false), ("continuous", true)];
const FINAL_SIGMAS: [(&str, FinalSigma); 2] = [
    ("zero", FinalSigma::Zero),
    ("sigma_min", FinalSigma::SigmaMin),
];

/// The file's word for one of our values.
fn word<T: PartialEq>(of: &[(&'static str, T)], value: &T) -> Option<&'static str> {
    of.iter()
        .find(|(_, other)| other == value)
        .map(|(name, _)| *name)
}

impl DiffusersNoiseConfig {
    /// Reads a `scheduler_config.json`.
    ///
    /// # Errors
    ///
    /// Names the first key that is not understood or not supported.
    pub fn from_json(json: &Json) -> Result<Self> {
        let (class_name, spacing, betas) = class(json)?;
        if json.get("trained_betas").is_some() {
            return Err(json.wrong("trained_betas", "null (nothing else is supported)"));
        }
        json.only("thresholding", json!(false))?;
        let is_first = class_name == "DDIMScheduler" || class_name == "DDPMScheduler";
        let clips = json.flag("clip_sample", is_first)?;
        Ok(Self {
            class_name: class_name.to_owned(),
            num_train_timesteps: json.size("num_train_timesteps", 1000)?,
            beta_start: beta(json, "beta_start", betas.0)?,
            beta_end: beta(json, "beta_end", betas.1)?,
            beta_schedule: json.choice("beta_schedule", "linear", &BETAS)?,
            prediction: json.choice("prediction_type", "epsilon", &PREDICTIONS)?,
            spacing: json.choice("timestep_spacing", spacing, &SPACINGS)?,
            steps_offset: json.count("steps_offset", 0)?,
            set_alpha_to_one: json.flag("set_alpha_to_one", class_name != "PNDMScheduler")?,
            use_karras_sigmas: json.flag("use_karras_sigmas", false)?,
            continuous_timestep: json.choice("timestep_type", "discrete", &TIMESTEPS)?,
            sigma_range: (sigma(json, "sigma_min")?, sigma(json, "sigma_max")?),
            rescale_zero_snr: json.flag("rescale_betas_zero_snr", false)?,
            clip_sample: match clips {
                true => Some(json.positive("clip_sample_range", 1.0)?),
                false => None,
            },
            final_sigma: json.choice("final_sigmas_type", "zero", &FINAL_SIGMAS)?,
            eta: eta(json, class_name)?,
        })
    }

    /// The configuration in diffusers' own form.
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "_class_name": self.class_name,
            "num_train_timesteps": self.num_train_timesteps,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": word(&BETAS, &self.beta_schedule),
            "prediction_type": word(&PREDICTIONS, &self.prediction),
            "timestep_spacing": word(&SPACINGS, &self.spacing),
            "steps_offset": self.steps_offset,
            "set_alpha_to_one": self.set_alpha_to_one,
            "use_karras_sigmas": self.use_karras_sigmas,
            "timestep_type": word(&TIMESTEPS, &self.continuous_timestep),
            "sigma_min": self.sigma_range.0,
            "sigma_max": self.sigma_range.1,
            "rescale_betas_zero_snr": self.rescale_zero_snr,
            "clip_sample": self.clip_sample.is_some(),
            "clip_sample_range": self.clip_sample,
            "final_sigmas_type": word(&FINAL_SIGMAS, &self.final_sigma),
        });
        if self.eta != eta_of(&self.class_name) {
            json["eta"] = json!(self.eta);
        }
        json
    }
}

fn class(json: &Json) -> Result<(&str, &'static str, (f64, f64))> {
    let class_name = json.text("_class_name", "DDIMScheduler")?;
    match CLASSES.iter().find(|(name, ..)| *name == class_name) {
        Some(&(_, spacing, betas)) => Ok((class_name, spacing, betas)),
        None => {
            let names: Vec<&str> = CLASSES.iter().map(|(name, ..)| *name).collect();
            Err(json.wrong("_class_name", format!("one of {}", names.join(", "))))
        }
    }
}

fn beta(json: &Json, key: &str, default: f64) -> Result<f64> {
    let beta = json.positive(key, default)?;
    if beta < 1.0 {
        Ok(beta)
    } else {
        Err(json.wrong(key, "a number between 0 and 1"))
    }
}

fn eta_of(class_name: &str) -> f64 {
    match class_name {
        "DDPMScheduler" => 1.0,
        _ => 0.0,
    }
}

fn eta(json: &Json, class_name: &str) -> Result<f64> {
    match json.get("eta").map(Value::as_f64) {
        None => Ok(eta_of(class_name)),
        Some(Some(eta)) if (0.0..=1.0).contains(&eta) => Ok(eta),
        Some(_) => Err(json.wrong("eta", "a number from 0 to 1")),
    }
}

fn sigma(json: &Json, key: &str) -> Result<Option<f64>> {
    match json.get(key) {
        None => Ok(None),
        Some(_) => json.positive(key, 1.0).map(Some),
    }
}
