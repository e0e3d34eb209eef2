//! CLIP's byte-pair tokenizer: a prompt in, a fixed number of token ids out.
//!
//! The vocabulary that all CLIP text encoders share is part of the program; a model folder that
//! brings its own `tokenizer/` (added words, another padding token) is read instead. Ids equal
//! those of `transformers` 5's `CLIPTokenizer`, which is what diffusers runs: text is put into
//! Unicode normal form C and lower case, nothing else is cleaned (no HTML entities, no `ftfy`).

mod added;
mod bpe;
mod files;
mod schema;
mod words;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result};
use added::{AddedToken, AddedTokens, Part};
use bpe::Bpe;
pub use files::TokenizerFiles;
use words::KnownTokens;

/// Length of CLIP's text window, start and end tokens included.
pub const CLIP_TOKENS: usize = 77;

/// Id of `<|startoftext|>` in the shared vocabulary.
const START: u32 = 49_406;
/// Id of `<|endoftext|>` in the shared vocabulary.
const END: u32 = 49_407;
/// Size of the shared vocabulary.
const VOCABULARY: usize = 49_408;
/// Length in bytes of the longest token of the shared vocabulary (four-byte emoji, repeated).
const LONGEST_TOKEN: usize = 32;

/// What fills the ids up to the window's length, for the vocabulary inside the program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadToken {
    /// The end token, 49407: Stable Diffusion 1.x.
    #[default]
    EndOfText,
    /// `!`, id 0: Stable Diffusion 2.x. A `!` in a prompt then reads as this token too, as it
    /// does in the tokenizer these models ship with.
    ExclamationMark,
}

/// Token ids of one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Start token, the prompt's tokens, end token, padding: [`Tokenizer::max_length`] ids.
    pub ids: Vec<u32>,
    /// The end of the prompt that did not fit, as it was written; it has no influence on the
    /// result, which the caller should say.
    pub truncated: Option<String>,
}

/// Turns prompts into token ids.
///
/// ```
/// # use vldm::text::{PadToken, Tokenizer};
/// let tokenizer = Tokenizer::builtin(PadToken::EndOfText);
/// let tokens = tokenizer.encode("a photo of a cat");
/// assert_eq!(tokens.ids[..7], [49406, 320, 1125, 539, 320, 2368, 49407]);
/// assert_eq!(tokens.ids.len(), 77);
/// assert_eq!(tokens.truncated, None);
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    added: AddedTokens,
    words: Regex,
    start: u32,
    end: u32,
    pad: u32,
    max_length: usize,
    /// Where the text encoder knows a few words only.
    known: Option<KnownTokens>,
    /// What it was read from, if that holds a vocabulary.
    files: Option<Arc<TokenizerFiles>>,
}

impl Tokenizer {
    /// The tokenizer of a model: its folder's own, or the one inside the program.
    ///
    /// `folder` is a model's `tokenizer/` folder, with `tokenizer.json` or with `vocab.json` and
    /// `merges.txt`; where it has only `tokenizer_config.json`, that is applied to the vocabulary
    /// inside the program. `None` gives [`Tokenizer::builtin`] with the padding of Stable
    /// Diffusion 1.x.
    ///
    /// # Errors
    /// [`Error::Config`] names the file that is missing or damaged, or the feature of a foreign
    /// tokenizer that CLIP's does not have.
    pub fn from_folder(folder: Option<&Path>) -> Result<Self> {
        match folder {
            None => Ok(Self::builtin(PadToken::EndOfText)),
            Some(folder) => Self::from_files(&TokenizerFiles::read(folder)?),
        }
    }

    /// The tokenizer that the contents of a model's `tokenizer/` folder describe.
    ///
    /// # Errors
    /// As [`Tokenizer::from_folder`].
    pub fn from_files(files: &TokenizerFiles) -> Result<Self> {
        let parsed = files::parse(files)?;
        let tokenizer = Self {
            start: parsed.start,
            end: parsed.end,
            pad: parsed.pad,
            max_length: parsed.max_length,
            words: word_pattern(),
            added: AddedTokens::new(parsed.added)?,
            vocabulary: match parsed.bpe {
                Some(bpe) => Vocabulary::Folder(Arc::new(bpe)),
                None => Vocabulary::Builtin(builtin_vocabulary()),
            },
            known: None,
            files: files.has_vocabulary().then(|| Arc::new(files.clone())),
        };
        match parsed.known_words {
            None => Ok(tokenizer),
            Some(words) => tokenizer.with_words(&words),
        }
    }

