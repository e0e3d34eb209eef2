//! What `transformers` writes into the JSON files of a tokenizer, as far as CLIP's needs it.
//!
//! These are foreign files, so unlike in our own formats unknown keys are passed over.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct TokenizerJson {
    #[serde(default)]
    pub(super) added_tokens: Vec<TokenJson>,
    pub(super) model: ModelJson,
}

#[derive(Deserialize)]
pub(super) struct ModelJson {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) vocab: HashMap<String, u32>,
    pub(super) merges: Vec<MergeJson>,
}

/// A merge as one string with a space (older files) or as two strings.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum MergeJson {
    Line(String),
    Pair(String, String),
}

/// An added token; its own id is missing where the id is the key.
#[derive(Deserialize, Clone)]
pub(super) struct TokenJson {
    pub(super) id: Option<u32>,
    pub(super) content: String,
    pub(super) normalized: Option<bool>,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) special: bool,
}

/// A special token, by name or in full.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(super) enum SpecialJson {
    Name(String),
    Token(TokenJson),
}

impl SpecialJson {
    pub(super) fn content(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Token(token) => &token.content,
        }
    }
}

/// The special tokens in the order in which `transformers` registers them.
#[derive(Deserialize, Default)]
pub(super) struct SpecialTokens {
    pub(super) bos_token: Option<SpecialJson>,
    pub(super) eos_token: Option<SpecialJson>,
    pub(super) unk_token: Option<SpecialJson>,
    pub(super) sep_token: Option<SpecialJson>,
    pub(super) pad_token: Option<SpecialJson>,
    pub(super) cls_token: Option<SpecialJson>,
    pub(super) mask_token: Option<SpecialJson>,
}

#[derive(Deserialize, Default)]
pub(super) struct ConfigJson {
    /// Our own addition: the text encoder's table has rows for the tokens of these words only.
    pub(super) words: Option<Vec<String>>,
    pub(super) tokenizer_class: Option<String>,
    pub(super) model_max_length: Option<f64>,
    pub(super) added_tokens_decoder: Option<BTreeMap<u32, TokenJson>>,
    #[serde(flatten)]
    pub(super) special: SpecialTokens,
}

impl SpecialTokens {
    /// These, with the gaps filled from `other`.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            bos_token: self.bos_token.or(other.bos_token),
            eos_token: self.eos_token.or(other.eos_token),
            unk_token: self.unk_token.or(other.unk_token),
            sep_token: self.sep_token.or(other.sep_token),
            pad_token: self.pad_token.or(other.pad_token),
            cls_token: self.cls_token.or(other.cls_token),
            mask_token: self.mask_token.or(other.mask_token),
        }
    }

    pub(super) fn into_list(self) -> [Option<SpecialJson>; 7] {
        [
            self.bos_token,
            self.eos_token,
            self.unk_token,
            self.sep_token,
            self.pad_token,
            self.cls_token,
            self.mask_token,
        ]
    }

    /// What `CLIPTokenizer` takes where the files are silent.
    pub(super) fn clip() -> Self {
        let name = |name: &str| Some(SpecialJson::Name(name.to_owned()));
        Self {
            bos_token: name("<|startoftext|>"),
            eos_token: name("<|endoftext|>"),
            unk_token: name("<|endoftext|>"),
            pad_token: name("<|endoftext|>"),
            ..Self::default()
        }
    }
}
