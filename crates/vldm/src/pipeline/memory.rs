//! How much memory a run will need, before it starts.

use serde::Serialize;

use super::stack::StageDescription;
use crate::autoencoder::AutoencoderConfig;
use crate::preset::Stage;
use crate::unet::UNetConfig;

/// Expected peak memory by part, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// All parameters.
    pub weights: u64,
    /// One step of the denoising network.
    pub sampling: u64,
    /// One chunk of the decoder.
    pub decoding: u64,
}

impl MemoryEstimate {
    /// The largest sum of what is held at the same time.
    pub fn peak(&self) -> u64 {
        self.weights + self.sampling.max(self.decoding)
    }
}

/// What a stage needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StageMemory {
    /// Which.
    pub stage: Stage,
    /// Parameters.
    pub weights: u64,
    /// One step, or one chunk of the decoder.
    pub activations: u64,
}

impl StageMemory {
    /// The largest sum of weights and activations, in bytes.
    #[must_use]
    pub fn peak(needs: &[Self]) -> u64 {
        let needs = needs.iter().map(|need| need.weights + need.activations);
        needs.max().unwrap_or(0)
    }

    /// A network call over `frames` pictures of `[width, height]` pixels, each value of `bytes`.
    pub(super) fn sampling(
        stage: Stage,
        description: &StageDescription,
        (frames, [width, height], bytes): (usize, [usize; 2], u64),
    ) -> Self {
        let factor = description.factor();
        let unet = description.model.unet.as_ref();
        Self {
            stage,
            weights: description.weight_bytes(bytes),
            activations: unet.map_or(0, |unet| {
                unet_activations(
                    &unet.config,
                    frames,
                    [height / factor, width / factor],
                    bytes,
                )
            }),
        }
    }

    /// Decoding `frames` pictures at a time, where the stage has an autoencoder.
    pub(super) fn decoding(
        description: &StageDescription,
        (frames, [width, height], bytes): (usize, [usize; 2], u64),
    ) -> Option<Self> {
        let decoder = description.model.autoencoder.as_ref()?;
        Some(Self {
            stage: Stage::Decoder,
            weights: description.model.weight_bytes(bytes),
            activations: decoder_activations(&decoder.config, frames, [height, width], bytes),
        })
    }
}

/// Activations of one pass over `images` latents of `[height, width]`: all skip connections, and
/// at the widest place about twelve tensors of that level's features (a feed-forward network
/// holds eight times its input, beside the residual and the normalised input).
pub(super) fn unet_activations(
    config: &UNetConfig,
    images: usize,
    [height, width]: [usize; 2],
    bytes_per_value: u64,
) -> u64 {
    let mut skips = 0;
    let mut widest = 0;
    for (index, level) in config.levels.iter().enumerate() {
        let pixels = (images * height.div_ceil(1 << index) * width.div_ceil(1 << index)) as u64;
        let features = pixels * level.channels as u64;
        skips += features * (level.resnet_blocks as u64 + 1);
        widest = widest.max(features * 12);
    }
    (skips + widest) * bytes_per_value
}

/// Activations of decoding `frames` pictures of `[height, width]` pixels: about seven tensors of
/// the features at full resolution.
pub(super) fn decoder_activations(
    config: &AutoencoderConfig,
    frames: usize,
    [height, width]: [usize; 2],
    bytes_per_value: u64,
) -> u64 {
    let pixels = (frames * height * width) as u64;
    let channels = config.levels.first().map_or(0, |level| level.channels) as u64;
    // The last level but one still has twice the channels when it reaches full resolution.
    pixels * 2 * channels * 7 / 2 * bytes_per_value
}
