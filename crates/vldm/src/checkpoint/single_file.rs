//! Single-file (LDM) checkpoints: which model a file holds, and its sizes, read off the tensors'
//! names and shapes.

use super::CheckpointError;
use super::config::{ClipTextConfig, ClipVisionConfig, Prediction, Scalars};
use super::key_map::{
    AUTOENCODER, AttentionNames, AutoencoderKeys, ClipTextKeys, KeyMap, LdmAutoencoderKeys,
    LdmUNetKeys, OpenClipKeys, Prefixed, Projection, SVD_ENCODER, UNET, UNetKeys,
};
use super::mapped::Weights;

mod probe;

use probe::Probe;

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
            return Err(probe.unsupported(&probe::other_layout(weights)));
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

#[cfg(test)]
mod tests;
