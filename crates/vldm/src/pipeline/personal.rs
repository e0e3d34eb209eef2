//! A personal model in the place of an image model: pictures of one's own subject, moved by layers
//! over time that have never seen it.
//!
//! The personal word stands in parentheses. Spatial layers read "a sks car" of "a (sks) car", with
//! the personal text encoder; layers over time read "a car", with the encoder that they know.
//!
//! # Source
//! Blattmann et al. 2023, appendix H.3.

use super::wishes::Wishes;
use crate::error::{Error, Result};
use crate::model::ModelDescription;
use crate::text::Tokenizer;
use crate::train::Networks;

/// What layers over time read under a personal model: the words of the model that they were trained
/// in.
#[derive(Debug)]
pub(crate) struct Original {
    /// Encoders alone.
    pub(crate) networks: Networks,
    pub(crate) tokenizer: Option<Tokenizer>,
}

/// Checks that a personal model can stand in for `original`.
///
/// # Errors
/// [`Error::Input`] when it is of other sizes or reads no text.
pub(crate) fn check(personal: &ModelDescription, original: &ModelDescription) -> Result<()> {
    let networks = |model: &ModelDescription| {
        let unet = model.unet.as_ref().map(|unet| unet.config.clone());
        let conditions = model.conditions.clone().unwrap_or_default();
        let noise = model.noise.as_ref();
        let noise = noise.map(|noise| (noise.schedule, noise.parameterization));
        (unet, conditions.labels, conditions.boxes, noise)
    };
    let readers = [personal, original].map(|model| model.text_encoder.is_some());
    if networks(personal) == networks(original) && readers == [true; 2] {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{} cannot stand in for {}: expected a model that was trained from it, with a U-Net of the same \
         sizes, the same noise schedule and prediction, and a text encoder",
        personal.path.display(),
        original.path.display()
    )))
}

impl Wishes {
    /// The prompts as spatial layers of a personal model read them: without parentheses.
    ///
    /// # Errors
    /// [`Error::Input`] for a parenthesis without its other half.
    pub(crate) fn personal(&self) -> Result<Self> {
        self.with_prompts(true)
    }

    /// The prompts as everything else reads them: without parentheses and what stands in them.
    ///
    /// # Errors
    /// As [`Wishes::personal`].
    pub(crate) fn impersonal(&self) -> Result<Self> {
        self.with_prompts(false)
    }

    fn with_prompts(&self, personal: bool) -> Result<Self> {
        let change = |prompt: &Option<String>| {
            let changed = prompt.as_deref().map(|prompt| read_as(prompt, personal));
            changed.transpose()
        };
        Ok(Self {
            prompt: change(&self.prompt)?,
            negative_prompt: change(&self.negative_prompt)?,
            ..self.clone()
        })
    }
}

/// A prompt without parentheses; what stands in them is kept where `personal` says so.
fn read_as(prompt: &str, personal: bool) -> Result<String> {
    let unpaired = || {
        Error::Input(format!(
            "\"{prompt}\": expected every parenthesis with its other half, as in \"a (sks) car\"; they \
             mark what only the personal model knows"
        ))
    };
    let mut depth = 0_usize;
    let mut kept = String::new();
    for character in prompt.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or_else(unpaired)?,
            other if personal || depth == 0 => kept.push(other),
            _ => {}
        }
    }
    if depth > 0 {
        return Err(unpaired());
    }
    let words: Vec<&str> = kept.split_whitespace().collect();
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::super::stage::StageModel;
    use super::super::stage_run::Told;
    use super::*;
    use crate::diffusion::NoiseLevel;
    use crate::model::{LoadSettings, Model, StageConfig};
    use crate::preset::Preset;
    use crate::train::denoising::network_input;

    fn wishes(prompt: &str) -> Wishes {
        Wishes {
            prompt: Some(prompt.into()),
            ..Wishes::default()
        }
    }

    #[test]
    fn parentheses_hold_what_is_personal() {
        let check = |prompt: &str, personal: &str, impersonal: &str| {
            let read = |wishes: Result<Wishes>| wishes.expect("a prompt").prompt.expect("one");
            assert_eq!(read(wishes(prompt).personal()), personal);
            assert_eq!(read(wishes(prompt).impersonal()), impersonal);
        };
        check(
            "a (sks) car on a road",
            "a sks car on a road",
            "a car on a road",
        );
        check("(sks and (zwx) ) frogs", "sks and zwx frogs", "frogs");
        check("a car", "a car", "a car");
        check("(sks)", "sks", "");
    }

    #[test]
    fn half_a_pair_is_refused() {
        for prompt in ["a (sks car", "a sks) car", ")("] {
            let error = wishes(prompt)
                .personal()
                .expect_err("not a pair")
                .to_string();
            assert!(error.contains("other half"), "{error}");
        }
    }

    #[test]
    fn nothing_said_stays_unsaid() {
        assert_eq!(
            Wishes::default().personal().expect("nothing"),
            Wishes::default()
        );
    }

    /// The tokens that spatial layers and layers over time are given.
    fn read(stage: &StageModel, prompt: &str) -> [Vec<f32>; 2] {
        let tokens = wishes(prompt).encode(stage).expect("tokens");
        let shape = [1, 2, stage.channels, 8, 8];
        let told = Told::words(&tokens, shape, &stage.device).wanted;
        let levels = [NoiseLevel::CLEAN];
        let asked = (&told, told.clean.clone(), levels.as_slice());
        let (input, time) =
            network_input(&stage.networks, &stage.preconditioning, asked).expect("an input");
        let time = time.expect("layers over time").tokens;
        [input.context, time].map(|tokens| {
            let values = tokens.expect("words are read").cast(DType::F32);
            values.into_data().try_to_vec().expect("f32")
        })
    }

    #[test]
    fn layers_over_time_read_the_original_words_with_the_original_encoder() {
        each_reads_its_own("tiny-sd21-video", DType::F32);
        // One that reads labels and boxes too.
        each_reads_its_own("world-video", DType::BF16);
    }

    fn each_reads_its_own(preset: &str, dtype: DType) {
        let model = |seed| {
            let preset = Preset::load(preset).expect("a preset");
            let settings = LoadSettings {
                device: Device::flex(),
                dtype,
                temporal: None,
            };
            let description = ModelDescription::from_preset(&preset, seed).expect("a model");
            description.load(&settings).expect("weights")
        };
        let stage = |model: &Model| StageModel::new(model, &StageConfig::default());
        let (original, subject) = (model(1), model(2));
        let personal = stage(&original).expect("a stage").with_personal(&subject);
        let [spatial, temporal] = read(&personal, "a (sks) car");
        let plain = |model: &Model, prompt| read(&stage(model).expect("a stage"), prompt);
        assert_eq!(spatial, plain(&subject, "a sks car")[0]);
        assert_eq!(temporal, plain(&original, "a car")[1]);
        assert_ne!(spatial, temporal);
    }
}
