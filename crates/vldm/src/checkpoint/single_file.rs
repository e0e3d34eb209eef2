//! Single-file (LDM) checkpoints: which model a file holds, and its sizes, read off the tensors'
//! names and shapes.

use super::CheckpointError;
use super::config::{ClipActivation, ClipTextConfig, ClipVisionConfig, Prediction, Scalars};
use super::key_map::{
    AUTOENCODER, AttentionNames, AutoencoderKeys, ClipTextKeys, KeyMap, LdmAutoencoderKeys,
    LdmUNetKeys, OpenClipKeys, Prefixed, Projection, SVD_ENCODER, UNET, UNetKeys,
};
use super::mapped::Weights;

type Result<T> = std::result::Result<T, CheckpointError>;

const SD1_TEXT: &str = "cond_stage_model.transformer.";
const SD2_TEXT: &str = "cond_stage_model.model.";
const SVD_CLIP: &str = "conditioner.embedders.0.";
const SVD_VISION: &str = "conditioner.embedders.0.open_clip.model.visual.";

/// The model that a single file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.x.
    StableDiffusion1,
    /// Stable Diffusion 2.x.
    StableDiffusion2,
    /// Stable Diffusion's x4-upscaler.
    Upscaler4x,
    /// Stable Video Diffusion.
    StableVideoDiffusion,
}

/// What a single file holds, part by part.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleFile {
    /// Which model.
    pub family: Family,
    /// The U-Net.
    pub unet: DetectedUNet,
    /// The autoencoder.
    pub autoencoder: DetectedAutoencoder,
    /// The text encoder, of families that have one.
    pub text: Option<ClipTextConfig>,
    /// The image encoder, of families that have one.
    pub vision: Option<ClipVisionConfig>,
    /// What the model predicts; `None` where the file cannot tell (SD 2.x comes in both kinds).
    pub prediction: Option<Prediction>,
}

/// A U-Net's sizes. Lists have one entry per level, finest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectedUNet {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Channels of each level.
    pub channels: Vec<usize>,
    /// Residual blocks of each level on the way down.
    pub layers_per_block: usize,
    /// Whether a level has transformers.
    pub attention: Vec<bool>,
    /// Whether the first attention of a level's transformers reads the features themselves.
    pub self_attention: Vec<bool>,
    /// Transformer blocks in a row at each level (1 where there are none).
    pub transformer_layers: Vec<usize>,
    /// Whether there is a transformer in the middle.
    pub mid_attention: bool,
    /// Attention heads of each level; the middle has as many as the last.
    pub heads: Vec<usize>,
    /// Width of the context tokens; `None` without cross-attention.
    pub context_width: Option<usize>,
    /// Whether the transformers' projections are matrices in the file.
    pub linear_projection: bool,
    /// Entries of the table of class vectors.
    pub class_labels: Option<usize>,
    /// Numbers that enter through the noise-level embedding, by the code width of SVD (256).
    pub scalars: Option<Scalars>,
    /// Whether the file has temporal layers.
    pub temporal: bool,
}

/// An autoencoder's sizes. Lists have one entry per level, finest first.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectedAutoencoder {
    /// Channels of the pixels.
    pub image_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of each level.
    pub channels: Vec<usize>,
    /// Residual blocks of each level of the encoder.
    pub layers_per_block: usize,
    /// Whether a level has attention.
    pub attention: Vec<bool>,
    /// Whether the middle has attention.
    pub mid_attention: bool,
    /// A 1×1 convolution after the encoder.
    pub quant_conv: bool,
    /// A 1×1 convolution before the decoder.
    pub post_quant_conv: bool,
    /// Whether the decoder has temporal layers.
    pub temporal: bool,
    /// Whether the encoder is read from SVD's second copy of it.
    pub separate_encoder: bool,
    /// Latents are multiplied by this before diffusion: a fact of the family, not of the file.
    pub scaling_factor: f64,
}

impl SingleFile {
    /// Recognises the model in `weights`.
    ///
    /// # Errors
    ///
    /// When it is no single-file checkpoint, or one of a kind that is not supported (inpainting,
    /// depth, SDXL, …): the message says what was found and what is supported.
    pub fn detect(weights: &Weights) -> Result<Self> {
        let probe = Probe(weights);
        if !weights.contains(&format!("{UNET}input_blocks.0.0.weight")) {
            return Err(probe.unsupported(&other_layout(weights)));
        }
        let mut unet = probe.unet()?;
        let family = probe.family(&unet)?;
        unet.heads = heads(family, &unet.channels);
        let autoencoder = probe.autoencoder(family)?;
        Ok(Self {
            text: match family {
                Family::StableDiffusion1 => Some(probe.clip_text()?),
                Family::StableDiffusion2 | Family::Upscaler4x => Some(probe.open_clip_text()?),
                Family::StableVideoDiffusion => None,
            },
            vision: match family {
                Family::StableVideoDiffusion => Some(probe.open_clip_vision()?),
                _ => None,
            },
            prediction: match family {
                Family::StableDiffusion1 => Some(Prediction::Epsilon),
                Family::StableDiffusion2 => None,
                Family::Upscaler4x | Family::StableVideoDiffusion => Some(Prediction::V),
            },
            family,
            unet,
            autoencoder,
        })
    }

