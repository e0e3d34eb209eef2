//! CLIP's picture encoder: a picture in, one vector out.
//!
//! Stable Video Diffusion (arXiv:2311.15127, appendix D) reads this one vector in every
//! cross-attention. Dosovitskiy et al. 2021 (arXiv:2010.11929) and Radford et al. 2021
//! (arXiv:2103.00020); names and results as in `transformers`' `CLIPVisionModelWithProjection`.
//! What a picture must look like beforehand: [`crate::conditioning::clip_image`].

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use vldm_kernels::{AttentionMask, Conv2dOptions, Padding};

use super::clip_layers::{ClipActivation, ClipEncoder, ClipEncoderConfig};
use crate::error::{Error, Result};
use crate::layout::{images_to_channels_last, pixels_to_tokens};
use crate::nn::{Conv2d, Embedding, Fill, Init, LayerNorm, Linear};

/// The sizes of a [`ClipVisionEncoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipVisionConfig {
    /// Height and width of the pictures, in pixels.
    pub image_size: usize,
    /// Height and width of a patch, in pixels. What is left over at the right and bottom edges is
    /// not seen.
    pub patch_size: usize,
    /// Channels of the pictures.
    pub in_channels: usize,
    /// Width of the vectors inside.
    pub width: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Inner width of the feed-forward networks.
    pub mlp_width: usize,
    /// Width of the result.
    pub projection: usize,
    /// Between the layers of the feed-forward networks.
    pub activation: ClipActivation,
    /// What the normalisations add to the variance.
    pub norm_eps: f64,
}

impl ClipVisionConfig {
    /// OpenCLIP's ViT-H/14, which Stable Video Diffusion uses: 632,076,800 parameters.
    #[must_use]
    pub fn vit_h() -> Self {
        Self {
            image_size: 224,
            patch_size: 14,
            in_channels: 3,
            width: 1280,
            layers: 32,
            heads: 16,
            mlp_width: 5120,
            projection: 1024,
            activation: ClipActivation::Gelu,
            norm_eps: 1e-5,
        }
    }

    /// Checks that the sizes describe an encoder.
    ///
    /// # Errors
    /// [`Error::Config`] names the size that is wrong.
    pub fn validate(&self) -> Result<()> {
        if self.patch_size == 0
            || self.image_size < self.patch_size
            || self.in_channels == 0
            || self.projection == 0
        {
            return Err(Error::Config(format!(
                "the picture encoder has pictures of {} pixels in patches of {}, {} channels and a \
                 projection to {}: expected positive sizes, and patches no larger than the picture",
                self.image_size, self.patch_size, self.in_channels, self.projection
            )));
        }
        self.encoder().validate("picture encoder")
    }

    fn encoder(&self) -> ClipEncoderConfig {
        ClipEncoderConfig {
            width: self.width,
            layers: self.layers,
            heads: self.heads,
            mlp_width: self.mlp_width,
            activation: self.activation,
            norm_eps: self.norm_eps,
        }
    }
}

/// CLIP's picture encoder with its projection into the space that texts share.
#[derive(Module, Debug)]
pub struct ClipVisionEncoder {
    /// The vision transformer.
    pub vision_model: ClipVisionModel,
    /// Into the shared space, without bias.
    pub visual_projection: Linear,
}

impl ClipVisionEncoder {
    /// An encoder with fresh parameters; `config` has been validated.
    pub fn new(config: &ClipVisionConfig, init: &Init) -> Self {
        Self {
            vision_model: ClipVisionModel::new(config, init),
            visual_projection: Linear::new(config.width, config.projection, false, init),
        }
    }

    /// One vector per picture, not normalised in length.
    ///
    /// # Shapes
    /// - `pixel_values`: `[n, 3, image_size, image_size]`, normalised with CLIP's mean and deviation
    /// - returns: `[n, projection]`
    pub fn forward(&self, pixel_values: Tensor<4>) -> Tensor<2> {
        self.visual_projection
            .forward(self.vision_model.forward(pixel_values))
    }
}

/// A vision transformer that ends in the vector of its class token.
#[derive(Module, Debug)]
pub struct ClipVisionModel {
    /// Vectors of the patches and of their places.
    pub embeddings: ClipVisionEmbeddings,
    /// Before the first layer; misspelt so in every published checkpoint.
    pub pre_layrnorm: LayerNorm,
    /// The transformer.
    pub encoder: ClipEncoder,
    /// On the class token's vector, after the last layer.
    pub post_layernorm: LayerNorm,
}

impl ClipVisionModel {
    fn new(config: &ClipVisionConfig, init: &Init) -> Self {
        Self {
            embeddings: ClipVisionEmbeddings::new(config, init),
            pre_layrnorm: LayerNorm::new(config.width, config.norm_eps, init),
            encoder: ClipEncoder::new(config.encoder(), init),
            post_layernorm: LayerNorm::new(config.width, config.norm_eps, init),
        }
    }

    /// # Shapes
    /// - `pixel_values`: `[n, 3, image_size, image_size]`
    /// - returns: `[n, width]`
    pub fn forward(&self, pixel_values: Tensor<4>) -> Tensor<2> {
        let x = self
            .pre_layrnorm
            .forward(self.embeddings.forward(pixel_values));
        let x = self.encoder.forward(x, AttentionMask::None);
        let [n, _, width] = x.dims();
        let class = x.slice([0..n, 0..1, 0..width]).reshape([n, width]);
        self.post_layernorm.forward(class)
    }
}

/// A class token, a vector for every patch, and learned vectors of their places.
#[derive(Module, Debug)]
pub struct ClipVisionEmbeddings {
    /// `[width]`
    pub class_embedding: Param<Tensor<1>>,
    /// One step per patch, without bias.
    pub patch_embedding: Conv2d,
    /// One vector per place: the class token, then the patches row by row.
    pub position_embedding: Embedding,
}

impl ClipVisionEmbeddings {
    fn new(config: &ClipVisionConfig, init: &Init) -> Self {
        let ClipVisionConfig {
            patch_size, width, ..
        } = *config;
        let deviation = 1.0 / (width as f32).sqrt();
        let mut patch_embedding = Conv2d::new(config.in_channels, width, patch_size, init);
        patch_embedding.bias = None;
        let patches = (config.image_size / patch_size).pow(2);
        Self {
            class_embedding: init.parameter([width], Fill::Normal(deviation)),
            patch_embedding,
            position_embedding: Embedding::new(patches + 1, width, deviation, init),
        }
    }

    /// # Shapes
    /// - `pixel_values`: `[n, 3, image_size, image_size]`
    /// - returns: `[n, 1 + patches, width]`
    pub fn forward(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        let stride = self.patch_embedding.weight.dims()[2];
        let options = Conv2dOptions {
            stride,
            padding: Padding::NONE,
        };
        let pixels = images_to_channels_last(pixel_values);
        let patches = pixels_to_tokens(self.patch_embedding.forward_strided(pixels, options));
        let [n, tokens, width] = patches.dims();
        let positions = self.position_embedding.weight.val();
        let places = positions.dims()[0];
        assert!(
            tokens + 1 == places,
            "{tokens} patches, expected {}",
            places - 1
        );
        let class = self
            .class_embedding
            .val()
            .reshape([1, 1, width])
            .repeat_dim(0, n);
        Tensor::cat(vec![class, patches], 1) + positions.unsqueeze_dim(0)
    }
}
