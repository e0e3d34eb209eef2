//! Questions to a single file's names and shapes.

use super::{DetectedAutoencoder, DetectedUNet, Family, SD1_TEXT, SD2_TEXT, SVD_VISION};
use crate::checkpoint::config::{ClipActivation, ClipTextConfig, ClipVisionConfig, Scalars};
use crate::checkpoint::key_map::{AUTOENCODER, SVD_ENCODER, UNET};
use crate::checkpoint::{CheckpointError, Weights};

type Result<T> = std::result::Result<T, CheckpointError>;

pub(super) fn other_layout(weights: &Weights) -> String {
    let found = if weights.contains("conv_in.weight") && weights.contains_prefix("down_blocks.") {
        "one part in diffusers' layout: put it into a folder with its config.json"
    } else if weights.contains_prefix("lora_") || weights.names().any(|n| n.contains("lora_")) {
        "a LoRA adapter, which changes a model but is none"
    } else {
        "no single-file checkpoint (no `model.diffusion_model.input_blocks.0.0.weight` in it)"
    };
    found.to_owned()
}

/// Questions to a single file.
pub(super) struct Probe<'a>(pub(super) &'a Weights);

impl Probe<'_> {
    pub(super) fn unsupported(&self, found: &str) -> CheckpointError {
        CheckpointError::unsupported(
            self.0.path(),
            format!(
                "this is {found}; single files of Stable Diffusion 1.x and 2.x, its x4-upscaler \
                 and Stable Video Diffusion are supported"
            ),
        )
    }

    /// One dimension of a tensor that must be there.
    fn dim(&self, name: &str, axis: usize) -> Result<usize> {
        match self.0.shape(name) {
            None => Err(CheckpointError::damaged(
                self.0.path(),
                format!("a single-file checkpoint has a tensor `{name}`, this has none"),
            )),
            Some(shape) => shape
                .get(axis)
                .copied()
                .filter(|&dim| dim > 0)
                .ok_or_else(|| {
                    CheckpointError::damaged(
                        self.0.path(),
                        format!("tensor `{name}` has the impossible shape {shape:?}"),
                    )
                }),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// How many of `prefix0.`, `prefix1.`, … there are, in a row.
    fn run(&self, prefix: &str) -> usize {
        (0..self.0.len())
            .take_while(|n| self.0.contains_prefix(&format!("{prefix}{n}.")))
            .count()
    }

    pub(super) fn unet(&self) -> Result<DetectedUNet> {
        let of = |name: &str| format!("{UNET}{name}");
        let mut unet = DetectedUNet {
            in_channels: self.dim(&of("input_blocks.0.0.weight"), 1)?,
            out_channels: self.dim(&of("out.2.weight"), 0)?,
            channels: Vec::new(),
            layers_per_block: 0,
            attention: Vec::new(),
            self_attention: Vec::new(),
            transformer_layers: Vec::new(),
            mid_attention: self.has(&of("middle_block.1.proj_in.weight")),
            heads: Vec::new(),
            context_width: None,
            linear_projection: true,
            class_labels: None,
            scalars: None,
            temporal: self.0.contains_prefix(&of("input_blocks.1.0.time_stack.")),
        };
        if self.has(&of("label_emb.weight")) {
            unet.class_labels = Some(self.dim(&of("label_emb.weight"), 0)?);
        }
        if self.has(&of("label_emb.0.0.weight")) {
            let width = self.dim(&of("label_emb.0.0.weight"), 1)?;
            // SVD: three numbers; 256 channels each in every released model.
            unet.scalars = Some(Scalars {
                count: 3,
                width: width / 3,
            });
        }
        let mut layers = Vec::new();
        let mut fresh = true;
        for block in 1..self.run(&of("input_blocks.")) {
            let block = of(&format!("input_blocks.{block}."));
            if self.has(&format!("{block}0.op.weight")) {
                fresh = true;
                continue;
            }
            if std::mem::take(&mut fresh) {
                layers.push(0);
                self.level(&block, &mut unet)?;
            }
            if let Some(last) = layers.last_mut() {
                *last += 1;
            }
        }
        match layers.as_slice() {
            [first, rest @ ..] if rest.iter().all(|n| n == first) => unet.layers_per_block = *first,
            _ => {
                return Err(self.unsupported(&format!(
                    "a U-Net with {layers:?} residual blocks per level"
                )));
            }
        }
        Ok(unet)
    }

    /// Reads a level off its first block.
    fn level(&self, block: &str, unet: &mut DetectedUNet) -> Result<()> {
        let channels = self.dim(&format!("{block}0.in_layers.2.weight"), 0)?;
        let attends = self.has(&format!("{block}1.proj_in.weight"));
        unet.channels.push(channels);
        unet.attention.push(attends);
        let mut self_attention = true;
        let mut blocks = 1;
        if attends {
            let inner = format!("{block}1.transformer_blocks.");
            blocks = self.run(&inner).max(1);
            let projection = self.0.shape(&format!("{block}1.proj_in.weight"));
            unet.linear_projection = projection.is_some_and(|shape| shape.len() == 2);
            if self.has(&format!("{inner}0.attn2.to_k.weight")) {
                unet.context_width = Some(self.dim(&format!("{inner}0.attn2.to_k.weight"), 1)?);
            }
            // Where both widths are the same the file cannot tell; every released model attends
            // to itself there.
            self_attention = self.dim(&format!("{inner}0.attn1.to_k.weight"), 1)? == channels;
        }
        unet.self_attention.push(self_attention);
        unet.transformer_layers.push(blocks);
        Ok(())
    }

    pub(super) fn family(&self, unet: &DetectedUNet) -> Result<Family> {
        match (unet.temporal, unet.in_channels) {
            (true, 8) => return Ok(Family::StableVideoDiffusion),
            (true, other) => {
                return Err(self.unsupported(&format!(
                    "a video model with {other} input channels, Stable Video Diffusion has 8"
                )));
            }
            (false, 7) if unet.class_labels.is_some() => return Ok(Family::Upscaler4x),
            (false, 4) => {}
            (false, 9) => return Err(self.unsupported("an inpainting model (9 input channels)")),
            (false, 8) => return Err(self.unsupported("an editing model (8 input channels)")),
            (false, 5) => return Err(self.unsupported("a depth-guided model (5 input channels)")),
            (false, other) => {
                return Err(self.unsupported(&format!("a model with {other} input channels")));
            }
        }
        if self.0.contains_prefix("conditioner.embedders.1.") {
            return Err(self.unsupported("a Stable Diffusion XL model"));
        }
        match unet.context_width {
            _ if self.0.contains_prefix(SD1_TEXT) => Ok(Family::StableDiffusion1),
            _ if self.0.contains_prefix(SD2_TEXT) => Ok(Family::StableDiffusion2),
            Some(768) | Some(1024) => {
                Err(self.unsupported("a checkpoint without its text encoder"))
            }
            other => Err(self.unsupported(&format!("a U-Net with context width {other:?}"))),
        }
    }

    pub(super) fn autoencoder(&self, family: Family) -> Result<DetectedAutoencoder> {
        let of = |name: &str| format!("{AUTOENCODER}{name}");
        let separate = self.0.contains_prefix(&format!("{SVD_ENCODER}encoder."));
        let encoder = if separate { SVD_ENCODER } else { AUTOENCODER };
        let levels = self.run(&format!("{encoder}encoder.down."));
        let mut channels = Vec::new();
        let mut attention = Vec::new();
        let mut layers = 0;
        for level in 0..levels {
            let level = format!("{encoder}encoder.down.{level}.");
            channels.push(self.dim(&format!("{level}block.0.conv1.weight"), 0)?);
            attention.push(self.has(&format!("{level}attn.0.q.weight")));
            let blocks = self.run(&format!("{level}block."));
            if layers != 0 && blocks != layers {
                return Err(self.unsupported("an autoencoder with levels of different depth"));
            }
            layers = blocks;
        }
        Ok(DetectedAutoencoder {
            image_channels: self.dim(&format!("{encoder}encoder.conv_in.weight"), 1)?,
            latent_channels: self.dim(&of("decoder.conv_in.weight"), 1)?,
            channels,
            layers_per_block: layers,
            attention,
            mid_attention: self.has(&of("decoder.mid.attn_1.q.weight")),
            quant_conv: self.has(&format!("{encoder}quant_conv.weight")),
            post_quant_conv: self.has(&of("post_quant_conv.weight")),
            temporal: self
                .0
                .contains_prefix(&of("decoder.mid.block_1.time_stack.")),
            separate_encoder: separate,
            scaling_factor: match family {
                Family::Upscaler4x => 0.08333,
                _ => 0.18215,
            },
        })
    }

    pub(super) fn clip_text(&self) -> Result<ClipTextConfig> {
        let of = |name: &str| format!("{SD1_TEXT}text_model.{name}");
        let width = self.dim(&of("embeddings.token_embedding.weight"), 1)?;
        Ok(ClipTextConfig {
            vocabulary: self.dim(&of("embeddings.token_embedding.weight"), 0)?,
            positions: self.dim(&of("embeddings.position_embedding.weight"), 0)?,
            width,
            mlp_width: self.dim(&of("encoder.layers.0.mlp.fc1.weight"), 0)?,
            layers: self.run(&of("encoder.layers.")),
            heads: (width / 64).max(1),
            activation: ClipActivation::QuickGelu,
            layer_norm_eps: 1e-5,
            projection: width,
        })
    }

    pub(super) fn open_clip_text(&self) -> Result<ClipTextConfig> {
        let of = |name: &str| format!("{SD2_TEXT}{name}");
        let width = self.dim(&of("token_embedding.weight"), 1)?;
        Ok(ClipTextConfig {
            vocabulary: self.dim(&of("token_embedding.weight"), 0)?,
            positions: self.dim(&of("positional_embedding"), 0)?,
            width,
            mlp_width: self.dim(&of("transformer.resblocks.0.mlp.c_fc.weight"), 0)?,
            // SD 2.x reads the output of the last layer but one.
            layers: self.run(&of("transformer.resblocks.")).saturating_sub(1),
            heads: (width / 64).max(1),
            activation: ClipActivation::Gelu,
            layer_norm_eps: 1e-5,
            projection: width,
        })
    }

    pub(super) fn open_clip_vision(&self) -> Result<ClipVisionConfig> {
        let of = |name: &str| format!("{SVD_VISION}{name}");
        let patch_size = self.dim(&of("conv1.weight"), 2)?;
        let width = self.dim(&of("conv1.weight"), 0)?;
        let patches = self.dim(&of("positional_embedding"), 0)?.saturating_sub(1);
        Ok(ClipVisionConfig {
            image_size: patches.isqrt() * patch_size,
            patch_size,
            channels: self.dim(&of("conv1.weight"), 1)?,
            width,
            mlp_width: self.dim(&of("transformer.resblocks.0.mlp.c_fc.weight"), 0)?,
            layers: self.run(&of("transformer.resblocks.")),
            // ViT-H/14: 16 heads of 80; smaller OpenCLIP towers have heads of 64.
            heads: if width == 1280 {
                16
            } else {
                (width / 64).max(1)
            },
            activation: ClipActivation::Gelu,
            layer_norm_eps: 1e-5,
            projection: self.dim(&of("proj"), 1)?,
        })
    }
}