    /// Names of the image (spatial) layers of the U-Net.
    pub fn unet_keys(&self) -> LdmUNetKeys {
        self.unet_part(match (self.unet.temporal, self.unet.linear_projection) {
            (true, _) => UNetKeys::spatial(),
            (false, true) => UNetKeys::image(Projection::Linear),
            (false, false) => UNetKeys::image(Projection::Convolution),
        })
    }

    /// Names of the temporal layers of the U-Net.
    pub fn temporal_keys(&self) -> LdmUNetKeys {
        self.unet_part(UNetKeys::temporal())
    }

    fn unet_part(&self, diffusers: UNetKeys) -> LdmUNetKeys {
        LdmUNetKeys {
            diffusers,
            layers_per_block: self.unet.layers_per_block,
            attention: self.unet.attention.clone(),
        }
    }

    /// Names of the image (spatial) layers of the autoencoder.
    pub fn autoencoder_keys(&self) -> LdmAutoencoderKeys {
        self.autoencoder_part(if self.autoencoder.temporal {
            AutoencoderKeys::Spatial
        } else {
            AutoencoderKeys::Image(AttentionNames::Current)
        })
    }

    /// Names of the temporal layers of the decoder.
    pub fn temporal_decoder_keys(&self) -> LdmAutoencoderKeys {
        self.autoencoder_part(AutoencoderKeys::Temporal)
    }

    fn autoencoder_part(&self, part: AutoencoderKeys) -> LdmAutoencoderKeys {
        LdmAutoencoderKeys {
            part,
            levels: self.autoencoder.channels.len(),
            separate_encoder: self.autoencoder.separate_encoder,
        }
    }

    /// Names of the text encoder; `None` in families without one.
    pub fn text_keys(&self) -> Option<Box<dyn KeyMap>> {
        let text = self.text.as_ref()?;
        Some(match self.family {
            Family::StableDiffusion1 => Box::new(Prefixed {
                prefix: SD1_TEXT.into(),
                map: ClipTextKeys { prefixed: true },
            }),
            _ => Box::new(OpenClipKeys {
                prefix: SD2_TEXT.into(),
                layers: text.layers,
            }),
        })
    }

    /// Names of the image encoder; `None` in families without one.
    pub fn vision_keys(&self) -> Option<OpenClipKeys> {
        self.vision.as_ref().map(|vision| OpenClipKeys {
            prefix: SVD_VISION.into(),
            layers: vision.layers,
        })
    }

    /// Whether a tensor belongs to none of the parts: tables that we compute, training state,
    /// second copies. For [`Weights::finish`], when every part has been loaded.
    pub fn is_ignored(&self, name: &str) -> bool {
        const PARTS: [&str; 6] = [
            UNET,
            AUTOENCODER,
            SVD_ENCODER,
            SVD_VISION,
            SD1_TEXT,
            SD2_TEXT,
        ];
        if PARTS.iter().any(|prefix| name.starts_with(prefix)) {
            // Each part's map answers for its own prefix: what one of them leaves unused on
            // purpose is nobody else's either.
            let text = self.text_keys();
            let vision = self.vision_keys();
            let mut maps: Vec<&dyn KeyMap> = Vec::new();
            let (unet, autoencoder) = (self.unet_keys(), self.autoencoder_keys());
            maps.extend([&unet as &dyn KeyMap, &autoencoder]);
            maps.extend(text.as_deref());
            maps.extend(vision.as_ref().map(|map| map as &dyn KeyMap));
            return maps.iter().all(|map| map.is_ignored(name));
        }
        const STATE: [&str; 5] = [
            "model_ema.",
            "low_res_model.",
            "low_res_scheduler.",
            "denoiser.",
            SVD_CLIP,
        ];
        const TABLES: [&str; 9] = [
            "betas",
            "alphas_cumprod",
            "alphas_cumprod_prev",
            "log_one_minus_alphas_cumprod",
            "posterior_log_variance_clipped",
            "posterior_mean_coef1",
            "posterior_mean_coef2",
            "posterior_variance",
            "logvar",
        ];
        STATE.iter().any(|prefix| name.starts_with(prefix))
            || TABLES.contains(&name)
            || name.starts_with("sqrt_")
            || name == "scale_factor"
    }
}

/// Heads are not in the file: eight in SD 1.x and the x4-upscaler, 64 channels each in the others.
fn heads(family: Family, channels: &[usize]) -> Vec<usize> {
    let of = |&channels: &usize| match family {
        Family::StableDiffusion1 | Family::Upscaler4x => 8,
        Family::StableDiffusion2 | Family::StableVideoDiffusion => (channels / 64).max(1),
    };
    channels.iter().map(of).collect()
}

fn other_layout(weights: &Weights) -> String {
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
struct Probe<'a>(&'a Weights);

impl Probe<'_> {
    fn unsupported(&self, found: &str) -> CheckpointError {
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

    fn unet(&self) -> Result<DetectedUNet> {
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

    fn family(&self, unet: &DetectedUNet) -> Result<Family> {
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

    fn autoencoder(&self, family: Family) -> Result<DetectedAutoencoder> {
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

    fn clip_text(&self) -> Result<ClipTextConfig> {
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

    fn open_clip_text(&self) -> Result<ClipTextConfig> {
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

    fn open_clip_vision(&self) -> Result<ClipVisionConfig> {
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

#[cfg(test)]
mod tests;
