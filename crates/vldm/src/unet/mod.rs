//! The denoising network: an image U-Net, and the temporal layers that make it a video network.
//!
//! One U-Net serves Stable Diffusion 1.x and 2.x, the x4-upscaler, Stable Video Diffusion, the
//! paper's driving models and the pixel upsampler; they differ in [`UNetConfig`] alone. It is
//! built by one walk along its levels (`build`) and run as a list of [`Step`]s over an explicit
//! [`UNetState`], so that a trainer can go through it segment by segment.
//!
//! Temporal layers are a tree of their own ([`TemporalLayers`]) that fits any U-Net of the same
//! shape; given none, the image model is run.
//!
//! # Source
//! Rombach et al. 2022 (arXiv:2112.10752); Blattmann et al. 2023 (arXiv:2304.08818), figure 4.

mod build;
mod config;
mod steps;

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use vldm_kernels::Activation;

pub use config::{
    LevelConfig, NormEps, ObservedConfig, ProjectionLayout, TemporalConfig, TransformerConfig,
    UNetConfig, VectorConfig,
};
pub(crate) use steps::StepLayers;
pub use steps::{Site, Step, UNetState};

use crate::nn::temporal::{TemporalContext, TemporalResnet, TemporalTransformer};
use crate::nn::{
    Conv2d, Downsample, Embedding, GroupNorm, Init, ResnetBlock, SpatialTransformer,
    TimestepEmbedding, Upsample, sinusoidal,
};

/// One level of a [`UNet`] on one side of the U, or its middle.
#[derive(Module, Debug)]
pub struct Level {
    /// Residual blocks, in order.
    pub resnets: Vec<ResnetBlock>,
    /// The transformer after each residual block, or none at all.
    pub attentions: Vec<SpatialTransformer>,
    /// At most one, at the end of a level on the way down.
    pub downsamplers: Vec<Downsample>,
    /// At most one, at the end of a level on the way up.
    pub upsamplers: Vec<Upsample>,
}

/// An image U-Net. Names are those of diffusers' `UNet2DConditionModel`.
#[derive(Module, Debug)]
pub struct UNet {
    /// Into the first level's channels.
    pub conv_in: Conv2d,
    /// Reads the code of the noise level.
    pub time_embedding: TimestepEmbedding,
    /// One vector per label.
    pub class_embedding: Option<Embedding>,
    /// Reads the codes of the scalars.
    pub add_embedding: Option<TimestepEmbedding>,
    /// From the finest to the coarsest level.
    pub down_blocks: Vec<Level>,
    /// Two residual blocks and a transformer between.
    pub mid_block: Level,
    /// From the coarsest to the finest level.
    pub up_blocks: Vec<Level>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// To the prediction.
    pub conv_out: Conv2d,
    channels: usize,
    scalar_width: usize,
}

/// The temporal partners of one [`Level`].
#[derive(Module, Debug)]
pub struct TemporalLevel {
    /// One for each residual block.
    pub resnets: Vec<TemporalResnet>,
    /// One for each transformer.
    pub attentions: Vec<TemporalTransformer>,
}

/// The temporal layers of a U-Net, a tree of the same form. Names are the temporal ones of
/// diffusers' `UNetSpatioTemporalConditionModel`.
#[derive(Module, Debug)]
pub struct TemporalLayers {
    /// From the finest to the coarsest level.
    pub down_blocks: Vec<TemporalLevel>,
    /// The middle.
    pub mid_block: TemporalLevel,
    /// From the coarsest to the finest level.
    pub up_blocks: Vec<TemporalLevel>,
}

impl TemporalLayers {
    /// Fresh temporal layers for the U-Net of `config`.
    pub fn new(config: &UNetConfig, temporal: &TemporalConfig, init: &Init) -> Self {
        build::temporal_layers(config, temporal, init)
    }
}

