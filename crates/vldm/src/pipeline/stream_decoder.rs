//! Decoding clips whose latents come piece by piece.

use burn::tensor::{DType, Device, Tensor};

use super::decode::decode_latents;
use super::stack::{StackDescription, StageLoader};
use crate::error::Result;
use crate::model::VideoAutoencoder;

/// Decodes latents that come piece by piece: each frame once, with the neighbours that a decoder over
/// time looks at.
#[derive(Debug)]
pub struct StreamDecoder {
    part: VideoAutoencoder,
    dtype: DType,
    chunk: usize,
    /// Latents not all of which are decoded, `[1, frames, channels, height, width]`.
    held: Option<Tensor<5>>,
    /// Frames at the beginning of `held` that are decoded already.
    decoded: usize,
}

impl StreamDecoder {
    /// Frames on either side that a decoder over time looks at.
    const OVERLAP: usize = 2;

    /// A decoder of a stack's latents, `chunk` frames at a time.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) when the stack has no autoencoder.
    pub fn new(
        stack: &StackDescription,
        chunk: usize,
        (device, dtype): (Device, DType),
    ) -> Result<Self> {
        Ok(Self {
            part: StageLoader::new(device, dtype).autoencoder(stack)?,
            dtype,
            chunk: chunk.max(1),
            held: None,
            decoded: 0,
        })
    }

    /// Pixels along one latent.
    #[must_use]
    pub fn factor(&self) -> usize {
        self.part.config.factor()
    }

    /// Takes more latents; returns the frames that can be decoded by now, `[frames, 3, height,
    /// width]` in pieces.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for latents of another model.
    pub fn push(&mut self, latents: Tensor<5>) -> Result<Vec<Tensor<4>>> {
        self.held = Some(match self.held.take() {
            None => latents,
            Some(held) => Tensor::cat(vec![held, latents], 1),
        });
        self.decode(Self::OVERLAP)
    }

    /// The rest.
    ///
    /// # Errors
    /// As [`StreamDecoder::push`].
    pub fn finish(&mut self) -> Result<Vec<Tensor<4>>> {
        self.decode(0)
    }

    /// Decodes all but the last `wait` frames.
    fn decode(&mut self, wait: usize) -> Result<Vec<Tensor<4>>> {
        let Some(held) = self.held.take() else {
            return Ok(Vec::new());
        };
        let frames = held.dims()[1];
        let end = frames.saturating_sub(wait).max(self.decoded);
        let mut pieces = Vec::new();
        let mut start = self.decoded;
        while start < end {
            let kept = start..end.min(start + self.chunk);
            let seen =
                kept.start.saturating_sub(Self::OVERLAP)..(kept.end + Self::OVERLAP).min(frames);
            start = kept.end;
            let latents = held.clone().cast(self.dtype);
            let pixels = decode_latents(&self.part, &latents, (kept, seen))?;
            pieces.push(pixels.cast(DType::F32).clamp(-1.0, 1.0));
        }
        let first = end.saturating_sub(Self::OVERLAP);
        self.held = Some(held.narrow(1, first, frames - first));
        self.decoded = end - first;
        Ok(pieces)
    }
}
