//! The U-Net in diffusers' layout: `UNet2DConditionModel`, and the two halves of
//! `UNetSpatioTemporalConditionModel` (SVD).

use super::{KeyMap, Source, Transform};
use crate::checkpoint::Weights;

/// Which of our module trees, in which kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UNetPart {
    /// The image U-Net in an image model's file.
    Image,
    /// The image (spatial) layers in a video model's file.
    Spatial,
    /// The temporal layers in a video model's file.
    Temporal,
}

/// How the transformers' `proj_in` and `proj_out` are stored; ours are always linear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// `[out, in]` (SD 2.x, SVD).
    Linear,
    /// `[out, in, 1, 1]` (SD 1.x).
    Convolution,
}

/// Names of a U-Net's parameters in diffusers' layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UNetKeys {
    /// Which layers, in which kind of file.
    pub part: UNetPart,
    /// How the transformers' projections are stored.
    pub projection: Projection,
}

impl UNetKeys {
    /// An image model's U-Net.
    pub fn image(projection: Projection) -> Self {
        Self {
            part: UNetPart::Image,
            projection,
        }
    }

    /// The spatial layers of a video model (SVD's projections are linear).
    pub fn spatial() -> Self {
        Self {
            part: UNetPart::Spatial,
            projection: Projection::Linear,
        }
    }

    /// The temporal layers of a video model.
    pub fn temporal() -> Self {
        Self {
            part: UNetPart::Temporal,
            projection: Projection::Linear,
        }
    }

    /// The map for the image or spatial layers of a file in diffusers' layout, read off its
    /// names and shapes.
    pub fn of(weights: &Weights) -> Self {
        if weights.contains("mid_block.resnets.0.spatial_res_block.conv1.weight") {
            return Self::spatial();
        }
        let convolution = weights
            .names()
            .find(|name| name.ends_with(".proj_in.weight"))
            .and_then(|name| weights.shape(name))
            .is_some_and(|shape| shape.len() == 4);
        Self::image(if convolution {
            Projection::Convolution
        } else {
            Projection::Linear
        })
    }
}

impl KeyMap for UNetKeys {
    fn source(&self, ours: &str) -> Source {
        let segments: Vec<&str> = ours.split('.').collect();
        let name = match self.part {
            UNetPart::Image => ours.to_owned(),
            UNetPart::Spatial => spatial(&segments).unwrap_or_else(|| ours.to_owned()),
            UNetPart::Temporal => temporal(&segments).unwrap_or_else(|| ours.to_owned()),
        };
        let is_projection = matches!(
            segments.as_slice(),
            [.., "attentions", _, "proj_in" | "proj_out", "weight"]
        );
        let transform = match self.projection {
            Projection::Convolution if is_projection => Transform::Reshape { rank: 4 },
            Projection::Linear if is_projection => Transform::Reshape { rank: 2 },
            _ => Transform::None,
        };
        Source {
            name: lists(&name),
            transform,
        }
    }
}

/// Splits `(down_blocks|up_blocks).B.KIND.L.…` or `mid_block.KIND.L.…` into the block's path, the
/// kind of layer, and what follows.
fn layer<'a>(segments: &'a [&'a str]) -> Option<(String, &'a str, &'a [&'a str])> {
    let depth = match segments {
        ["down_blocks" | "up_blocks", _, ..] => 2,
        ["mid_block", ..] => 1,
        _ => return None,
    };
    let kind = *segments.get(depth)?;
    let path = segments.get(..depth + 2)?.join(".");
    Some((path, kind, &segments[depth + 2..]))
}

fn spatial(segments: &[&str]) -> Option<String> {
    match layer(segments)? {
        (path, "resnets", rest) => Some(format!("{path}.spatial_res_block.{}", rest.join("."))),
        _ => None,
    }
}

fn temporal(segments: &[&str]) -> Option<String> {
    let (path, kind, rest) = layer(segments)?;
    let tail = rest.join(".");
    Some(match (kind, rest) {
        (_, ["mixer", "mix_factor"]) => format!("{path}.time_mixer.mix_factor"),
        ("resnets", _) => format!("{path}.temporal_res_block.{tail}"),
        ("attentions", ["time_pos_embed", ..]) => format!("{path}.{tail}"),
        ("attentions", _) => format!("{path}.temporal_transformer_blocks.0.{tail}"),
        _ => return None,
    })
}

/// Our fields for what diffusers holds in lists of layers.
pub(super) fn lists(name: &str) -> String {
    name.replace(".to_out.", ".to_out.0.")
        .replace(".ff.proj_in.", ".ff.net.0.proj.")
        .replace(".ff.proj_out.", ".ff.net.2.")
        .replace(".ff_in.proj_in.", ".ff_in.net.0.proj.")
        .replace(".ff_in.proj_out.", ".ff_in.net.2.")
}
