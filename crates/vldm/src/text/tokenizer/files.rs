//! The files of a model's `tokenizer/` folder, in the two forms that `transformers` has written.
//!
//! Version 4 wrote `vocab.json`, `merges.txt`, `tokenizer_config.json`, `special_tokens_map.json`
//! and sometimes `added_tokens.json`; version 5 writes `tokenizer.json` and
//! `tokenizer_config.json`. Where they disagree, the order of precedence is that of
//! `transformers` 5: `added_tokens_decoder` in `tokenizer_config.json` closes all other sources
//! of special tokens, else `special_tokens_map.json` goes before `tokenizer_config.json`.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::added::AddedToken;
use super::bpe::Bpe;
use super::schema::{
    ConfigJson, MergeJson, ModelJson, SpecialJson, SpecialTokens, TokenJson, TokenizerJson,
};
use super::{CLIP_TOKENS, END, START};
use crate::error::{Error, Result};

/// Longer windows than this are a placeholder for "no limit", which CLIP does not have.
const MAX_LENGTH_LIMIT: f64 = 4096.0;

/// Contents of the files in a `tokenizer/` folder; `None` where there is no such file.
#[derive(Debug, Clone, Default)]
pub struct TokenizerFiles {
    /// `tokenizer.json`: vocabulary, merges and added tokens; goes before the next two.
    pub tokenizer_json: Option<String>,
    /// `vocab.json`: token to id.
    pub vocab_json: Option<String>,
    /// `merges.txt`: one pair a line, first merge first.
    pub merges_txt: Option<String>,
    /// `tokenizer_config.json`: names of the special tokens, length of the window.
    pub tokenizer_config: Option<String>,
    /// `special_tokens_map.json`: names of the special tokens.
    pub special_tokens_map: Option<String>,
    /// `added_tokens.json`: further words and their ids.
    pub added_tokens: Option<String>,
}

impl TokenizerFiles {
    /// Whether there is a vocabulary, or words are added to the one inside the program.
    pub(super) fn has_vocabulary(&self) -> bool {
        let files = [&self.tokenizer_json, &self.vocab_json, &self.added_tokens];
        files.into_iter().any(Option::is_some)
    }

    /// The files that there are, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let files = [
            ("tokenizer.json", &self.tokenizer_json),
            ("vocab.json", &self.vocab_json),
            ("merges.txt", &self.merges_txt),
            ("tokenizer_config.json", &self.tokenizer_config),
            ("special_tokens_map.json", &self.special_tokens_map),
            ("added_tokens.json", &self.added_tokens),
        ];
        files
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }

    /// Reads what there is in `folder`.
    ///
    /// # Errors
    /// [`Error::Config`] when the folder has neither a vocabulary nor a configuration, or a file
    /// cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<Option<String>> {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Error::Config(format!(
                    "cannot read {}: {error}",
                    path.display()
                ))),
            }
        };
        let files = Self {
            tokenizer_json: read("tokenizer.json")?,
            vocab_json: read("vocab.json")?,
            merges_txt: read("merges.txt")?,
            tokenizer_config: read("tokenizer_config.json")?,
            special_tokens_map: read("special_tokens_map.json")?,
            added_tokens: read("added_tokens.json")?,
        };
        if files.tokenizer_json.is_none()
            && files.vocab_json.is_none()
            && files.tokenizer_config.is_none()
        {
            return Err(Error::Config(format!(
                "{} holds no tokenizer: expected tokenizer.json, or vocab.json and merges.txt",
                folder.display()
            )));
        }
        Ok(files)
    }
}

/// Everything a tokenizer needs to know.
pub(super) struct Parsed {
    /// `None`: the vocabulary inside the program.
    pub(super) bpe: Option<Bpe>,
    pub(super) added: Vec<AddedToken>,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) pad: u32,
    pub(super) max_length: usize,
    /// Our own addition: the only words that the text encoder knows.
    pub(super) known_words: Option<Vec<String>>,
}