    /// The tokenizer with CLIP's shared vocabulary of 49408 tokens.
    #[must_use]
    pub fn builtin(pad_token: PadToken) -> Self {
        let mut added = vec![
            AddedToken::special("<|startoftext|>", START, true),
            AddedToken::special("<|endoftext|>", END, true),
        ];
        let pad = match pad_token {
            PadToken::EndOfText => {
                // The original files name it as plain text, which is not looked for in lower case.
                added[1].normalized = false;
                END
            }
            PadToken::ExclamationMark => {
                added.push(AddedToken::special("!", 0, false));
                0
            }
        };
        Self {
            vocabulary: Vocabulary::Builtin(builtin_vocabulary()),
            added: AddedTokens::new(added).expect("these tokens hold no white space"),
            words: word_pattern(),
            start: START,
            end: END,
            pad,
            max_length: CLIP_TOKENS,
            known: None,
            files: None,
        }
    }

    /// [`builtin`](Self::builtin) for a preset's text encoder, which knows the tokens of `words` only; all
    /// where there are none.
    ///
    /// # Errors
    /// As [`with_words`](Self::with_words).
    pub(crate) fn of_preset(pad_token: PadToken, words: &[String]) -> Result<Self> {
        match words {
            [] => Ok(Self::builtin(pad_token)),
            words => Self::builtin(pad_token).with_words(words),
        }
    }

    /// The same tokenizer for a text encoder whose table has rows for the tokens of `words` only:
    /// ids become rows, and all other tokens share one.
    ///
    /// # Errors
    /// [`Error::Config`] when an entry is not one word.
    pub fn with_words(self, words: &[String]) -> Result<Self> {
        let known = KnownTokens::new(words, (self.start, self.end), |word| self.word_ids(word))?;
        Ok(Self {
            known: Some(known),
            ..self
        })
    }

    /// The files that it was read from, where they hold a vocabulary; `None` of a tokenizer with the
    /// vocabulary inside the program.
    #[must_use]
    pub fn files(&self) -> Option<&TokenizerFiles> {
        self.files.as_deref()
    }

    /// The words whose tokens have rows of their own; `None` where all tokens have.
    #[must_use]
    pub fn words(&self) -> Option<&[String]> {
        self.known.as_ref().map(KnownTokens::words)
    }

