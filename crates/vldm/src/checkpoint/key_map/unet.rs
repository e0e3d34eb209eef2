//! The U-Net in diffusers' layout: `UNet2DConditionModel`, and the two halves of
//! `UNetSpatioTemporalConditionModel` (SVD).

use super::{KeyMap, Source, Transform};
use crate::checkpoint::Weights;
use crate::unet::{NormEps, ProjectionLayout, UNetConfig};

/// Which of our module trees, in which kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UNetPart {
    /// The image U-Net in an image model's file.
    Image,
    /// The image (spatial) layers in a video model's file.
    Spatial,
    /// The temporal layers in a video model's file, whose tree of names ours is.
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

    /// The map for the image or spatial layers of a file that is written for this U-Net.
    pub(crate) fn of_config(config: &UNetConfig) -> Self {
        match (config.norm_eps, config.projection) {
            (NormEps::StableVideoDiffusion, _) => Self::spatial(),
            (_, ProjectionLayout::Linear) => Self::image(Projection::Linear),
            (_, ProjectionLayout::Convolution) => Self::image(Projection::Convolution),
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
            UNetPart::Spatial => spatial(&segments),
            UNetPart::Image | UNetPart::Temporal => ours.to_owned(),
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

/// The residual blocks of a video model hold a spatial and a temporal one.
fn spatial(segments: &[&str]) -> String {
    match segments {
        [head @ .., "resnets", l, layer, leaf] => {
            let head = head.join(".");
            format!("{head}.resnets.{l}.spatial_res_block.{layer}.{leaf}")
        }
        _ => segments.join("."),
    }
}

/// Our fields for what diffusers holds in lists of layers.
pub(super) fn lists(name: &str) -> String {
    name.replace(".to_out.", ".to_out.0.")
        .replace(".ff.proj_in.", ".ff.net.0.proj.")
        .replace(".ff.proj_out.", ".ff.net.2.")
        .replace(".ff_in.proj_in.", ".ff_in.net.0.proj.")
        .replace(".ff_in.proj_out.", ".ff_in.net.2.")
}