/// Reads all files into one description.
pub(super) fn parse(files: &TokenizerFiles) -> Result<Parsed> {
    let config: ConfigJson = json("tokenizer_config.json", files.tokenizer_config.as_deref())?;
    check_class(config.tokenizer_class.as_deref())?;
    let (vocabulary, merges, tokens) = vocabulary(files)?;
    let (special, known) =
        special_tokens(files, config.special, config.added_tokens_decoder, tokens)?;
    let id = |special: &Option<SpecialJson>, role: &str| -> Result<u32> {
        let name = special.as_ref().map_or("", SpecialJson::content);
        find(name, &vocabulary, &known).ok_or_else(|| {
            Error::Config(format!(
                "the tokenizer's {role} token {name:?} is not in its vocabulary: check \
                 tokenizer_config.json and special_tokens_map.json"
            ))
        })
    };
    let (start, end) = (
        id(&special.bos_token, "start")?,
        id(&special.eos_token, "end")?,
    );
    let pad = id(&special.pad_token, "padding")?;
    let unknown = special
        .unk_token
        .as_ref()
        .and_then(|t| find(t.content(), &vocabulary, &known));
    let added = added_tokens(special, known, &vocabulary);
    let max_length = max_length(config.model_max_length)?;
    let bpe = merges
        .map(|merges| Bpe::new(vocabulary, &merges, unknown))
        .transpose()?;
    Ok(Parsed {
        bpe,
        added,
        start,
        end,
        pad,
        max_length,
        known_words: config.words,
    })
}

type Vocabulary = HashMap<String, u32>;
type Merges = Vec<(String, String)>;

/// Vocabulary, merges and the added tokens that stand beside them.
///
/// A folder without any has the vocabulary inside the program: no merges are returned, and of
/// the vocabulary only what a special token may be.
fn vocabulary(files: &TokenizerFiles) -> Result<(Vocabulary, Option<Merges>, Vec<TokenJson>)> {
    if let Some(text) = &files.tokenizer_json {
        let file: TokenizerJson = from_json("tokenizer.json", text)?;
        check_model(&file.model)?;
        let merges = file
            .model
            .merges
            .into_iter()
            .map(pair)
            .collect::<Result<_>>()?;
        return Ok((file.model.vocab, Some(merges), file.added_tokens));
    }
    let (vocabulary, merges) = match (&files.vocab_json, &files.merges_txt) {
        (Some(vocabulary), Some(merges)) => (vocabulary, merges),
        (None, None) => return Ok((builtin_names(), None, Vec::new())),
        _ => {
            return Err(Error::Config(
                "the tokenizer is incomplete: vocab.json and merges.txt belong together, and one \
                 of them is missing"
                    .to_owned(),
            ));
        }
    };
    let merges = merges
        .lines()
        .filter(|line| !line.starts_with("#version") && !line.is_empty())
        .map(|line| pair(MergeJson::Line(line.to_owned())))
        .collect::<Result<_>>()?;
    Ok((
        from_json("vocab.json", vocabulary)?,
        Some(merges),
        Vec::new(),
    ))
}

/// The tokens of the vocabulary inside the program that serve as special tokens.
fn builtin_names() -> Vocabulary {
    [("!", 0), ("<|startoftext|>", START), ("<|endoftext|>", END)]
        .map(|(name, id)| (name.to_owned(), id))
        .into()
}

fn pair(merge: MergeJson) -> Result<(String, String)> {
    match merge {
        MergeJson::Pair(left, right) => Ok((left, right)),
        MergeJson::Line(line) => match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
            _ => Err(Error::Config(format!(
                "the tokenizer has the merge {line:?}: expected two tokens with one space between"
            ))),
        },
    }
}

/// Which special tokens hold, and the added tokens by id.
fn special_tokens(
    files: &TokenizerFiles,
    config: SpecialTokens,
    decoder: Option<BTreeMap<u32, TokenJson>>,
    beside_vocabulary: Vec<TokenJson>,
) -> Result<(SpecialTokens, BTreeMap<u32, TokenJson>)> {
    if let Some(mut known) = decoder {
        // Added words are in tokenizer.json even where the configuration lists only some.
        for token in beside_vocabulary {
            if let Some(id) = token.id {
                known.entry(id).or_insert(token);
            }
        }
        return Ok((config.or(SpecialTokens::clip()), known));
    }
    let map: SpecialTokens = json(
        "special_tokens_map.json",
        files.special_tokens_map.as_deref(),
    )?;
    let mut known = BTreeMap::new();
    let added: BTreeMap<String, u32> = json("added_tokens.json", files.added_tokens.as_deref())?;
    for (content, id) in added {
        let token = TokenJson {
            id: Some(id),
            content,
            normalized: None,
            single_word: false,
            special: false,
        };
        known.insert(id, token);
    }
    for token in beside_vocabulary {
        if let Some(id) = token.id {
            known.insert(id, token);
        }
    }
    Ok((map.or(config).or(SpecialTokens::clip()), known))
}

