//! The memory of a recipe's run, from its networks and its largest batch.

use super::latents::ENCODED_AT_ONCE;
use super::memory::{Batch, TrainingMemory, pass_memory};
use super::networks::Networks;
use super::parameters::count_learning;
use super::recipe::Recipe;
use super::run::dtype;
use crate::autoencoder::AutoencoderConfig;
use crate::checkpoint::count_parameters;
use crate::error::Result;
use crate::preset::Preset;

/// The expected memory of a run; `networks` are those under training.
///
/// # Errors
/// When neither the recipe nor the model says how large a batch is.
pub(crate) fn training_memory(
    recipe: &Recipe,
    preset: &Preset,
    networks: &Networks,
) -> Result<TrainingMemory> {
    let learning = count_learning(networks);
    let frozen = count_parameters(networks) - learning;
    let bytes = dtype(recipe).size();
    let averages = usize::from(recipe.optimizer.ema > 0.0);
    // The parameter, two moments and the average, in f32.
    let state = learning * 4 * (3 + averages) + frozen * bytes;
    let picture = Pictures::of(recipe, preset)?;
    let encoding = preset.autoencoder.as_ref().map_or(0, |config| {
        encoder_values(config) * picture.encoded() * bytes
    });
    // Gradients of the passes before, added up.
    let sum = match recipe.batch.accumulate {
        1 => 0,
        _ => 4 * learning as u64,
    };
    let [activations, by_block] = match &networks.unet {
        Some(unet) => {
            let batch = picture.latents(preset, bytes);
            let front = front_values(networks, preset, &batch) * bytes;
            pass_memory((networks, unet), batch, front as u64).map(|bytes| Some(bytes + sum))
        }
        None => {
            let values = preset.autoencoder.as_ref().map_or(0, coder_values);
            let kept = values * picture.images * picture.pixels() * bytes;
            [Some((kept + 4 * learning) as u64 + sum), None]
        }
    };
    Ok(TrainingMemory {
        state: state as u64,
        activations: activations.unwrap_or(0),
        by_block,
        encoding: encoding as u64,
        learning: 4 * learning as u64,
    })
}

/// The largest batch there may be.
struct Pictures {
    images: usize,
    size: [usize; 2],
}

impl Pictures {
    fn of(recipe: &Recipe, preset: &Preset) -> Result<Self> {
        let order = recipe.order(preset)?;
        let sizes = order.buckets.iter();
        let largest = sizes.max_by_key(|size| u64::from(size[0]) * u64::from(size[1]));
        let frames = order.lengths.iter().max().copied().unwrap_or(1);
        // Half of DreamBooth's batch shows the class.
        let parts = if recipe.dreambooth.is_some() { 2 } else { 1 };
        Ok(Self {
            images: recipe.batch.size * parts * frames,
            size: largest.map_or([0; 2], |size| size.map(|side| side as usize)),
        })
    }

    fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Pixels that go through the encoder at once.
    fn encoded(&self) -> usize {
        self.images.min(ENCODED_AT_ONCE) * self.pixels()
    }

    fn latents(&self, preset: &Preset, bytes: usize) -> Batch {
        let factor = preset
            .autoencoder
            .as_ref()
            .map_or(1, AutoencoderConfig::factor);
        Batch {
            images: self.images,
            size: self.size.map(|side| side / factor),
            bytes,
        }
    }
}

/// What is kept before the blocks: the first convolution's output, and what a text encoder that
/// learns keeps. After them: the last normalisation.
fn front_values(networks: &Networks, preset: &Preset, batch: &Batch) -> usize {
    let channels = preset
        .unet
        .as_ref()
        .map_or(0, |unet| unet.levels[0].channels);
    let positions = batch.images * batch.size[0] * batch.size[1];
    let learns = networks
        .text_encoder
        .as_ref()
        .is_some_and(|encoder| count_learning(encoder) > 0);
    let text = match &preset.text_encoder {
        Some(config) if learns => {
            // Two norms, queries, keys, values, what was attended to and two results; the
            // feed-forward network before and after its activation.
            let layer = 8 * config.width + 2 * config.mlp_width;
            batch.images * config.max_tokens * config.layers * layer
        }
        _ => 0,
    };
    2 * channels * positions + text
}

/// Values per pixel that encoding holds at its most: at full resolution, a residual block's input,
/// both normalised tensors and what is between the convolutions.
fn encoder_values(config: &AutoencoderConfig) -> usize {
    4 * config.levels.first().map_or(0, |level| level.channels)
}

/// Values per pixel that the gradients of an autoencoder keep: of each residual block both
/// normalised tensors, what is between the convolutions and the result; the enlarged images.
fn coder_values(config: &AutoencoderConfig) -> usize {
    let levels = config.levels.iter().enumerate();
    let values = levels.map(|(index, level)| {
        let blocks = 2 * config.resnet_blocks + 1;
        (4 * blocks + 3) * level.channels / (1 << (2 * index))
    });
    values.sum()
}
