//! Foreign configurations into ours, field by field.

use crate::autoencoder::{
    AutoencoderConfig, AutoencoderLevel, Regularization, TemporalDecoderConfig,
};
use crate::checkpoint::config as theirs;
use crate::checkpoint::config::DiffusersUNetConfig;
use crate::checkpoint::config::{DiffusersAutoencoder, DiffusersAutoencoderConfig};
use crate::checkpoint::single_file::{DetectedAutoencoder, DetectedUNet};
use crate::error::Result;
use crate::model::{AutoencoderDescription, UNetDescription};
use crate::nn::temporal::{AlphaConfig, TemporalStart, TimeKernel};
use crate::text::{ClipActivation, ClipTextConfig, ClipVisionConfig};
use crate::unet::{
    LevelConfig, NormEps, ProjectionLayout, TemporalConfig, TransformerConfig, UNetConfig,
    VectorConfig,
};

pub(super) fn unet(from: &DiffusersUNetConfig) -> Result<UNetDescription> {
    let last = from.channels.len() - 1;
    let config = UNetConfig {
        in_channels: from.in_channels,
        out_channels: from.out_channels,
        levels: (0..=last)
            .map(|level| LevelConfig {
                channels: from.channels[level],
                resnet_blocks: from.layers_per_block[level],
                transformer: from.attention[level].then(|| TransformerConfig {
                    heads: from.heads[level],
                    blocks: from.transformer_layers[level],
                    self_attention: from.self_attention[level],
                }),
            })
            .collect(),
        mid_transformer: from
            .mid_self_attention
            .map(|self_attention| TransformerConfig {
                heads: from.heads[last],
                blocks: from.transformer_layers[last],
                self_attention,
            }),
        context_width: from.context_width,
        vector: match (from.class_labels, from.scalars) {
            (Some(count), _) => VectorConfig::Label { count },
            (None, Some(scalars)) => scalars_config(scalars),
            (None, None) => VectorConfig::None,
        },
        norm_groups: from.norm_groups,
        norm_eps: match from.is_video() {
            true => NormEps::StableVideoDiffusion,
            false => NormEps::Uniform { eps: from.norm_eps },
        },
        position_octaves: from.position_octaves,
        projection: projection(from.linear_projection),
    };
    config.validate()?;
    Ok(UNetDescription {
        temporal: from
            .context_width
            .filter(|_| from.is_video())
            .map(svd_temporal),
        config,
        sample_size: from.sample_size,
        num_frames: from.num_frames,
    })
}

pub(super) fn detected_unet(from: &DetectedUNet) -> Result<UNetDescription> {
    let last = from.channels.len() - 1;
    let transformer = |level: usize| TransformerConfig {
        heads: from.heads[level],
        blocks: from.transformer_layers[level],
        self_attention: from.self_attention[level],
    };
    let config = UNetConfig {
        in_channels: from.in_channels,
        out_channels: from.out_channels,
        levels: (0..=last)
            .map(|level| LevelConfig {
                channels: from.channels[level],
                resnet_blocks: from.layers_per_block,
                transformer: from.attention[level].then(|| transformer(level)),
            })
            .collect(),
        mid_transformer: from.mid_attention.then(|| TransformerConfig {
            self_attention: true,
            ..transformer(last)
        }),
        context_width: from.context_width,
        vector: match (from.class_labels, from.scalars) {
            (Some(count), _) => VectorConfig::Label { count },
            (None, Some(scalars)) => scalars_config(scalars),
            (None, None) => VectorConfig::None,
        },
        norm_groups: 32,
        // The original code has 1e-5 everywhere; diffusers' values are kept for video models so
        // that a file gives the same picture in either layout.
        norm_eps: match from.temporal {
            true => NormEps::StableVideoDiffusion,
            false => NormEps::Uniform { eps: 1e-5 },
        },
        position_octaves: 0,
        projection: projection(from.linear_projection),
    };
    config.validate()?;
    Ok(UNetDescription {
        temporal: match (from.temporal, from.context_width) {
            (true, Some(width)) => Some(svd_temporal(width)),
            _ => None,
        },
        config,
        sample_size: None,
        // The first of the public ones; a file does not tell it from the one of 25.
        num_frames: from.temporal.then_some(14),
    })
}

