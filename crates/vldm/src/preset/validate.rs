//! What must hold between the sections of a preset.

use super::{Part, Preset};
use crate::autoencoder::AutoencoderConfig;
use crate::diffusion::NoiseSchedule;
use crate::error::{Error, Result};
use crate::text::{ClipTextConfig, PadToken, Tokenizer};

impl Preset {
    /// Checks every section, and that the sections fit each other.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first thing that does not fit.
    pub fn validate(&self) -> Result<()> {
        let checks = [
            Self::validate_sections,
            Self::validate_contexts,
            Self::validate_sampling,
            Self::validate_clip,
            Self::validate_lists,
        ];
        checks
            .iter()
            .try_for_each(|check| check(self))
            .map_err(|error| Error::Config(format!("preset {}: {error}", self.name)))
    }

    fn validate_sections(&self) -> Result<()> {
        if let Some(config) = &self.unet {
            config.validate()?;
        }
        if let Some(config) = &self.autoencoder {
            config.validate()?;
        }
        if let Some(config) = &self.text_encoder {
            config.validate()?;
            self.validate_words(config)?;
        }
        if let Some(config) = &self.image_encoder {
            config.validate()?;
        }
        if let Some(config) = &self.boxes {
            config.validate()?;
        }
        if let Some(config) = &self.labels {
            config.validate()?;
        }
        if let Some(config) = &self.frame_rate {
            config.validate()?;
        }
        if let Some(scale) = self.diffusion.as_ref().and_then(|c| c.residual_scale) {
            let upscale = self.clip.as_ref().and_then(|clip| clip.upscale);
            require(
                scale > 0.0 && scale.is_finite() && upscale.is_some() && self.autoencoder.is_none(),
                || {
                    format!(
                        "diffusion.residual_scale is {scale}: expected a positive number, in an \
                         upsampler (clip.upscale) without an autoencoder"
                    )
                },
            )?;
        }
        require(self.temporal.is_none() || self.unet.is_some(), || {
            "temporal layers need a U-Net".into()
        })?;
        require(
            self.temporal_decoder.is_none() || self.autoencoder.is_some(),
            || "a decoder's temporal layers need an autoencoder".into(),
        )
    }

    /// A text encoder of a few words has rows for just those.
    fn validate_words(&self, config: &ClipTextConfig) -> Result<()> {
        if self.words.is_empty() {
            return Ok(());
        }
        let tokenizer = Tokenizer::builtin(PadToken::EndOfText).with_words(&self.words)?;
        let rows = tokenizer.vocabulary_size();
        require(config.vocabulary == rows, || {
            format!(
                "text_encoder.vocabulary is {}, expected {rows} for the tokens of `words`",
                config.vocabulary
            )
        })
    }

    /// Every cross-attention is as wide as what feeds it.
    fn validate_contexts(&self) -> Result<()> {
        let sources = [
            ("text_encoder", self.text_encoder.as_ref().map(|c| c.width)),
            (
                "image_encoder",
                self.image_encoder.as_ref().map(|c| c.projection),
            ),
            ("boxes", self.boxes.as_ref().map(|c| c.width)),
            ("labels", self.labels.as_ref().map(|c| c.width)),
        ];
        let spatial = self.unet.as_ref().and_then(|c| c.context_width);
        for (source, width) in sources {
            require(
                self.unet.is_none() || width.is_none() || width == spatial,
                || {
                    format!(
                        "the U-Net's context_width is {}, expected that of {source}, {}",
                        shown(spatial),
                        shown(width)
                    )
                },
            )?;
        }
        match (&self.temporal, &self.unet) {
            (Some(temporal), Some(unet)) => {
                temporal.validate(unet)?;
                temporal.check_width([spatial, self.frame_rate.map(|config| config.width)])?;
                let frames = self.clip.as_ref().map(|clip| clip.num_frames);
                frames.map_or(Ok(()), |frames| temporal.check_frames(frames))
            }
            _ => Ok(()),
        }
    }

    fn validate_sampling(&self) -> Result<()> {
        let Some(diffusion) = &self.diffusion else {
            return require(self.sampling.is_none(), || {
                "`sampling` needs `diffusion`".into()
            });
        };
        let schedule = NoiseSchedule::new(diffusion.schedule)?;
        if let Some(sampling) = &self.sampling {
            sampling
                .sampler
                .plan(&schedule, &sampling.spacing, sampling.steps)?;
        }
        Ok(())
    }

    fn validate_clip(&self) -> Result<()> {
        let Some(clip) = &self.clip else {
            return Ok(());
        };
        let factor = self
            .autoencoder
            .as_ref()
            .map_or(1, AutoencoderConfig::factor);
        let sides = [clip.height, clip.width];
        require(
            sides
                .iter()
                .all(|side| *side > 0 && side.is_multiple_of(factor)),
            || {
                format!(
                    "clips of {}×{} pixels, expected multiples of the autoencoder's factor, {factor}",
                    clip.height, clip.width
                )
            },
        )?;
        require(
            clip.num_frames > 0 && clip.fps.iter().all(|fps| *fps > 0.0),
            || "clips need at least one frame, and frame rates above 0".into(),
        )
    }

    fn validate_lists(&self) -> Result<()> {
        require(!self.name.is_empty() && !self.summary.is_empty(), || {
            "`name` and `summary` must not be empty".into()
        })?;
        for part in self.trained_on_video.iter().chain(self.sizes.keys()) {
            require(self.has(*part), || {
                format!(
                    "`trained_on_video` or `sizes` names the {}, which it does not have",
                    part.title()
                )
            })?;
        }
        let countable = |part: &Part| !matches!(part, Part::Decoder | Part::VideoUnet);
        for stage in &self.stages {
            require(stage.parts.iter().all(countable), || {
                format!(
                    "stage \"{}\" lists a part of a part, expected whole ones",
                    stage.stage.title()
                )
            })?;
        }
        require(self.stages.is_empty() || self.total.is_some(), || {
            "a stack needs `total`".into()
        })?;
        require(self.stages.is_empty() != self.parts().is_empty(), || {
            "expected either parts of a model or the stages of a stack".into()
        })
    }
}

fn require(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::Config(message())),
    }
}

fn shown(width: Option<usize>) -> String {
    width.map_or_else(|| "absent".into(), |width| width.to_string())
}
