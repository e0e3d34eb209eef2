//! Our configurations in diffusers' and transformers' form, to be saved beside the weights.

use serde_json::{Value, json};

use super::NoiseDescription;
use crate::autoencoder::{AutoencoderConfig, Regularization};
use crate::checkpoint::config as theirs;
use crate::checkpoint::config::{
    BetaSchedule, DiffusersAutoencoder, DiffusersAutoencoderConfig, DiffusersNoiseConfig,
    DiffusersUNetConfig, Prediction, Scalars, Spacing,
};
use crate::diffusion::{
    BetaRange, FinalSigma, LevelSpacing, NoiseScheduleConfig, Parameterization, StepSpacing,
};
use crate::error::{Error, Result};
use crate::sampler::SamplerConfig;
use crate::text::{ClipActivation, ClipTextConfig, ClipVisionConfig, Tokenizer};
use crate::unet::{NormEps, ProjectionLayout, UNetConfig, VectorConfig};

/// Refuses what diffusers' layout cannot say.
fn check(config: &UNetConfig) -> Result<()> {
    let levels = &config.levels;
    let attends =
        config.mid_transformer.is_some() || levels.iter().any(|level| level.transformer.is_some());
    if attends && config.context_width.is_none() {
        return Err(Error::Input(
            "diffusers' layout has no U-Net whose transformers read no context".into(),
        ));
    }
    let last = levels.last().and_then(|level| level.transformer);
    if let (Some(last), Some(middle)) = (last, config.mid_transformer)
        && (last.heads, last.blocks) != (middle.heads, middle.blocks)
    {
        return Err(Error::Input(format!(
            "diffusers' layout has no U-Net whose middle has {} heads and {} blocks beside {} and {} in \
             its last level",
            middle.heads, middle.blocks, last.heads, last.blocks
        )));
    }
    Ok(())
}

/// `num_frames` makes it a video model.
pub(super) fn unet(
    config: &UNetConfig,
    sample_size: Option<[usize; 2]>,
    num_frames: Option<usize>,
) -> Result<Value> {
    check(config)?;
    let levels = &config.levels;
    let transformer = |index: usize| levels[index].transformer;
    let all = |default: usize, get: fn(crate::unet::TransformerConfig) -> usize| {
        let last = config.mid_transformer.map_or(default, get);
        (0..levels.len())
            .map(|index| transformer(index).map_or(last, get))
            .collect::<Vec<usize>>()
    };
    let foreign = DiffusersUNetConfig {
        in_channels: config.in_channels,
        out_channels: config.out_channels,
        sample_size,
        channels: levels.iter().map(|level| level.channels).collect(),
        layers_per_block: levels.iter().map(|level| level.resnet_blocks).collect(),
        attention: levels
            .iter()
            .map(|level| level.transformer.is_some())
            .collect(),
        self_attention: levels
            .iter()
            .map(|level| {
                level
                    .transformer
                    .is_none_or(|transformer| transformer.self_attention)
            })
            .collect(),
        mid_self_attention: config
            .mid_transformer
            .map(|transformer| transformer.self_attention),
        transformer_layers: all(1, |transformer| transformer.blocks),
        heads: all(8, |transformer| transformer.heads),
        context_width: config.context_width,
        linear_projection: config.projection == ProjectionLayout::Linear,
        norm_groups: config.norm_groups,
        norm_eps: match config.norm_eps {
            NormEps::Uniform { eps } => eps,
            NormEps::StableVideoDiffusion => 1e-5,
        },
        class_labels: match config.vector {
            VectorConfig::Label { count } => Some(count),
            _ => None,
        },
        scalars: match config.vector {
            VectorConfig::Scalars { count, width } => Some(Scalars { count, width }),
            _ => None,
        },
        position_octaves: config.position_octaves,
        upcast_attention: false,
        num_frames,
    };
    Ok(foreign.to_json())
}

pub(super) fn autoencoder(config: &AutoencoderConfig, temporal: bool) -> Value {
    let foreign = DiffusersAutoencoderConfig {
        kind: match (config.regularization, temporal) {
            (_, true) => DiffusersAutoencoder::KlTemporalDecoder,
            (Regularization::Kl, false) => DiffusersAutoencoder::Kl,
            (
                Regularization::Vq {
                    codes,
                    code_channels,
                },
                false,
            ) => DiffusersAutoencoder::Vq {
                codes,
                code_channels,
            },
        },
        image_channels: config.image_channels,
        latent_channels: config.latent_channels,
        channels: config.levels.iter().map(|level| level.channels).collect(),
        attention: config.levels.iter().map(|level| level.attention).collect(),
        layers_per_block: config.resnet_blocks,
        decoder_mid_layers: config.decoder_mid_resnet_blocks,
        mid_attention: config.mid_attention,
        norm_groups: config.norm_groups,
        scaling_factor: config.scale_factor,
        quant_conv: config.quant_conv,
        post_quant_conv: config.post_quant_conv,
        force_upcast: temporal,
    };
    foreign.to_json()
}

fn activation(activation: ClipActivation) -> theirs::ClipActivation {
    match activation {
        ClipActivation::QuickGelu => theirs::ClipActivation::QuickGelu,
        ClipActivation::Gelu => theirs::ClipActivation::Gelu,
    }
}