    /// The words of `text` that the text encoder cannot tell from each other, each once, as they
    /// were written.
    #[must_use]
    pub fn unknown_words<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let Some(known) = &self.known else {
            return Vec::new();
        };
        let mut unknown: Vec<&str> = Vec::new();
        for word in text.split_whitespace() {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
            let ids = self.word_ids(bare);
            if !unknown.contains(&bare) && !ids.iter().all(|&id| known.knows(id)) {
                unknown.push(bare);
            }
        }
        unknown
    }

    fn word_ids(&self, word: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_word(word, &mut ids);
        ids
    }

    /// The same tokenizer with windows of `max_length` ids, start and end included.
    ///
    /// # Errors
    /// [`Error::Config`] when there would be no room for start and end.
    pub fn with_max_length(mut self, max_length: usize) -> Result<Self> {
        if max_length < 2 {
            return Err(Error::Config(format!(
                "a text window of {max_length} tokens has no room for its start and end tokens: \
                 give at least 2 (CLIP has {CLIP_TOKENS})"
            )));
        }
        self.max_length = max_length;
        Ok(self)
    }

    /// Number of ids that [`Tokenizer::encode`] returns.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The id that fills the window.
    #[must_use]
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// One more than the largest id: a text encoder with fewer rows cannot read every prompt.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        if let Some(known) = &self.known {
            return known.rows();
        }
        let base = match &self.vocabulary {
            Vocabulary::Builtin(_) => VOCABULARY,
            Vocabulary::Folder(bpe) => bpe.vocabulary_size(),
        };
        base.max(self.added.vocabulary_size())
    }

    /// The ids of `text`, cut or padded to [`Tokenizer::max_length`].
    ///
    /// What is cut is cut at a token, as `transformers` does; [`Tokens::truncated`] begins with
    /// the whole word that the cut falls in.
    #[must_use]
    pub fn encode(&self, text: &str) -> Tokens {
        let room = self.max_length - 1;
        let mut ids = vec![self.start];
        let mut truncated = None;
        // White space separates tokens wherever it stands, so that each written word can be
        // encoded alone, and a long text is not read further than the window reaches.
        for word in text.split_whitespace() {
            self.encode_word(word, &mut ids);
            if ids.len() > room {
                ids.truncate(room);
                let start = word.as_ptr() as usize - text.as_ptr() as usize;
                truncated = Some(text[start..].trim_end().to_owned());
                break;
            }
        }
        ids.push(self.end);
        ids.resize(self.max_length, self.pad);
        if let Some(known) = &self.known {
            ids.iter_mut().for_each(|id| *id = known.row(*id));
        }
        Tokens { ids, truncated }
    }

    /// Appends the ids of a text without white space.
    fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        for part in self.added.split_raw(word) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(text) => {
                    let text = normalize(text);
                    for part in self.added.split_normalized(&text) {
                        match part {
                            Part::Token(id) => ids.push(id),
                            Part::Text(text) => self.encode_plain(text, ids),
                        }
                    }
                }
            }
        }
    }

    /// Appends the ids of normalised text that holds no added token.
    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) {
        let pieces = self.words.find_iter(text).map(|piece| piece.as_str());
        for piece in pieces.flat_map(cut_marker) {
            if ids.len() > self.max_length {
                return;
            }
            let piece = clip(piece, 2 * self.max_length * self.longest_token());
            match &self.vocabulary {
                Vocabulary::Builtin(BuiltinVocabulary(vocabulary)) => {
                    let mut tokens = Vec::new();
                    vocabulary.encode(piece, &mut tokens);
                    ids.extend(tokens.into_iter().map(|token| u32::from(token.to_u16())));
                }
                Vocabulary::Folder(bpe) => bpe.encode(piece, ids),
            }
        }
    }

    fn longest_token(&self) -> usize {
        match &self.vocabulary {
            Vocabulary::Builtin(_) => LONGEST_TOKEN,
            Vocabulary::Folder(bpe) => bpe.longest_token(),
        }
    }
}

/// Where token ids come from.
#[derive(Debug, Clone)]
enum Vocabulary {
    Builtin(&'static BuiltinVocabulary),
    Folder(Arc<Bpe>),
}

struct BuiltinVocabulary(instant_clip_tokenizer::Tokenizer);

impl fmt::Debug for BuiltinVocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuiltinVocabulary")
    }
}

/// The vocabulary inside the program, unpacked once.
fn builtin_vocabulary() -> &'static BuiltinVocabulary {
    static VOCABULARY: OnceLock<BuiltinVocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| BuiltinVocabulary(instant_clip_tokenizer::Tokenizer::new()))
}

/// How CLIP cuts text into the pieces that are encoded each on their own: start and end markers,
/// English contractions, runs of letters, single digits, runs of anything else that is not white
/// space.
fn word_pattern() -> Regex {
    let pattern =
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";
    Regex::new(pattern).expect("the pattern is constant")
}

/// A marker that is no token, because it was written in capitals, falls into its three parts; any
/// other piece is one.
fn cut_marker(piece: &str) -> impl Iterator<Item = &str> {
    let name = piece
        .strip_prefix("<|")
        .and_then(|rest| rest.strip_suffix("|>"));
    let parts = match name {
        Some(name @ ("startoftext" | "endoftext")) => {
            [&piece[..2], name, &piece[piece.len() - 2..]]
        }
        _ => [piece, "", ""],
    };
    parts.into_iter().filter(|part| !part.is_empty())
}

/// Normal form C, then lower case character by character: the Greek final sigma, which
/// `str::to_lowercase` would choose by context, is not chosen here.
fn normalize(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).collect()
}

/// The first `bytes` bytes of `piece`, or a little less where a character would be cut.
///
/// Merging is quadratic in the length of a piece. A piece longer than twice what the window can
/// hold is cut, far behind the last token that counts.
fn clip(piece: &str, bytes: usize) -> &str {
    if piece.len() <= bytes {
        return piece;
    }
    let mut end = bytes;
    while !piece.is_char_boundary(end) {
        end -= 1;
    }
    &piece[..end]
}
