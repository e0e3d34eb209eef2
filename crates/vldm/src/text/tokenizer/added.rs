//! Tokens that stand for a whole written word: start, end, padding, and words a model has learnt.
//!
//! They are looked for before the text is cut into pieces: some in the text as it was written,
//! some after normalisation.

use super::normalize;
use crate::error::{Error, Result};

/// A word with an id of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddedToken {
    /// The word as it is written.
    pub(super) content: String,
    /// Its id.
    pub(super) id: u32,
    /// Looked for in normalised text, else in the text as it was written.
    pub(super) normalized: bool,
    /// Only where no letter or digit stands directly before or after it.
    pub(super) single_word: bool,
}

impl AddedToken {
    /// A token that may stand anywhere.
    pub(super) fn special(content: &str, id: u32, normalized: bool) -> Self {
        Self {
            content: content.to_owned(),
            id,
            normalized,
            single_word: false,
        }
    }
}

/// Part of a text that was searched for added tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// No token begins in here.
    Text(&'a str),
    /// A token was found.
    Token(u32),
}

/// All words with ids of their own.
#[derive(Debug, Clone)]
pub(super) struct AddedTokens {
    raw: Vec<AddedToken>,
    normalized: Vec<AddedToken>,
}

impl AddedTokens {
    pub(super) fn new(tokens: Vec<AddedToken>) -> Result<Self> {
        if let Some(token) = tokens
            .iter()
            .find(|token| token.content.contains(char::is_whitespace))
        {
            return Err(Error::Config(format!(
                "the tokenizer's added token {:?} contains white space, which is not supported: \
                 rename it in tokenizer.json (for example with '_')",
                token.content
            )));
        }
        let (mut normalized, mut raw): (Vec<_>, Vec<_>) = tokens
            .into_iter()
            .filter(|token| !token.content.is_empty())
            .partition(|token| token.normalized);
        for token in &mut normalized {
            token.content = normalize(&token.content);
        }
        // Of two tokens that begin at the same place the longer one wins.
        raw.sort_by_key(|token| std::cmp::Reverse(token.content.len()));
        normalized.sort_by_key(|token| std::cmp::Reverse(token.content.len()));
        Ok(Self { raw, normalized })
    }

    /// Cuts text as it was written.
    pub(super) fn split_raw<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        split(text, &self.raw)
    }

    /// Cuts normalised text.
    pub(super) fn split_normalized<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        split(text, &self.normalized)
    }

    /// One more than the largest id.
    pub(super) fn vocabulary_size(&self) -> usize {
        let largest = self
            .raw
            .iter()
            .chain(&self.normalized)
            .map(|token| token.id)
            .max();
        largest.map_or(0, |id| id as usize + 1)
    }
}

/// Cuts `text` at every token of `tokens` (longest first), from left to right.
fn split<'a>(text: &'a str, tokens: &[AddedToken]) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < text.len() {
        let Some(token) = tokens
            .iter()
            .find(|token| text[at..].starts_with(&token.content))
        else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let end = at + token.content.len();
        if !token.single_word || stands_alone(text, at, end) {
            if begin < at {
                parts.push(Part::Text(&text[begin..at]));
            }
            parts.push(Part::Token(token.id));
            begin = end;
        }
        at = end;
    }
    if begin < text.len() {
        parts.push(Part::Text(&text[begin..]));
    }
    parts
}

fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..start].ends_with(in_word) && !text[end..].starts_with(in_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> AddedTokens {
        let single = AddedToken {
            single_word: true,
            ..AddedToken::special("cat", 4, true)
        };
        AddedTokens::new(vec![
            AddedToken::special("<A>", 1, false),
            AddedToken::special("<A>b", 2, false),
            AddedToken::special("<X>", 3, true),
            single,
        ])
        .unwrap()
    }

    #[test]
    fn the_longest_token_at_a_place_wins() {
        assert_eq!(
            tokens().split_raw("x<A><A>by"),
            [
                Part::Text("x"),
                Part::Token(1),
                Part::Token(2),
                Part::Text("y")
            ]
        );
    }

    #[test]
    fn raw_tokens_are_case_sensitive_and_normalized_ones_are_not() {
        assert_eq!(tokens().split_raw("<a>"), [Part::Text("<a>")]);
        assert_eq!(tokens().split_normalized("<x>"), [Part::Token(3)]);
    }

    #[test]
    fn single_words_need_room() {
        assert_eq!(tokens().split_normalized("cats"), [Part::Text("cats")]);
        assert_eq!(
            tokens().split_normalized("(cat)"),
            [Part::Text("("), Part::Token(4), Part::Text(")")]
        );
    }

    #[test]
    fn white_space_inside_a_token_is_refused() {
        let error = AddedTokens::new(vec![AddedToken::special("a b", 1, true)]).unwrap_err();
        assert!(error.to_string().contains("white space"), "{error}");
    }
}
