//! Stages on clips that were not generated here: more frames, larger frames.

use burn::tensor::{DType, Device, Tensor};
use vldm_media::Frame;

use super::interpolate::factor;
use super::passes::{PassStep, Passes};
use super::picture::{frame_to_pixels, pixels_to_frame};
use super::stack::{StackDescription, StageLoader};
use super::stage::StageModel;
use super::stream_decoder::StreamDecoder;
use super::upsample::{UpsampleSettings, Upsampling};
use super::wishes::{WishTokens, Wishes};
use crate::error::{Error, Result};
use crate::model::VideoAutoencoder;
use crate::preset::Stage;

/// Given frames that are worked on together: windows between two of them know nothing of others, so
/// that a clip cut here is the same as in one piece.
const PIECE: usize = 17;

/// What a step tells.
#[derive(Debug)]
pub enum EditProgress {
    /// A network took a step.
    Stepped {
        /// Steps taken.
        done: usize,
        /// Steps in all.
        of: usize,
    },
    /// The next frames of the result.
    Frames(Vec<Frame>),
}

/// Scaled latents of frames, `[1, frames, channels, height, width]`.
///
/// # Errors
/// [`Error::Input`] when the sides are no multiples of the autoencoder's factor.
pub fn encode_frames(
    part: &VideoAutoencoder,
    frames: &[Frame],
    onto: (&Device, DType),
) -> Result<Tensor<5>> {
    let factor = part.config.factor() as u32;
    if let Some(frame) = frames
        .iter()
        .find(|f| f.width() % factor != 0 || f.height() % factor != 0)
    {
        return Err(Error::Input(format!(
            "frames of {}x{} pixels: the model needs multiples of {factor}; the nearest are {}x{}",
            frame.width(),
            frame.height(),
            (frame.width() / factor).max(1) * factor,
            (frame.height() / factor).max(1) * factor
        )));
    }
    let latents: Vec<Tensor<4>> = frames
        .iter()
        .map(|frame| {
            let pixels = frame_to_pixels(frame, onto.0).cast(onto.1);
            part.autoencoder.encode(pixels).mode().cast(DType::F32)
        })
        .collect();
    Ok(Tensor::cat(latents, 0)
        .mul_scalar(part.config.scale_factor)
        .unsqueeze_dim(0))
}

/// More frames between those of a clip: an iterator. Dropping it cancels; after an error it ends.
#[derive(Debug)]
pub struct InterpolateRun {
    stage: StageModel,
    part: VideoAutoencoder,
    tokens: WishTokens,
    decoder: StreamDecoder,
    frames: Vec<Frame>,
    regimes: Vec<usize>,
    seed: u64,
    /// Given frames that are behind us.
    at: usize,
    passes: Option<Passes>,
    over: bool,
}

impl InterpolateRun {
    /// A run over `frames` of so many frames per second; each of `passes` passes multiplies the rate
    /// by [`interpolation_factor`].
    ///
    /// # Errors
    /// [`Error::Input`] when the stack cannot interpolate, or there are fewer than two frames.
    pub fn new(
        stack: &StackDescription,
        (frames, fps): (Vec<Frame>, f64),
        (passes, wishes, seed): (usize, &Wishes, u64),
        onto: (Device, DType),
    ) -> Result<Self> {
        if frames.len() < 2 || passes == 0 {
            return Err(Error::Input(format!(
                "{} frames and {passes} passes: interpolation needs two frames and one pass",
                frames.len()
            )));
        }
        let stage =
            StageLoader::new(onto.0.clone(), onto.1).load(stack.needed(Stage::Interpolation)?)?;
        let part = stage.autoencoder.clone();
        let part = part.ok_or_else(|| Error::Input("the stack has no autoencoder".into()))?;
        let factor = factor(stage.config.usual.frames)? as f64;
        let regimes = (1..=passes as i32)
            .map(|pass| nearest(&stage.config.frame_rates, fps * factor.powi(pass)))
            .collect();
        Ok(Self {
            tokens: wishes.encode(&stage)?,
            decoder: StreamDecoder::new(stack, 14, onto)?,
            stage,
            part,
            frames,
            regimes,
            seed,
            at: 0,
            passes: None,
            over: false,
        })
    }

