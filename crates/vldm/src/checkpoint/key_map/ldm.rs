//! Single-file checkpoints: the numbering of the original latent diffusion code, and of its video
//! descendant (SVD).
//!
//! Both maps first find the name in diffusers' layout and then renumber it: the two layouts
//! agree inside transformers, and differ in the blocks around them.

use super::{AttentionNames, AutoencoderKeys, KeyMap, Source, Transform, UNetKeys};

/// The prefix of the U-Net in a single file.
pub(crate) const UNET: &str = "model.diffusion_model.";
/// The prefix of the autoencoder in a single file.
pub(crate) const AUTOENCODER: &str = "first_stage_model.";
/// SVD's second copy of the encoder, the one with its quantisation convolution.
pub(crate) const SVD_ENCODER: &str = "conditioner.embedders.3.encoder.";

/// Names of a U-Net's parameters in a single-file checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdmUNetKeys {
    /// The same part in diffusers' layout.
    pub diffusers: UNetKeys,
    /// Residual blocks per level on the way down.
    pub layers_per_block: usize,
    /// Whether each level has attention, finest first.
    pub attention: Vec<bool>,
}

impl KeyMap for LdmUNetKeys {
    fn source(&self, ours: &str) -> Source {
        let mut source = self.diffusers.source(ours);
        let segments: Vec<&str> = source.name.split('.').collect();
        let name = self.block(&segments).unwrap_or_else(|| top(&source.name));
        source.name = format!("{UNET}{name}");
        source
    }

    fn is_ignored(&self, theirs: &str) -> bool {
        !theirs.starts_with(UNET)
    }
}

impl LdmUNetKeys {
    /// Input blocks count the first convolution, then the residual blocks of each level and its
    /// downsampler; output blocks count residual blocks only, each with what follows it.
    fn block(&self, segments: &[&str]) -> Option<String> {
        let per_level = self.layers_per_block + 1;
        let number = |text: &str| text.parse::<usize>().ok();
        Some(match segments {
            ["down_blocks", b, "downsamplers", "0", "conv", leaf] => {
                let block = (number(b)? + 1) * per_level;
                format!("input_blocks.{block}.0.op.{leaf}")
            }
            ["down_blocks", b, kind, l, rest @ ..] => {
                let block = 1 + number(b)? * per_level + number(l)?;
                format!("input_blocks.{block}.{}", inner(kind, rest)?)
            }
            ["mid_block", "resnets", l, rest @ ..] => {
                format!("middle_block.{}.{}", 2 * number(l)?, resnet(rest))
            }
            ["mid_block", "attentions", l, rest @ ..] => {
                format!("middle_block.{}.{}", 2 * number(l)? + 1, transformer(rest))
            }
            ["up_blocks", b, "upsamplers", "0", "conv", leaf] => {
                let level = number(b)?;
                let attention = self.attention.iter().rev().nth(level).copied();
                let position = 1 + usize::from(attention.unwrap_or(false));
                let block = level * per_level + self.layers_per_block;
                format!("output_blocks.{block}.{position}.conv.{leaf}")
            }
            ["up_blocks", b, kind, l, rest @ ..] => {
                let block = number(b)? * per_level + number(l)?;
                format!("output_blocks.{block}.{}", inner(kind, rest)?)
            }
            _ => return None,
        })
    }
}

fn inner(kind: &str, rest: &[&str]) -> Option<String> {
    match kind {
        "resnets" => Some(format!("0.{}", resnet(rest))),
        "attentions" => Some(format!("1.{}", transformer(rest))),
        _ => None,
    }
}

/// A layer of a residual block of the original U-Net, by diffusers' name of it.
fn resnet_layer(layer: &str) -> &str {
    match layer {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        other => other,
    }
}

fn resnet(segments: &[&str]) -> String {
    match segments {
        ["temporal_res_block", layer, leaf] => {
            format!("time_stack.{}.{leaf}", resnet_layer(layer))
        }
        ["spatial_res_block", layer, leaf] | [layer, leaf] => {
            format!("{}.{leaf}", resnet_layer(layer))
        }
        _ => segments.join("."),
    }
}

fn transformer(segments: &[&str]) -> String {
    match segments {
        ["temporal_transformer_blocks", rest @ ..] => format!("time_stack.{}", rest.join(".")),
        ["time_pos_embed", "linear_1", leaf] => format!("time_pos_embed.0.{leaf}"),
        ["time_pos_embed", "linear_2", leaf] => format!("time_pos_embed.2.{leaf}"),
        _ => segments.join("."),
    }
}

/// The layers outside the blocks.
const TOP: [(&str, &str); 8] = [
    ("conv_in.", "input_blocks.0.0."),
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."),
    ("class_embedding.", "label_emb."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
];

fn top(name: &str) -> String {
    TOP.iter()
        .find_map(|(theirs, ldm)| Some(format!("{ldm}{}", name.strip_prefix(theirs)?)))
        .unwrap_or_else(|| name.to_owned())
}

/// Names of an autoencoder's parameters in a single-file checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdmAutoencoderKeys {
    /// Which layers: the image ones, or one half of a decoder with temporal layers.
    pub part: AutoencoderKeys,
    /// Resolution levels; the file numbers the decoder's from the finest, we from the coarsest.
    pub levels: usize,
    /// Whether the encoder is read from SVD's second copy, which alone has the quantisation
    /// convolution.
    pub separate_encoder: bool,
}

