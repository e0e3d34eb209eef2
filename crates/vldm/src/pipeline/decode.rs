//! Decoding long clips a chunk at a time.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::model::VideoAutoencoder;

/// Frames on either side of a chunk that are decoded with it and thrown away, so that the
/// decoder's convolutions over time see the neighbours.
const OVERLAP: usize = 2;

/// The chunks of a clip, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeChunks {
    frames: usize,
    chunk: usize,
    overlap: usize,
}

impl DecodeChunks {
    /// Chunks of at most `chunk` frames; `temporal` where the decoder has layers over time.
    pub fn new(frames: usize, chunk: usize, temporal: bool) -> Self {
        Self {
            frames,
            chunk: chunk.clamp(1, frames.max(1)),
            overlap: if temporal { OVERLAP } else { 0 },
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.frames.div_ceil(self.chunk)
    }

    /// Whether there is nothing to decode.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The frames that chunk `index` gives, and those that are decoded for it.
    pub fn chunk(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let kept = index * self.chunk..((index + 1) * self.chunk).min(self.frames);
        let decoded =
            kept.start.saturating_sub(self.overlap)..(kept.end + self.overlap).min(self.frames);
        (kept, decoded)
    }
}

/// Decodes one chunk.
///
/// # Shapes
/// - `latents`: `[1, frames, channels, height, width]`, scaled as diffusion sees them, whole clip
/// - returns: `[kept frames, 3, height·factor, width·factor]`
///
/// # Errors
/// [`Error::Input`] for latents of another model.
pub fn decode_latents(
    part: &VideoAutoencoder,
    latents: &Tensor<5>,
    (kept, decoded): (Range<usize>, Range<usize>),
) -> Result<Tensor<4>> {
    let channels = latents.dims()[2];
    if channels != part.config.latent_channels {
        return Err(Error::Input(format!(
            "latents of {channels} channels, but this autoencoder has {}: they are another model's",
            part.config.latent_channels
        )));
    }
    let chunk = latents.clone().narrow(1, decoded.start, decoded.len());
    let chunk = chunk.div_scalar(part.config.scale_factor);
    let pixels = match &part.temporal {
        Some(layers) => part.autoencoder.decode_video(chunk, layers).squeeze_dim(0),
        None => {
            let frames: Vec<_> = (0..decoded.len())
                .map(|index| chunk.clone().narrow(1, index, 1).squeeze_dim::<4>(0))
                .map(|frame| part.autoencoder.decode(frame))
                .collect();
            Tensor::cat(frames, 0)
        }
    };
    Ok(pixels.narrow(0, kept.start - decoded.start, kept.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_kept_once() {
        for frames in 1..40 {
            for chunk in 1..20 {
                let chunks = DecodeChunks::new(frames, chunk, true);
                let mut next = 0;
                for index in 0..chunks.len() {
                    let (kept, decoded) = chunks.chunk(index);
                    assert_eq!(kept.start, next);
                    assert!(decoded.start <= kept.start && kept.end <= decoded.end);
                    assert!(decoded.end <= frames);
                    next = kept.end;
                }
                assert_eq!(next, frames);
            }
        }
    }
}
