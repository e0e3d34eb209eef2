//! A model's noise levels and default steps, read from diffusers' `scheduler_config.json`.

use crate::checkpoint::config::{
    BetaSchedule, DiffusersNoiseConfig, FinalSigma as DiffusersFinalSigma, Prediction, Spacing,
};
use crate::diffusion::{
    BetaRange, FinalSigma, LevelSpacing, NoiseScheduleConfig, Parameterization, StepSpacing,
    StepsConfig,
};
use crate::error::{Error, Result};
use crate::sampler::SamplerConfig;

/// Noise levels, what the network predicts, and the steps a model is usually run with.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseDescription {
    /// The noise levels the model knows.
    pub schedule: NoiseScheduleConfig,
    /// What the network predicts.
    pub parameterization: Parameterization,
    /// How steps are picked.
    pub steps: StepsConfig,
    /// Where DDIM's last step ends; other samplers end at zero.
    pub ddim_final_sigma: FinalSigma,
    /// The stepping rule the model names, or the nearest to it.
    pub sampler: SamplerConfig,
}

impl NoiseDescription {
    pub(super) fn from_diffusers(config: &DiffusersNoiseConfig) -> Result<Self> {
        if let Some(range) = config.clip_sample {
            return Err(Error::Config(format!(
                "scheduler: clip_sample is on (range {range}), which latent models do not use; \
                 set it to false in scheduler_config.json"
            )));
        }
        Ok(Self {
            schedule: schedule(config)?,
            parameterization: parameterization(config.prediction),
            steps: StepsConfig {
                spacing: match config.spacing {
                    Spacing::Leading => StepSpacing::Leading {
                        offset: config.steps_offset,
                    },
                    Spacing::Trailing => StepSpacing::Trailing {},
                    Spacing::Linspace => StepSpacing::Linspace {},
                },
                levels: match config.use_karras_sigmas && !config.continuous_timestep {
                    true => LevelSpacing::Karras {
                        sigma_min: config.sigma_range.0,
                        sigma_max: config.sigma_range.1,
                        rho: 7.0,
                    },
                    false => LevelSpacing::Table {},
                },
                final_sigma: match config.final_sigma {
                    DiffusersFinalSigma::Zero => FinalSigma::Zero,
                    DiffusersFinalSigma::SigmaMin => FinalSigma::FirstOfTable,
                },
            },
            ddim_final_sigma: match config.set_alpha_to_one {
                true => FinalSigma::Zero,
                false => FinalSigma::FirstOfTable,
            },
            sampler: sampler(&config.class_name, config.eta),
        })
    }

    /// The family's usual noise levels, for single files, which do not state them.
    pub(super) fn stable_diffusion(
        [beta_start, beta_end]: [f64; 2],
        parameterization: Parameterization,
    ) -> Self {
        Self {
            schedule: NoiseScheduleConfig::ScaledLinear(BetaRange {
                beta_start,
                beta_end,
                steps: 1000,
                zero_terminal_snr: false,
            }),
            parameterization,
            steps: StepsConfig {
                spacing: StepSpacing::Leading { offset: 1 },
                levels: LevelSpacing::Table {},
                final_sigma: FinalSigma::Zero,
            },
            ddim_final_sigma: FinalSigma::FirstOfTable,
            sampler: SamplerConfig::Ddim { eta: 0.0 },
        }
    }

    /// Stable Video Diffusion's continuous noise levels (arXiv:2311.15127, appendix D).
    pub(super) fn stable_video_diffusion() -> Self {
        Self {
            schedule: NoiseScheduleConfig::Edm {
                sigma_min: 0.002,
                sigma_max: 700.0,
                rho: 7.0,
            },
            parameterization: Parameterization::V,
            steps: StepsConfig {
                spacing: StepSpacing::Leading { offset: 1 },
                levels: LevelSpacing::Table {},
                final_sigma: FinalSigma::Zero,
            },
            ddim_final_sigma: FinalSigma::Zero,
            sampler: SamplerConfig::Euler {},
        }
    }

    /// The steps for a sampler: where the last one ends depends on it.
    pub fn steps_for(&self, sampler: &SamplerConfig) -> StepsConfig {
        let continuous = matches!(self.schedule, NoiseScheduleConfig::Edm { .. });
        match sampler {
            SamplerConfig::Ddim { .. } if !continuous => StepsConfig {
                final_sigma: self.ddim_final_sigma,
                ..self.steps
            },
            _ => self.steps,
        }
    }
}

fn schedule(config: &DiffusersNoiseConfig) -> Result<NoiseScheduleConfig> {
    let range = BetaRange {
        beta_start: config.beta_start,
        beta_end: config.beta_end,
        steps: config.num_train_timesteps,
        zero_terminal_snr: config.rescale_zero_snr,
    };
    match (config.continuous_timestep, config.beta_schedule) {
        (true, _) => Ok(NoiseScheduleConfig::Edm {
            sigma_min: config.sigma_range.0.unwrap_or(0.002),
            sigma_max: config.sigma_range.1.unwrap_or(700.0),
            rho: 7.0,
        }),
        (false, BetaSchedule::Linear) => Ok(NoiseScheduleConfig::Linear(range)),
        (false, BetaSchedule::ScaledLinear) => Ok(NoiseScheduleConfig::ScaledLinear(range)),
        (false, BetaSchedule::Cosine) => Err(Error::Config(
            "scheduler: beta_schedule is squaredcos_cap_v2, expected linear or scaled_linear"
                .into(),
        )),
    }
}

pub(super) fn parameterization(prediction: Prediction) -> Parameterization {
    match prediction {
        Prediction::Epsilon => Parameterization::Epsilon,
        Prediction::V => Parameterization::V,
        Prediction::X0 => Parameterization::X0,
    }
}

/// The stepping rule that a diffusers class stands for; DDIM for those we do not have (PNDM's
/// first-order form).
fn sampler(class_name: &str, eta: f64) -> SamplerConfig {
    match class_name {
        "EulerDiscreteScheduler" => SamplerConfig::Euler {},
        "EulerAncestralDiscreteScheduler" => SamplerConfig::EulerAncestral {},
        "HeunDiscreteScheduler" => SamplerConfig::Heun {},
        "DPMSolverMultistepScheduler" => SamplerConfig::Dpmpp2m {},
        _ => SamplerConfig::Ddim { eta },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::config::Json;
    use crate::model::{ModelDescription, to_foreign};
    use crate::preset::Preset;

    #[test]
    fn what_presets_say_survives_a_file() {
        let mut seen = 0;
        for name in Preset::names() {
            let preset = Preset::load(name).unwrap();
            let Ok(ModelDescription {
                noise: Some(noise), ..
            }) = ModelDescription::from_preset(&preset, 0)
            else {
                continue;
            };
            let text = to_foreign::noise(&noise).to_string();
            let json = Json::parse(Path::new("scheduler_config.json"), text.as_bytes()).unwrap();
            let config = DiffusersNoiseConfig::from_json(&json).unwrap();
            assert_eq!(
                NoiseDescription::from_diffusers(&config).unwrap(),
                noise,
                "{name}"
            );
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }
}