impl LdmAutoencoderKeys {
    /// An image autoencoder with this many levels.
    pub fn image(levels: usize) -> Self {
        Self {
            part: AutoencoderKeys::Image(AttentionNames::Current),
            levels,
            separate_encoder: false,
        }
    }

    fn name(&self, name: &str) -> (String, bool) {
        let segments: Vec<&str> = name.split('.').collect();
        let mut is_attention_matrix = false;
        let mapped = match segments.as_slice() {
            ["decoder", "time_conv_out", leaf] => {
                format!("decoder.conv_out.time_mix_conv.{leaf}")
            }
            [half, "conv_norm_out", leaf] => format!("{half}.norm_out.{leaf}"),
            [half, "mid_block", "resnets", l, rest @ ..] => {
                let block = l.parse::<usize>().map_or(0, |l| l + 1);
                format!("{half}.mid.block_{block}.{}", vae_resnet(rest))
            }
            [half, "mid_block", "attentions", _, rest @ .., leaf] => {
                let layer = vae_attention(rest);
                is_attention_matrix = layer != "norm" && *leaf == "weight";
                format!("{half}.mid.attn_1.{layer}.{leaf}")
            }
            [half, side, b, kind, l, rest @ ..] if side.ends_with("_blocks") => {
                let head = format!("{half}.{}", self.level(side, b));
                match (*kind, rest) {
                    ("resnets", _) => format!("{head}.block.{l}.{}", vae_resnet(rest)),
                    ("attentions", [rest @ .., leaf]) => {
                        let layer = vae_attention(rest);
                        is_attention_matrix = layer != "norm" && *leaf == "weight";
                        format!("{head}.attn.{l}.{layer}.{leaf}")
                    }
                    ("downsamplers", _) => format!("{head}.downsample.{}", rest.join(".")),
                    _ => format!("{head}.upsample.{}", rest.join(".")),
                }
            }
            _ => name.to_owned(),
        };
        (mapped, is_attention_matrix)
    }

    /// `down.0` is the finest level of the encoder, `up.0` the finest of the decoder.
    fn level(&self, side: &str, block: &str) -> String {
        if side == "down_blocks" {
            return format!("down.{block}");
        }
        let mirrored = block
            .parse::<usize>()
            .ok()
            .and_then(|block| self.levels.checked_sub(block + 1));
        match mirrored {
            Some(level) => format!("up.{level}"),
            None => format!("up.{block}"),
        }
    }
}

fn vae_resnet(segments: &[&str]) -> String {
    match segments {
        ["time_mixer", "mix_factor"] => "mix_factor".to_owned(),
        ["temporal_res_block", layer, leaf] => {
            format!("time_stack.{}.{leaf}", resnet_layer(layer))
        }
        ["spatial_res_block", rest @ ..] => vae_resnet(rest),
        ["conv_shortcut", leaf] => format!("nin_shortcut.{leaf}"),
        _ => segments.join("."),
    }
}

fn vae_attention<'a>(segments: &[&'a str]) -> &'a str {
    match segments {
        ["group_norm"] => "norm",
        ["to_q"] => "q",
        ["to_k"] => "k",
        ["to_v"] => "v",
        ["to_out", "0"] => "proj_out",
        _ => segments.first().copied().unwrap_or_default(),
    }
}

impl KeyMap for LdmAutoencoderKeys {
    fn source(&self, ours: &str) -> Source {
        let source = self.part.source(ours);
        let (name, is_attention_matrix) = self.name(&source.name);
        let of_decoder = name.starts_with("decoder.") || name.starts_with("post_quant_conv.");
        let prefix = if self.separate_encoder && !of_decoder {
            SVD_ENCODER
        } else {
            AUTOENCODER
        };
        Source {
            name: format!("{prefix}{name}"),
            transform: if is_attention_matrix {
                Transform::Reshape { rank: 4 }
            } else {
                source.transform
            },
        }
    }

    fn is_ignored(&self, theirs: &str) -> bool {
        if let Some(inner) = theirs.strip_prefix(AUTOENCODER) {
            // The training loss (a discriminator) is saved in some files; SVD's first copy of the
            // encoder is unused when the second is read.
            return inner.starts_with("loss.")
                || (self.separate_encoder
                    && (inner.starts_with("encoder.") || inner.starts_with("quant_conv.")));
        }
        if let (true, Some(inner)) = (self.separate_encoder, theirs.strip_prefix(SVD_ENCODER)) {
            return !(inner.starts_with("encoder.") || inner.starts_with("quant_conv."));
        }
        true
    }
}
