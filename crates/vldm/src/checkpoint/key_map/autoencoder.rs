//! The autoencoder in diffusers' layout: `AutoencoderKL`, `VQModel`, and the two halves of
//! `AutoencoderKLTemporalDecoder`.

use super::{KeyMap, Source, Transform};
use crate::checkpoint::Weights;

/// What the attention layers of a file are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionNames {
    /// `to_q, to_k, to_v, to_out.0` (diffusers since 0.15).
    Current,
    /// `query, key, value, proj_attn` (before; most files in circulation).
    Old,
}

/// Names of an autoencoder's parameters in diffusers' layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoencoderKeys {
    /// An image autoencoder, continuous or quantised.
    Image(AttentionNames),
    /// The image (spatial) layers of an autoencoder with temporal decoder.
    Spatial,
    /// The temporal layers of such a decoder. Its mixers weigh the temporal branch, ours the
    /// spatial one: the raw factor changes sign.
    Temporal,
}

impl AutoencoderKeys {
    /// The map for the image or spatial layers of a file in diffusers' layout, read off its names.
    pub fn of(weights: &Weights) -> Self {
        if weights.contains_prefix("decoder.mid_block.resnets.0.spatial_res_block.") {
            Self::Spatial
        } else if weights.contains_prefix("decoder.mid_block.attentions.0.query.") {
            Self::Image(AttentionNames::Old)
        } else {
            Self::Image(AttentionNames::Current)
        }
    }
}

impl KeyMap for AutoencoderKeys {
    fn source(&self, ours: &str) -> Source {
        let segments: Vec<&str> = ours.split('.').collect();
        if *self == Self::Temporal {
            return temporal(&segments);
        }
        if let [.., "attentions", _, layer, leaf] = segments.as_slice() {
            return attention(*self, ours, layer, leaf);
        }
        match (self, segments.as_slice()) {
            (Self::Spatial, ["decoder", head @ .., "resnets", l, layer, leaf]) => {
                let head = head.join(".");
                Source::plain(format!(
                    "decoder.{head}.resnets.{l}.spatial_res_block.{layer}.{leaf}"
                ))
            }
            _ => Source::plain(ours),
        }
    }
}

fn attention(keys: AutoencoderKeys, ours: &str, layer: &str, leaf: &str) -> Source {
    let old = keys == AutoencoderKeys::Image(AttentionNames::Old);
    let theirs = match layer {
        "to_q" if old => "query",
        "to_k" if old => "key",
        "to_v" if old => "value",
        "to_out" if old => "proj_attn",
        "to_out" => "to_out.0",
        same => same,
    };
    let head = ours
        .strip_suffix(&format!("{layer}.{leaf}"))
        .unwrap_or(ours);
    let is_matrix = leaf == "weight" && layer != "group_norm";
    Source {
        name: format!("{head}{theirs}.{leaf}"),
        transform: if is_matrix {
            Transform::Reshape { rank: 2 }
        } else {
            Transform::None
        },
    }
}

fn temporal(segments: &[&str]) -> Source {
    // The temporal layers belong to the decoder, whether or not our tree says so.
    let segments = segments.strip_prefix(&["decoder"]).unwrap_or(segments);
    Source {
        name: format!("decoder.{}", segments.join(".")),
        transform: match segments {
            [.., "mix_factor"] => Transform::Negate,
            _ => Transform::None,
        },
    }
}