    fn advance(&mut self) -> Result<Option<EditProgress>> {
        if self.passes.is_none() && self.at + 1 < self.frames.len() {
            let end = (self.at + PIECE).min(self.frames.len());
            let onto = (&self.stage.device, self.stage.dtype);
            let given = encode_frames(&self.part, &self.frames[self.at..end], onto)?;
            let which = (self.regimes.clone(), self.seed, self.at as u64);
            self.passes = Some(Passes::new(&self.stage, given, self.tokens.clone(), which)?);
        }
        let Some(passes) = &mut self.passes else {
            self.over = true;
            return Ok(Some(EditProgress::Frames(pictures(
                self.decoder.finish()?,
            )?)));
        };
        let frames = match passes.advance(&self.stage)? {
            PassStep::Done(frames) => frames,
            PassStep::Stepped { done, of } => {
                let pieces = (self.frames.len() - 1).div_ceil(PIECE - 1);
                return Ok(Some(EditProgress::Stepped {
                    done: self.at / (PIECE - 1) * of + done,
                    of: pieces * of,
                }));
            }
        };
        self.passes = None;
        // Pieces share a frame, which is the last of the one before.
        let count = frames.dims()[1];
        let new = match self.at {
            0 => frames,
            _ => frames.narrow(1, 1, count - 1),
        };
        self.at = (self.at + PIECE - 1).min(self.frames.len() - 1);
        Ok(Some(EditProgress::Frames(pictures(
            self.decoder.push(new)?,
        )?)))
    }
}

impl Iterator for InterpolateRun {
    type Item = Result<EditProgress>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let progress = self.advance();
        self.over |= progress.is_err();
        progress.transpose()
    }
}

/// How many times as many frames a pass of a stack's interpolation makes.
///
/// # Errors
/// [`Error::Input`] when the stack cannot interpolate.
pub fn interpolation_factor(stack: &StackDescription) -> Result<usize> {
    factor(stack.needed(Stage::Interpolation)?.config.usual.frames)
}

/// The rate nearest to `rate`, in octaves.
fn nearest(rates: &[f64], rate: f64) -> usize {
    let distance = |index: usize| (rates[index] / rate).ln().abs();
    (0..rates.len())
        .min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
        .unwrap_or(0)
}

/// A clip at several times its size: an iterator. Dropping it cancels; after an error it ends.
#[derive(Debug)]
pub struct UpsampleRun {
    stage: StageModel,
    run: Upsampling,
    over: bool,
}

impl UpsampleRun {
    /// A run over `frames`.
    ///
    /// # Errors
    /// [`Error::Input`] when the stack has no upsampler, or does not know the wishes.
    pub fn new(
        stack: &StackDescription,
        frames: &[Frame],
        (settings, wishes, seed): (UpsampleSettings, &Wishes, u64),
        (device, dtype): (Device, DType),
    ) -> Result<Self> {
        let stage = StageLoader::new(device, dtype).load(stack.needed(Stage::Upsampler)?)?;
        let tokens = wishes.encode(&stage)?;
        let pixels = frames
            .iter()
            .map(|frame| frame_to_pixels(frame, &stage.device));
        let low: Tensor<5> = Tensor::cat(pixels.collect(), 0).unsqueeze_dim(0);
        let run = Upsampling::new(&stage, low, tokens, (seed, settings))?;
        Ok(Self {
            stage,
            run,
            over: false,
        })
    }

    /// How many times larger the result is.
    #[must_use]
    pub fn upscale(&self) -> usize {
        self.stage.config.upscaling()
    }
}

impl Iterator for UpsampleRun {
    type Item = Result<EditProgress>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let step = self.run.advance(&self.stage)?;
        self.over = step.is_err();
        Some(step)
    }
}

/// Frames of pixels in \[−1, 1\], `[frames, 3, height, width]` in pieces.
///
/// # Errors
/// [`Error::NonFinite`] where a value is no number.
pub fn pictures(pieces: Vec<Tensor<4>>) -> Result<Vec<Frame>> {
    pieces
        .into_iter()
        .flat_map(|pixels| pixels.split(1, 0))
        .map(|frame| pixels_to_frame(frame.squeeze_dim(0), 0))
        .collect()
}