pub(super) fn clip_text(config: &ClipTextConfig) -> Value {
    let foreign = theirs::ClipTextConfig {
        vocabulary: config.vocabulary,
        positions: config.max_tokens,
        width: config.width,
        mlp_width: config.mlp_width,
        layers: config.layers,
        heads: config.heads,
        activation: activation(config.activation),
        layer_norm_eps: config.norm_eps,
        projection: config.width,
    };
    foreign.to_json()
}

pub(super) fn clip_vision(config: &ClipVisionConfig) -> Value {
    let foreign = theirs::ClipVisionConfig {
        image_size: config.image_size,
        patch_size: config.patch_size,
        channels: config.in_channels,
        width: config.width,
        mlp_width: config.mlp_width,
        layers: config.layers,
        heads: config.heads,
        activation: activation(config.activation),
        layer_norm_eps: config.norm_eps,
        projection: config.projection,
    };
    foreign.to_json()
}

/// Of a tokenizer with the vocabulary inside the program, CLIP's. Where the text encoder knows only some
/// words, they are listed under a key of our own.
pub(super) fn tokenizer(max_tokens: usize, tokenizer: Option<&Tokenizer>) -> Value {
    let exclamation_mark = tokenizer.is_some_and(|tokenizer| tokenizer.pad_id() == 0);
    let mut config = json!({
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": max_tokens,
        "pad_token": if exclamation_mark { "!" } else { "<|endoftext|>" },
    });
    if let Some(words) = tokenizer.and_then(Tokenizer::words) {
        config["words"] = json!(words);
    }
    config
}

pub(super) fn noise(noise: &NoiseDescription) -> Value {
    let (schedule, range, continuous) = schedule(&noise.schedule);
    let (spacing, steps_offset) = match noise.steps.spacing {
        StepSpacing::Leading { offset } => (Spacing::Leading, offset),
        StepSpacing::Trailing {} => (Spacing::Trailing, 0),
        StepSpacing::Linspace {} => (Spacing::Linspace, 0),
    };
    let karras = match noise.steps.levels {
        LevelSpacing::Karras {
            sigma_min,
            sigma_max,
            ..
        } => Some((sigma_min, sigma_max)),
        LevelSpacing::Table {} => None,
    };
    let foreign = DiffusersNoiseConfig {
        class_name: class_name(noise.sampler).into(),
        num_train_timesteps: range.steps,
        beta_start: range.beta_start,
        beta_end: range.beta_end,
        beta_schedule: schedule,
        prediction: match noise.parameterization {
            Parameterization::Epsilon => Prediction::Epsilon,
            Parameterization::V => Prediction::V,
            Parameterization::X0 => Prediction::X0,
        },
        spacing,
        steps_offset,
        set_alpha_to_one: noise.ddim_final_sigma == FinalSigma::Zero,
        use_karras_sigmas: continuous.is_some() || karras.is_some(),
        continuous_timestep: continuous.is_some(),
        sigma_range: continuous.or(karras).unwrap_or_default(),
        rescale_zero_snr: range.zero_terminal_snr,
        clip_sample: None,
        final_sigma: match noise.steps.final_sigma {
            FinalSigma::Zero => theirs::FinalSigma::Zero,
            FinalSigma::FirstOfTable => theirs::FinalSigma::SigmaMin,
        },
        eta: match noise.sampler {
            SamplerConfig::Ddim { eta } => eta,
            _ => 0.0,
        },
    };
    foreign.to_json()
}

/// Ends of the noise levels, where they are known.
type Ends = (Option<f64>, Option<f64>);

/// The table of β, and the ends of the levels where they are continuous.
fn schedule(schedule: &NoiseScheduleConfig) -> (BetaSchedule, BetaRange, Option<Ends>) {
    match *schedule {
        NoiseScheduleConfig::Linear(range) => (BetaSchedule::Linear, range, None),
        NoiseScheduleConfig::ScaledLinear(range) => (BetaSchedule::ScaledLinear, range, None),
        NoiseScheduleConfig::Edm {
            sigma_min,
            sigma_max,
            ..
        } => {
            let range = BetaRange {
                beta_start: 0.00085,
                beta_end: 0.012,
                steps: 1000,
                zero_terminal_snr: false,
            };
            let ends = (Some(sigma_min), Some(sigma_max));
            (BetaSchedule::ScaledLinear, range, Some(ends))
        }
    }
}

fn class_name(sampler: SamplerConfig) -> &'static str {
    match sampler {
        SamplerConfig::Euler {} => "EulerDiscreteScheduler",
        SamplerConfig::EulerAncestral {} => "EulerAncestralDiscreteScheduler",
        SamplerConfig::Heun {} => "HeunDiscreteScheduler",
        SamplerConfig::Dpmpp2m {} => "DPMSolverMultistepScheduler",
        // What that is with as much noise as it took away.
        SamplerConfig::Ddim { eta: 1.0 } => "DDPMScheduler",
        SamplerConfig::Ddim { .. } => "DDIMScheduler",
    }
}
