//! Byte-pair encoding with the vocabulary and the merges of a file.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// What the last symbol of a piece ends in.
const END_OF_WORD: &str = "</w>";

/// What two neighbouring tokens become.
#[derive(Debug, Clone, Copy)]
struct Merge {
    rank: u32,
    id: u32,
}

/// A byte-pair vocabulary: pieces of text in, ids out.
#[derive(Debug)]
pub(super) struct Bpe {
    merges: HashMap<(u32, u32), Merge>,
    /// Ids of the 256 bytes, inside a word and as its last symbol.
    bytes: Vec<[Option<u32>; 2]>,
    unknown: Option<u32>,
    longest: usize,
    size: usize,
}

impl Bpe {
    /// A vocabulary with its merges, first to last; `unknown` stands for a byte it lacks.
    pub(super) fn new(
        vocabulary: HashMap<String, u32>,
        merges: &[(String, String)],
        unknown: Option<u32>,
    ) -> Result<Self> {
        let id_of = |token: &str| {
            vocabulary.get(token).copied().ok_or_else(|| {
                Error::Config(format!(
                    "the tokenizer's merges use the token {token:?}, which its vocabulary lacks: \
                     the two files do not belong together"
                ))
            })
        };
        let mut rules = HashMap::with_capacity(merges.len());
        for (rank, (left, right)) in (0_u32..).zip(merges) {
            let pair = (id_of(left)?, id_of(right)?);
            let id = id_of(&format!("{left}{right}"))?;
            rules.insert(pair, Merge { rank, id });
        }
        let bytes = byte_names()
            .iter()
            .map(|name| {
                let last = format!("{name}{END_OF_WORD}");
                [
                    vocabulary.get(&name.to_string()).copied(),
                    vocabulary.get(&last).copied(),
                ]
            })
            .collect();
        Ok(Self {
            // A symbol of a token's name is one byte of text.
            longest: vocabulary
                .keys()
                .map(|token| token.chars().count())
                .max()
                .unwrap_or(1)
                .max(1),
            size: vocabulary.values().max().map_or(0, |&id| id as usize + 1),
            merges: rules,
            bytes,
            unknown,
        })
    }

    /// One more than the largest id.
    pub(super) fn vocabulary_size(&self) -> usize {
        self.size
    }

    /// No token is longer than this many bytes of text.
    pub(super) fn longest_token(&self) -> usize {
        self.longest
    }

    /// Appends the ids of one piece (a word, a digit, a run of signs).
    pub(super) fn encode(&self, piece: &str, ids: &mut Vec<u32>) {
        let last = piece.len().saturating_sub(1);
        let mut symbols: Vec<u32> = piece
            .bytes()
            .enumerate()
            .filter_map(|(i, byte)| {
                self.bytes[usize::from(byte)][usize::from(i == last)].or(self.unknown)
            })
            .collect();
        self.merge(&mut symbols);
        ids.append(&mut symbols);
    }

    /// Applies the merge of lowest rank, leftmost first, until none applies.
    fn merge(&self, symbols: &mut Vec<u32>) {
        let rule = |symbols: &[u32], i: usize| {
            let pair = (symbols[i], *symbols.get(i + 1)?);
            self.merges.get(&pair).copied()
        };
        let rank = |symbols: &[u32], i| rule(symbols, i).map_or(u32::MAX, |merge| merge.rank);
        let mut ranks: Vec<u32> = (0..symbols.len()).map(|i| rank(symbols, i)).collect();
        while let Some(i) = lowest(&ranks) {
            let merge = rule(symbols, i).expect("the rank was found by this rule");
            symbols[i] = merge.id;
            symbols.remove(i + 1);
            ranks.remove(i + 1);
            ranks[i] = rank(symbols, i);
            if i > 0 {
                ranks[i - 1] = rank(symbols, i - 1);
            }
        }
    }
}

/// Index of the first lowest rank, when there is any rank.
fn lowest(ranks: &[u32]) -> Option<usize> {
    let (i, &rank) = ranks.iter().enumerate().min_by_key(|&(_, rank)| rank)?;
    (rank != u32::MAX).then_some(i)
}

/// The printable character that stands for each byte in a vocabulary file: the byte itself where
/// Latin-1 has a visible sign, else the next free character from U+0100 on (as in GPT-2).
fn byte_names() -> [char; 256] {
    let mut free = (0x100..).filter_map(char::from_u32);
    std::array::from_fn(|byte| match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => {
            char::from(u8::try_from(byte).expect("an array of 256 is indexed by bytes"))
        }
        _ => free.next().expect("there are more than 256 characters"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bpe(tokens: &[&str], merges: &[(&str, &str)]) -> Bpe {
        let vocabulary = tokens.iter().map(|t| (*t).to_owned()).zip(0..).collect();
        let merges: Vec<_> = merges
            .iter()
            .map(|&(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        Bpe::new(vocabulary, &merges, Some(99)).unwrap()
    }

    fn check(bpe: &Bpe, piece: &str, expected: &[u32]) {
        let mut ids = Vec::new();
        bpe.encode(piece, &mut ids);
        assert_eq!(ids, expected, "{piece:?}");
    }

    #[test]
    fn merges_apply_by_rank_then_from_the_left() {
        let bpe = bpe(
            &["a", "b", "a</w>", "b</w>", "ab", "aab", "ab</w>"],
            &[("a", "b"), ("a", "ab"), ("a", "b</w>")],
        );
        check(&bpe, "ab", &[6]);
        check(&bpe, "aaba", &[5, 2]);
        check(&bpe, "abab", &[4, 6]);
        check(&bpe, "aaa", &[0, 0, 2]);
        check(&bpe, "", &[]);
    }

    #[test]
    fn bytes_outside_the_vocabulary_are_unknown() {
        check(&bpe(&["a", "a</w>"], &[]), "aé", &[0, 99, 99]);
    }

    #[test]
    fn merges_of_another_vocabulary_are_an_error() {
        let merges = [("x".to_owned(), "y".to_owned())];
        let error = Bpe::new(HashMap::new(), &merges, None).unwrap_err();
        assert!(error.to_string().contains("\"x\""), "{error}");
    }

    #[test]
    fn bytes_have_the_names_of_the_files() {
        let names = byte_names();
        assert_eq!(
            [names[b'!' as usize], names[b' ' as usize], names[0]],
            ['!', 'Ġ', 'Ā']
        );
        assert_eq!([names[0xad], names[0xff], names[0x7f]], ['Ń', 'ÿ', 'ġ']);
    }
}
