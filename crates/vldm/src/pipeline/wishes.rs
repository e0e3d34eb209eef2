//! What a picture or clip should show, as tokens for the networks of a stage.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::stage::StageModel;
use crate::conditioning::boxes::ObjectBox;
use crate::conditioning::encoders::ConditionEncodersConfig;
use crate::conditioning::labels::LabelEncoderConfig;
use crate::error::{Error, Result};
use crate::model::ModelDescription;
use crate::text::{Tokenizer, input_ids};
use crate::train::denoising::tokens;
use crate::train::{Networks, TemporalWords, Words};

/// What is asked for, in every way that a model may read. What a model does not read is an error;
/// what is not said is left open.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wishes {
    /// What to show.
    pub prompt: Option<String>,
    /// What not to show: takes the place of the empty prompt in guidance.
    pub negative_prompt: Option<String>,
    /// Labels by name (`night`, `crowdedness`).
    pub labels: BTreeMap<String, usize>,
    /// Boxes on the first frame.
    pub boxes: Vec<ObjectBox>,
}

/// What several samples should show.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SampleWishes {
    /// The same for all of them, unless `each` says otherwise.
    #[serde(flatten)]
    pub all: Wishes,
    /// One for each, where they differ; else empty.
    #[serde(skip)]
    pub each: Vec<Wishes>,
}

impl From<Wishes> for SampleWishes {
    fn from(all: Wishes) -> Self {
        Self {
            all,
            each: Vec::new(),
        }
    }
}

impl SampleWishes {
    /// What a sample should show.
    #[must_use]
    pub fn of(&self, sample: usize) -> &Wishes {
        self.each.get(sample).unwrap_or(&self.all)
    }

    /// Those that differ: one for all samples, or one for each.
    #[must_use]
    pub fn as_slice(&self) -> &[Wishes] {
        match self.each.as_slice() {
            [] => std::slice::from_ref(&self.all),
            each => each,
        }
    }
}

/// The tokens of both branches of guidance.
#[derive(Debug, Clone)]
pub(crate) struct WishTokens {
    pub(crate) wanted: ReadTokens,
    pub(crate) unconditional: ReadTokens,
}

/// What cross-attention reads in one branch, `[1, tokens, width]` each.
#[derive(Debug, Clone)]
pub(crate) struct ReadTokens {
    /// `None` where the network reads none.
    pub(crate) spatial: Option<Tensor<3>>,
    /// What layers over time read, where that is something else.
    pub(crate) temporal: Option<Tensor<3>>,
}

impl ReadTokens {
    /// The words of a batch.
    pub(crate) fn words(&self, batch: usize) -> Words {
        let repeated = self.spatial.as_ref().map(|tokens| repeat(tokens, batch));
        repeated.map_or(Words::None, Words::Tokens)
    }

    /// What layers over time read of a batch.
    pub(crate) fn temporal_words(&self, batch: usize) -> TemporalWords {
        let repeated = self.temporal.as_ref().map(|tokens| repeat(tokens, batch));
        repeated.map_or(TemporalWords::Spatial, TemporalWords::Tokens)
    }
}

fn repeat(tokens: &Tensor<3>, batch: usize) -> Tensor<3> {
    let [_, count, width] = tokens.dims();
    tokens.clone().expand([batch, count, width])
}

/// What of a prompt and a negative prompt the model does not read: words of `texts` that are cut off, and
/// words of `known` that it cannot tell apart.
fn unread(tokenizer: &Tokenizer, texts: [&str; 2], known: [&str; 2]) -> Vec<String> {
    let mut warnings = Vec::new();
    let each = ["prompt", "negative prompt"].into_iter().zip(texts);
    for ((name, text), known) in each.zip(known) {
        if let Some(cut) = tokenizer.encode(text).truncated {
            warnings.push(format!(
                "the {name} is longer than {} tokens; this part of it is not read: \"{cut}\"",
                tokenizer.max_length()
            ));
        }
        let unknown = tokenizer.unknown_words(known);
        if !unknown.is_empty() {
            warnings.push(format!(
                "the model has never read {} of the {name}: it cannot tell these words apart",
                unknown.join(", ")
            ));
        }
    }
    warnings
}

impl Wishes {
    /// Checks the wishes against what a model reads.
    ///
    /// # Errors
    /// [`Error::Input`] for text, labels or boxes that the model does not know.
    pub fn check(&self, model: &ModelDescription) -> Result<()> {
        let none = ConditionEncodersConfig::default();
        let conditions = model.conditions.as_ref().unwrap_or(&none);
        self.check_readable(conditions, model.text_encoder.is_some())
    }

    /// The same for a whole clip, of which boxes say nothing.
    ///
    /// # Errors
    /// As [`Wishes::check`], and where there are boxes.
    pub fn check_for_clip(&self, model: &ModelDescription) -> Result<()> {
        if !self.boxes.is_empty() {
            return Err(Error::Input(
                "boxes say where things stand in one frame: ask for a picture (`--frames 1`), or roll \
                 out what follows it with `vldm drive --scene`"
                    .into(),
            ));
        }
        self.check(model)
    }

    /// The same wishes without boxes, which stand where they are on a first frame only.
    #[must_use]
    pub fn without_boxes(&self) -> Self {
        Self {
            boxes: Vec::new(),
            ..self.clone()
        }
    }

