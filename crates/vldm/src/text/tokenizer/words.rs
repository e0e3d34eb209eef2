//! A text encoder that knows a few words only: its table has a row for each token of those words,
//! one for every other token, and one each for start and end.

use crate::error::{Error, Result};

/// The tokens that have rows of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownTokens {
    words: Vec<String>,
    /// Ascending; a token's row is its place.
    ids: Vec<u32>,
    start: u32,
    end: u32,
}

impl KnownTokens {
    /// Rows for the tokens of `words`, which `encode` gives.
    pub(super) fn new(
        words: &[String],
        (start, end): (u32, u32),
        encode: impl Fn(&str) -> Vec<u32>,
    ) -> Result<Self> {
        let blank = |word: &&String| word.trim().is_empty() || word.contains(char::is_whitespace);
        if let Some(word) = words.iter().find(blank) {
            return Err(Error::Config(format!(
                "{word:?} is not one word: a tokenizer's list of words has one in each entry"
            )));
        }
        let mut ids: Vec<u32> = words.iter().flat_map(|word| encode(word)).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(Self {
            words: words.to_vec(),
            ids,
            start,
            end,
        })
    }

    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// Rows of the table.
    pub(super) fn rows(&self) -> usize {
        self.ids.len() + 3
    }

    pub(super) fn knows(&self, id: u32) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// The row of a token.
    pub(super) fn row(&self, id: u32) -> u32 {
        let others = self.ids.len();
        let row = match id {
            _ if id == self.start => others + 1,
            _ if id == self.end => others + 2,
            _ => self.ids.binary_search(&id).unwrap_or(others),
        };
        row as u32
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PadToken, Tokenizer};

    fn tokenizer(words: &[&str]) -> Tokenizer {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let tokenizer = Tokenizer::builtin(PadToken::EndOfText);
        let tokenizer = tokenizer.with_words(&words).expect("single words");
        tokenizer.with_max_length(8).expect("room")
    }

    #[test]
    fn known_tokens_have_rows_and_the_others_share_one() {
        let tokenizer = tokenizer(&["a", "red", "car", ","]);
        assert_eq!(tokenizer.vocabulary_size(), 7);
        let ids = tokenizer.encode("A red zebra, a giraffe").ids;
        let (start, end, other) = (5, 6, 4);
        assert_eq!((ids[0], ids[7]), (start, end));
        assert_eq!(ids[1], ids[5], "the same word");
        assert!(ids[1..3].iter().all(|&id| id < other), "{ids:?}");
        assert_eq!(ids[3], other);
        assert_eq!(
            tokenizer.unknown_words("A red zebra, a giraffe"),
            ["zebra", "giraffe"]
        );
        assert!(tokenizer.unknown_words("a red car, a car").is_empty());
    }

    #[test]
    fn a_list_of_words_has_one_in_each_entry() {
        let check = |word: &str| {
            let tokenizer = Tokenizer::builtin(PadToken::EndOfText);
            let error = tokenizer
                .with_words(&[word.to_owned()])
                .expect_err("no word");
            assert!(error.to_string().contains("not one word"), "{error}");
        };
        check("two words");
        check("");
    }

    #[test]
    fn every_word_is_known_where_no_list_is_given() {
        let tokenizer = Tokenizer::builtin(PadToken::EndOfText);
        assert!(tokenizer.unknown_words("zebra").is_empty());
        assert_eq!(tokenizer.words(), None);
    }
}
