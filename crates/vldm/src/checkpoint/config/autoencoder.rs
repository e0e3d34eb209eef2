//! `AutoencoderKL`, `AutoencoderKLTemporalDecoder` and `VQModel`.

use serde_json::{Value, json};

use super::Json;
use crate::checkpoint::CheckpointError;

type Result<T> = std::result::Result<T, CheckpointError>;

/// An autoencoder as diffusers describes it. Lists have one entry per level, finest first.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusersAutoencoderConfig {
    /// Which of diffusers' models.
    pub kind: DiffusersAutoencoder,
    /// Channels of the pixels.
    pub image_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of each level.
    pub channels: Vec<usize>,
    /// Whether a level of the encoder and decoder has attention.
    pub attention: Vec<bool>,
    /// Residual blocks of each level of the encoder; one more in the decoder.
    pub layers_per_block: usize,
    /// Residual blocks in the middle of the decoder.
    pub decoder_mid_layers: usize,
    /// Whether the middle has attention.
    pub mid_attention: bool,
    /// Groups of the group normalisations.
    pub norm_groups: usize,
    /// Latents are multiplied by this before diffusion.
    pub scaling_factor: f64,
    /// A 1×1 convolution after the encoder.
    pub quant_conv: bool,
    /// A 1×1 convolution before the decoder.
    pub post_quant_conv: bool,
    /// Overflows in f16: compute in f32 or bf16.
    pub force_upcast: bool,
}

/// Which of diffusers' autoencoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffusersAutoencoder {
    /// `AutoencoderKL`.
    Kl,
    /// `AutoencoderKLTemporalDecoder`: a decoder with temporal layers (SVD).
    KlTemporalDecoder,
    /// `VQModel`.
    Vq {
        /// Entries of the codebook.
        codes: usize,
        /// Channels of an entry.
        code_channels: usize,
    },
}

const KL: &str = "AutoencoderKL";
const TEMPORAL: &str = "AutoencoderKLTemporalDecoder";
const VQ: &str = "VQModel";

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Kl,
    Temporal,
    Vq,
}

impl DiffusersAutoencoderConfig {
    /// Reads an autoencoder's `config.json`.
    ///
    /// # Errors
    ///
    /// Names the first key that is not understood or not supported.
    pub fn from_json(json: &Json) -> Result<Self> {
        let class = json.choice(
            "_class_name",
            KL,
            &[
                (KL, Class::Kl),
                (TEMPORAL, Class::Temporal),
                (VQ, Class::Vq),
            ],
        )?;
        unsupported(json)?;
        let channels = json.sizes("block_out_channels", &[64])?;
        let attention = blocks(json, class, channels.len())?;
        let image_channels = json.size("in_channels", 3)?;
        json.only("out_channels", json!(image_channels))?;
        let latent_channels =
            json.size("latent_channels", if class == Class::Vq { 3 } else { 4 })?;
        let layers_per_block = json.size("layers_per_block", 1)?;
        let norm_groups = match class {
            Class::Temporal => 32,
            _ => json.size("norm_num_groups", 32)?,
        };
        if channels.iter().any(|channels| channels % norm_groups != 0) {
            return Err(json.wrong(
                "block_out_channels",
                format!("multiples of norm_num_groups = {norm_groups}"),
            ));
        }
        let is_kl = class == Class::Kl;
        Ok(Self {
            kind: match class {
                Class::Kl => DiffusersAutoencoder::Kl,
                Class::Temporal => DiffusersAutoencoder::KlTemporalDecoder,
                Class::Vq => DiffusersAutoencoder::Vq {
                    codes: json.size("num_vq_embeddings", 256)?,
                    code_channels: json.size("vq_embed_dim", latent_channels)?,
                },
            },
            image_channels,
            latent_channels,
            attention,
            layers_per_block,
            decoder_mid_layers: match class {
                Class::Temporal => layers_per_block,
                _ => 2,
            },
            mid_attention: class == Class::Temporal
                || json.flag("mid_block_add_attention", true)?,
            norm_groups,
            scaling_factor: json.positive("scaling_factor", 0.18215)?,
            quant_conv: !is_kl || json.flag("use_quant_conv", true)?,
            post_quant_conv: match class {
                Class::Kl => json.flag("use_post_quant_conv", true)?,
                Class::Temporal => false,
                Class::Vq => true,
            },
            force_upcast: json.flag("force_upcast", class != Class::Vq)?,
            channels,
        })
    }