/// The id of a token by its name.
fn find(name: &str, vocabulary: &Vocabulary, known: &BTreeMap<u32, TokenJson>) -> Option<u32> {
    vocabulary.get(name).copied().or_else(|| {
        known
            .iter()
            .find(|(_, token)| token.content == name)
            .map(|(&id, _)| id)
    })
}

/// All words that are looked for before the text is cut up. A later entry replaces an earlier.
fn added_tokens(
    special: SpecialTokens,
    known: BTreeMap<u32, TokenJson>,
    vocabulary: &Vocabulary,
) -> Vec<AddedToken> {
    let mut added: BTreeMap<u32, AddedToken> = BTreeMap::new();
    for token in special.into_list().into_iter().flatten() {
        let Some(id) = find(token.content(), vocabulary, &known) else {
            continue;
        };
        // What the added tokens say of a special token goes before what its own entry says.
        if known.contains_key(&id) {
            continue;
        }
        let token = match token {
            SpecialJson::Name(name) => AddedToken::special(&name, id, false),
            SpecialJson::Token(token) => entry(
                TokenJson {
                    special: true,
                    ..token
                },
                id,
            ),
        };
        added.insert(id, token);
    }
    for (id, token) in known {
        added.insert(id, entry(token, id));
    }
    added.into_values().collect()
}

fn entry(token: TokenJson, id: u32) -> AddedToken {
    AddedToken {
        id,
        // As in `transformers`: a special token is looked for as written unless said otherwise.
        normalized: token.normalized.unwrap_or(!token.special),
        single_word: token.single_word,
        content: token.content,
    }
}

fn max_length(given: Option<f64>) -> Result<usize> {
    match given {
        None => Ok(CLIP_TOKENS),
        Some(length) if length >= MAX_LENGTH_LIMIT => Ok(CLIP_TOKENS),
        Some(length) if length >= 2.0 && length.fract() == 0.0 => Ok(length as usize),
        Some(length) => Err(Error::Config(format!(
            "tokenizer_config.json has model_max_length {length}: expected a whole number of at \
             least 2 (CLIP has {CLIP_TOKENS})"
        ))),
    }
}

fn check_class(class: Option<&str>) -> Result<()> {
    match class {
        None | Some("CLIPTokenizer" | "CLIPTokenizerFast") => Ok(()),
        Some(class) => Err(Error::Config(format!(
            "the tokenizer is a {class}: only CLIPTokenizer is supported, which is what the text \
             encoders of Stable Diffusion 1.x and 2.x use"
        ))),
    }
}

fn check_model(model: &ModelJson) -> Result<()> {
    let kind = model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(Error::Config(format!(
            "tokenizer.json has a model of type {kind:?}: expected \"BPE\", as CLIP has"
        )));
    }
    // CLIPTokenizer sets both whatever the file says; a file that says otherwise is not CLIP's.
    if model
        .end_of_word_suffix
        .as_deref()
        .is_some_and(|suffix| suffix != "</w>")
        || model
            .continuing_subword_prefix
            .as_deref()
            .is_some_and(|prefix| !prefix.is_empty())
    {
        return Err(Error::Config(
            "tokenizer.json marks words otherwise than CLIP does: expected end_of_word_suffix \
             \"</w>\" and no continuing_subword_prefix"
                .to_owned(),
        ));
    }
    Ok(())
}

/// A file that may be missing.
fn json<T: DeserializeOwned + Default>(name: &str, text: Option<&str>) -> Result<T> {
    text.map_or_else(|| Ok(T::default()), |text| from_json(name, text))
}

fn from_json<T: DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::Config(format!("{name} cannot be read as a tokenizer's: {error}")))
}