fn scalars_config(scalars: theirs::Scalars) -> VectorConfig {
    VectorConfig::Scalars {
        count: scalars.count,
        width: scalars.width,
    }
}

fn projection(linear: bool) -> ProjectionLayout {
    match linear {
        true => ProjectionLayout::Linear,
        false => ProjectionLayout::Convolution,
    }
}

/// Stable Video Diffusion's temporal layers.
fn svd_temporal(context_width: usize) -> TemporalConfig {
    TemporalConfig {
        context_width: Some(context_width),
        observed: None,
        positions: true,
        alpha: AlphaConfig::Scalar,
        start: TemporalStart::Svd,
    }
}

fn svd_temporal_decoder() -> TemporalDecoderConfig {
    TemporalDecoderConfig {
        kernel: TimeKernel::Time,
        alpha: AlphaConfig::Scalar,
        start: TemporalStart::Svd,
    }
}

fn levels(channels: &[usize], attention: &[bool]) -> Vec<AutoencoderLevel> {
    let level = |(&channels, &attention)| AutoencoderLevel {
        channels,
        attention,
    };
    channels.iter().zip(attention).map(level).collect()
}

pub(super) fn autoencoder(from: &DiffusersAutoencoderConfig) -> Result<AutoencoderDescription> {
    let config = AutoencoderConfig {
        image_channels: from.image_channels,
        latent_channels: from.latent_channels,
        levels: levels(&from.channels, &from.attention),
        resnet_blocks: from.layers_per_block,
        decoder_mid_resnet_blocks: from.decoder_mid_layers,
        mid_attention: from.mid_attention,
        norm_groups: from.norm_groups,
        regularization: match from.kind {
            DiffusersAutoencoder::Vq {
                codes,
                code_channels,
            } => Regularization::Vq {
                codes,
                code_channels,
            },
            _ => Regularization::Kl,
        },
        quant_conv: from.quant_conv,
        post_quant_conv: from.post_quant_conv,
        scale_factor: from.scaling_factor,
    };
    config.validate()?;
    let temporal = from.kind == DiffusersAutoencoder::KlTemporalDecoder;
    Ok(AutoencoderDescription {
        config,
        temporal: temporal.then(svd_temporal_decoder),
    })
}

pub(super) fn detected_autoencoder(from: &DetectedAutoencoder) -> Result<AutoencoderDescription> {
    let config = AutoencoderConfig {
        image_channels: from.image_channels,
        latent_channels: from.latent_channels,
        levels: levels(&from.channels, &from.attention),
        resnet_blocks: from.layers_per_block,
        decoder_mid_resnet_blocks: 2,
        mid_attention: from.mid_attention,
        norm_groups: 32,
        regularization: Regularization::Kl,
        quant_conv: from.quant_conv,
        post_quant_conv: from.post_quant_conv,
        scale_factor: from.scaling_factor,
    };
    config.validate()?;
    Ok(AutoencoderDescription {
        config,
        temporal: from.temporal.then(svd_temporal_decoder),
    })
}

fn activation(from: theirs::ClipActivation) -> ClipActivation {
    match from {
        theirs::ClipActivation::QuickGelu => ClipActivation::QuickGelu,
        theirs::ClipActivation::Gelu => ClipActivation::Gelu,
    }
}

pub(super) fn clip_text(from: &theirs::ClipTextConfig) -> Result<ClipTextConfig> {
    let config = ClipTextConfig {
        vocabulary: from.vocabulary,
        width: from.width,
        layers: from.layers,
        heads: from.heads,
        mlp_width: from.mlp_width,
        max_tokens: from.positions,
        activation: activation(from.activation),
        norm_eps: from.layer_norm_eps,
    };
    config.validate()?;
    Ok(config)
}

pub(super) fn clip_vision(from: &theirs::ClipVisionConfig) -> Result<ClipVisionConfig> {
    let config = ClipVisionConfig {
        image_size: from.image_size,
        patch_size: from.patch_size,
        in_channels: from.channels,
        width: from.width,
        layers: from.layers,
        heads: from.heads,
        mlp_width: from.mlp_width,
        projection: from.projection,
        activation: activation(from.activation),
        norm_eps: from.layer_norm_eps,
    };
    config.validate()?;
    Ok(config)
}