    /// The configuration in diffusers' own form, to be saved beside the weights.
    pub fn to_json(&self) -> Value {
        let block = |name: &str, attention: bool| {
            let attn = if attention { "Attn" } else { "" };
            format!("{attn}{name}")
        };
        let down = |&attention| block("DownEncoderBlock2D", attention);
        let up = |&attention| block("UpDecoderBlock2D", attention);
        let mut out = json!({
            "_class_name": match self.kind {
                DiffusersAutoencoder::Kl => KL,
                DiffusersAutoencoder::KlTemporalDecoder => TEMPORAL,
                DiffusersAutoencoder::Vq { .. } => VQ,
            },
            "in_channels": self.image_channels,
            "out_channels": self.image_channels,
            "latent_channels": self.latent_channels,
            "block_out_channels": self.channels,
            "layers_per_block": self.layers_per_block,
            "down_block_types": self.attention.iter().map(down).collect::<Vec<String>>(),
            "scaling_factor": self.scaling_factor,
            "force_upcast": self.force_upcast,
        });
        let mut set = |key: &str, value: Value| out[key] = value;
        if self.kind != DiffusersAutoencoder::KlTemporalDecoder {
            let up: Vec<String> = self.attention.iter().rev().map(up).collect();
            set("up_block_types", json!(up));
            set("norm_num_groups", json!(self.norm_groups));
            set("mid_block_add_attention", json!(self.mid_attention));
        }
        match self.kind {
            DiffusersAutoencoder::Kl => {
                set("use_quant_conv", json!(self.quant_conv));
                set("use_post_quant_conv", json!(self.post_quant_conv));
            }
            DiffusersAutoencoder::KlTemporalDecoder => {}
            DiffusersAutoencoder::Vq {
                codes,
                code_channels,
            } => {
                set("num_vq_embeddings", json!(codes));
                set("vq_embed_dim", json!(code_channels));
            }
        }
        out
    }
}

/// Settings of which one value is supported, which is also the default.
fn unsupported(json: &Json) -> Result<()> {
    json.only("act_fn", json!("silu"))?;
    json.only("norm_type", json!("group"))?;
    json.only("lookup_from_codebook", json!(false))?;
    json.only("shift_factor", json!(0.0))?;
    for key in ["latents_mean", "latents_std"] {
        if json.get(key).is_some() {
            return Err(json.wrong(key, "null (nothing else is supported)"));
        }
    }
    Ok(())
}

/// Whether each level has attention.
fn blocks(json: &Json, class: Class, levels: usize) -> Result<Vec<bool>> {
    let down = json.choices(
        "down_block_types",
        &["DownEncoderBlock2D"],
        levels,
        &[
            ("DownEncoderBlock2D", false),
            ("AttnDownEncoderBlock2D", true),
        ],
    )?;
    if class == Class::Temporal {
        if down.contains(&true) {
            return Err(json.wrong("down_block_types", "DownEncoderBlock2D only"));
        }
        return Ok(down);
    }
    let mut up = json.choices(
        "up_block_types",
        &["UpDecoderBlock2D"],
        levels,
        &[("UpDecoderBlock2D", false), ("AttnUpDecoderBlock2D", true)],
    )?;
    up.reverse();
    if up == down {
        Ok(down)
    } else {
        Err(json.wrong(
            "up_block_types",
            "the kinds of `down_block_types` in reverse order (nothing else is supported)",
        ))
    }
}