/// What a U-Net is asked.
#[derive(Debug, Clone)]
pub struct UNetInput {
    /// Scaled noisy latents with everything concatenated to them, `[n, height, width, channels]`.
    pub sample: Tensor<4>,
    /// The noise level in the model's own unit (timestep or c_noise), `[batch]`; `batch` divides n.
    pub timestep: Tensor<1>,
    /// Tokens for cross-attention, `[batch, tokens, width]`.
    pub context: Option<Tensor<3>>,
    /// The label or the scalars, where the model has them.
    pub vector: Vector,
}

/// The values of [`VectorConfig`].
#[derive(Debug, Clone, Default)]
pub enum Vector {
    /// None.
    #[default]
    None,
    /// `[batch]`
    Label(Tensor<1, Int>),
    /// `[batch, count]`
    Scalars(Tensor<2>),
}

impl UNet {
    /// A U-Net with fresh parameters; `config` must have passed [`UNetConfig::validate`].
    pub fn new(config: &UNetConfig, init: &Init) -> Self {
        build::unet(config, init)
    }

    /// The image model.
    ///
    /// # Shapes
    /// - `input.sample`: `[n, height, width, in_channels]`
    /// - returns: `[n, height, width, out_channels]`
    pub fn forward(&self, input: UNetInput) -> Tensor<4> {
        self.run(input, None)
    }

    /// The video model: with temporal layers after the spatial ones.
    ///
    /// # Shapes
    /// - `input.sample`: `[batch·frames, height, width, in_channels]`
    /// - returns: `[batch·frames, height, width, out_channels]`
    pub fn forward_video(
        &self,
        input: UNetInput,
        temporal: &TemporalLayers,
        time: &TemporalContext,
    ) -> Tensor<4> {
        self.run(input, Some((temporal, time)))
    }

    fn run(
        &self,
        input: UNetInput,
        temporal: Option<(&TemporalLayers, &TemporalContext)>,
    ) -> Tensor<4> {
        let (layers, time) = temporal.unzip();
        let mut state = self.begin(input);
        for step in self.steps(layers) {
            state = step.forward(state, time);
        }
        self.end(state)
    }

    /// The state before the first step: embeddings computed, the input convolved.
    pub fn begin(&self, input: UNetInput) -> UNetState {
        let n = input.sample.dims()[0];
        let embedding = self.embed(&input.timestep, input.vector, n, input.sample.dtype());
        let features = self.conv_in.forward(input.sample);
        UNetState {
            skips: vec![features.clone()],
            features,
            embedding: vldm_kernels::silu(embedding),
            context: input.context,
        }
    }

    /// The prediction from the state after the last step.
    ///
    /// # Shapes
    /// - returns: `[n, height, width, out_channels]`
    pub fn end(&self, state: UNetState) -> Tensor<4> {
        let normed = self
            .conv_norm_out
            .forward_image(state.features, Activation::Silu);
        self.conv_out.forward(normed)
    }

    /// `[n, embedding width]`: noise level and vector conditioning, repeated over the frames.
    fn embed(
        &self,
        timestep: &Tensor<1>,
        vector: Vector,
        n: usize,
        dtype: burn::tensor::DType,
    ) -> Tensor<2> {
        let code = sinusoidal(timestep.clone(), self.channels).cast(dtype);
        let mut embedding = self.time_embedding.forward(code); // [batch, width]
        if let (Some(table), Vector::Label(labels)) = (&self.class_embedding, &vector) {
            let [batch] = labels.dims();
            let rows = table.forward(labels.clone().reshape([1, batch])); // [1, batch, width]
            embedding = embedding + rows.squeeze_dim(0);
        }
        if let (Some(network), Vector::Scalars(scalars)) = (&self.add_embedding, vector) {
            let [batch, count] = scalars.dims();
            let codes = sinusoidal(scalars.reshape([batch * count]), self.scalar_width);
            let codes = codes
                .reshape([batch, count * self.scalar_width])
                .cast(dtype);
            embedding = embedding + network.forward(codes);
        }
        let [batch, width] = embedding.dims();
        embedding
            .reshape([batch, 1, width])
            .expand([batch, n / batch, width])
            .reshape([n, width])
    }
}