    /// Checks the wishes against what a stage reads, and encodes them.
    ///
    /// # Errors
    /// As [`Wishes::check`].
    pub(crate) fn encode(&self, stage: &StageModel) -> Result<WishTokens> {
        self.check_readable(&stage.conditions, stage.tokenizer.is_some())?;
        let open = Wishes {
            prompt: self.negative_prompt.clone(),
            ..Wishes::default()
        };
        Ok(WishTokens {
            wanted: self.read(stage)?,
            unconditional: open.read(stage)?,
        })
    }

    fn read(&self, stage: &StageModel) -> Result<ReadTokens> {
        let read_by = |networks: &Networks, tokenizer: &Option<Tokenizer>, wishes: &Self| {
            let reads = (tokenizer.as_ref(), &stage.conditions);
            tokens(networks, &wishes.words(reads, &stage.device)?)
        };
        let Some(original) = &stage.original else {
            return Ok(ReadTokens {
                spatial: read_by(&stage.networks, &stage.tokenizer, self)?,
                temporal: None,
            });
        };
        let (spatial, temporal) = (self.personal()?, self.impersonal()?);
        Ok(ReadTokens {
            spatial: read_by(&stage.networks, &stage.tokenizer, &spatial)?,
            temporal: read_by(&original.networks, &original.tokenizer, &temporal)?,
        })
    }

    /// Those of them that a model reads: of too many boxes the largest, of labels beyond the last value
    /// that one, as in training.
    #[must_use]
    pub fn known_to_model(&self, model: &ModelDescription) -> Wishes {
        let none = ConditionEncodersConfig::default();
        let conditions = model.conditions.as_ref().unwrap_or(&none);
        self.readable(conditions, model.text_encoder.is_some())
    }

    /// Those of them that a stage reads: an upsampler need not know everything that key frames do.
    pub(crate) fn known_to(&self, stage: &StageModel) -> Wishes {
        self.readable(&stage.conditions, stage.tokenizer.is_some())
    }

    fn readable(&self, reads: &ConditionEncodersConfig, reads_text: bool) -> Wishes {
        let labels = reads.labels.iter().flat_map(|config| &config.labels);
        let known = labels.filter_map(|label| {
            let value = label.nearest(*self.labels.get(&label.name)?);
            Some((label.name.clone(), value))
        });
        Wishes {
            prompt: self.prompt.clone().filter(|_| reads_text),
            negative_prompt: self.negative_prompt.clone().filter(|_| reads_text),
            labels: known.collect(),
            boxes: reads
                .boxes
                .as_ref()
                .map_or_else(Vec::new, |config| config.largest(&self.boxes)),
        }
    }

    /// What the user should know: words that were cut, or that the model cannot read.
    pub(crate) fn warnings(&self, stage: &StageModel) -> Vec<String> {
        let Some(tokenizer) = &stage.tokenizer else {
            return Vec::new();
        };
        // A personal word is unknown on purpose.
        let impersonal = stage.original.as_ref().and_then(|_| self.impersonal().ok());
        let known = impersonal.as_ref().unwrap_or(self);
        unread(tokenizer, self.texts(), known.texts())
    }

    fn texts(&self) -> [&str; 2] {
        [&self.prompt, &self.negative_prompt].map(|text| text.as_deref().unwrap_or_default())
    }

    fn check_readable(&self, reads: &ConditionEncodersConfig, text: bool) -> Result<()> {
        let labels = reads.labels.as_ref().map(|config| config.labels.as_slice());
        let known = labels.unwrap_or_default();
        let unknown = |name: &&String| known.iter().all(|label| label.name != **name);
        if let Some(name) = self.labels.keys().find(unknown) {
            let known: Vec<&str> = known.iter().map(|label| label.name.as_str()).collect();
            return Err(Error::Input(format!(
                "the model knows no label \"{name}\"; expected {}",
                match known.as_slice() {
                    [] => "none: it reads no labels".to_owned(),
                    known => format!("one of {}", known.join(", ")),
                }
            )));
        }
        if let Some(config) = &reads.labels {
            config.check(&self.label_values(config))?;
        }
        match &reads.boxes {
            Some(config) => config.check(&self.boxes)?,
            None if self.boxes.is_empty() => {}
            None => {
                return Err(Error::Input(
                    "the model reads no boxes: choose one that does".into(),
                ));
            }
        }
        if (self.prompt.is_some() || self.negative_prompt.is_some()) && !text {
            return Err(Error::Input(
                "the model reads no text: leave out the prompt, and say what you want by labels"
                    .into(),
            ));
        }
        Ok(())
    }

    fn label_values(&self, config: &LabelEncoderConfig) -> Vec<Option<usize>> {
        let value = |name: &String| self.labels.get(name).copied();
        let values = config.labels.iter().map(|label| value(&label.name));
        values.collect()
    }

    /// In the order in which training lays the tokens.
    fn words(
        &self,
        (tokenizer, conditions): (Option<&Tokenizer>, &ConditionEncodersConfig),
        device: &Device,
    ) -> Result<Words> {
        let mut all = Vec::new();
        if let Some(tokenizer) = tokenizer {
            let text = self.prompt.as_deref().unwrap_or_default();
            all.push(Words::Text(input_ids(&[tokenizer.encode(text)], device)?));
        }
        if let Some(config) = &conditions.labels {
            let values = self.label_values(config);
            all.push(Words::Labels(config.batch(&[values], device)?));
        }
        if let Some(config) = &conditions.boxes {
            let boxes = std::slice::from_ref(&self.boxes);
            all.push(Words::Boxes(config.batch(boxes, device)?));
        }
        Ok(match all.len() {
            0 => Words::None,
            1 => all.remove(0),
            _ => Words::All(all),
        })
    }
}
