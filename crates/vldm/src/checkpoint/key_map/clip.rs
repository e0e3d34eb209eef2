//! CLIP encoders: ours use transformers' names; transformers 5 drops a prefix, and single-file
//! checkpoints since SD 2.x hold OpenCLIP's names.

use super::{KeyMap, Source, Transform};
use crate::checkpoint::Weights;

/// Names of a CLIP encoder in transformers' layout. Image encoders are always `prefixed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipTextKeys {
    /// Whether the file's names start with `text_model.` (transformers before 5), as ours do.
    pub prefixed: bool,
}

impl ClipTextKeys {
    /// The map for this file, read off its names.
    pub fn of(weights: &Weights) -> Self {
        Self {
            prefixed: !weights.contains_prefix("embeddings."),
        }
    }
}

impl KeyMap for ClipTextKeys {
    fn source(&self, ours: &str) -> Source {
        match ours.strip_prefix("text_model.") {
            Some(short) if !self.prefixed => Source::plain(short),
            _ => Source::plain(ours),
        }
    }

    fn is_ignored(&self, theirs: &str) -> bool {
        // A table 0, 1, 2, …, saved by older versions.
        theirs.ends_with("embeddings.position_ids")
    }
}

/// Names of an OpenCLIP encoder, text or vision, under a prefix.
///
/// Source of the correspondence: OpenCLIP's `CLIP` and `VisionTransformer` modules, and
/// transformers' `CLIPTextModel` and `CLIPVisionModelWithProjection`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClipKeys {
    /// With its dot: `cond_stage_model.model.` in SD 2.x,
    /// `conditioner.embedders.0.open_clip.model.visual.` in SVD.
    pub prefix: String,
    /// How many transformer layers our encoder has. SD 2.x stops before the last, so the file's
    /// further ones are left unused.
    pub layers: usize,
}

impl KeyMap for OpenClipKeys {
    fn source(&self, ours: &str) -> Source {
        let segments: Vec<&str> = ours.split('.').collect();
        let mut source = match segments.as_slice() {
            [_, "encoder", "layers", n, inner @ ..] => {
                let mut source = block(inner);
                source.name = format!("transformer.resblocks.{n}.{}", source.name);
                source
            }
            _ => top(ours, &segments),
        };
        source.name = format!("{}{}", self.prefix, source.name);
        source
    }

    fn is_ignored(&self, theirs: &str) -> bool {
        let Some(inner) = theirs.strip_prefix(&self.prefix) else {
            return true;
        };
        if let Some(rest) = inner.strip_prefix("transformer.resblocks.") {
            let number = rest.split('.').next().and_then(|n| n.parse::<usize>().ok());
            return number.is_some_and(|n| n >= self.layers);
        }
        matches!(inner, "logit_scale" | "text_projection" | "attn_mask")
    }
}

fn top(ours: &str, segments: &[&str]) -> Source {
    let transposed = |name: &str| Source {
        name: name.to_owned(),
        transform: Transform::Transpose,
    };
    match segments {
        [_, "embeddings", "token_embedding", "weight"] => Source::plain("token_embedding.weight"),
        [_, "embeddings", "position_embedding", "weight"] => Source::plain("positional_embedding"),
        [_, "embeddings", "class_embedding"] => Source::plain("class_embedding"),
        [_, "embeddings", "patch_embedding", "weight"] => Source::plain("conv1.weight"),
        [_, "final_layer_norm", leaf] => Source::plain(format!("ln_final.{leaf}")),
        [_, "pre_layrnorm", leaf] => Source::plain(format!("ln_pre.{leaf}")),
        [_, "post_layernorm", leaf] => Source::plain(format!("ln_post.{leaf}")),
        ["visual_projection", "weight"] => transposed("proj"),
        ["text_projection", "weight"] => transposed("text_projection"),
        _ => Source::plain(ours),
    }
}

fn block(segments: &[&str]) -> Source {
    let fused = |part, leaf| Source {
        name: format!("attn.in_proj_{leaf}"),
        transform: Transform::Rows { part, of: 3 },
    };
    match segments {
        ["layer_norm1", leaf] => Source::plain(format!("ln_1.{leaf}")),
        ["layer_norm2", leaf] => Source::plain(format!("ln_2.{leaf}")),
        ["self_attn", "q_proj", leaf] => fused(0, leaf),
        ["self_attn", "k_proj", leaf] => fused(1, leaf),
        ["self_attn", "v_proj", leaf] => fused(2, leaf),
        ["self_attn", "out_proj", leaf] => Source::plain(format!("attn.out_proj.{leaf}")),
        ["mlp", "fc1", leaf] => Source::plain(format!("mlp.c_fc.{leaf}")),
        ["mlp", "fc2", leaf] => Source::plain(format!("mlp.c_proj.{leaf}")),
        _ => Source::plain(segments.join(".")),
    }
}
