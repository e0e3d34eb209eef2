//! Tokenizer files of a model folder, as they come from anywhere, and any prompt.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vldm::text::{Tokenizer, TokenizerFiles};

/// What stands between two files in the input; no JSON and no prompt needs it.
const SEPARATOR: char = '\u{1e}';

fuzz_target!(|input: &str| {
    let mut parts = input.split(SEPARATOR).map(str::to_owned);
    let prompt = parts.next().unwrap_or_default();
    let mut file = || parts.next().filter(|text| !text.is_empty());
    let files = TokenizerFiles {
        tokenizer_json: file(),
        vocab_json: file(),
        merges_txt: file(),
        tokenizer_config: file(),
        special_tokens_map: file(),
        added_tokens: file(),
    };
    if let Ok(tokenizer) = Tokenizer::from_files(&files) {
        let tokens = tokenizer.encode(&prompt);
        assert_eq!(tokens.ids.len(), tokenizer.max_length());
        let size = tokenizer.vocabulary_size();
        assert!(tokens.ids.iter().all(|&id| (id as usize) < size));
    }
});
