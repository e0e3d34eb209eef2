//! Token ids against those of `transformers`: see `golden/tokenizer/export.py`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vldm::text::{PadToken, Tokenizer, TokenizerFiles};

#[derive(Deserialize)]
struct Fixture {
    prompts: Vec<String>,
    ids: BTreeMap<String, Vec<Vec<u32>>>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizer")
}

fn check(case: &str, tokenizer: &Tokenizer) {
    let text = std::fs::read_to_string(golden().join("fixture.json")).unwrap();
    let fixture: Fixture = serde_json::from_str(&text).unwrap();
    for (prompt, expected) in fixture.prompts.iter().zip(&fixture.ids[case]) {
        assert_eq!(
            &tokenizer.encode(prompt).ids,
            expected,
            "{case}: {prompt:?}"
        );
    }
}

fn folder(name: &str) -> Tokenizer {
    Tokenizer::from_folder(Some(&golden().join("small").join(name))).unwrap()
}

#[test]
fn the_builtin_vocabulary_gives_the_ids_of_stable_diffusion_1() {
    check("end_of_text", &Tokenizer::from_folder(None).unwrap());
}

#[test]
fn the_builtin_vocabulary_gives_the_ids_of_stable_diffusion_2() {
    check(
        "exclamation_mark",
        &Tokenizer::builtin(PadToken::ExclamationMark),
    );
}

#[test]
fn a_folder_with_vocab_and_merges_is_honoured() {
    let tokenizer = folder("v4");
    assert_eq!(tokenizer.vocabulary_size(), 664);
    check("small/v4", &tokenizer);
}

#[test]
fn a_folder_with_tokenizer_json_is_honoured() {
    let tokenizer = folder("v5");
    assert_eq!(
        (tokenizer.max_length(), tokenizer.vocabulary_size()),
        (40, 667)
    );
    check("small/v5", &tokenizer);
}

#[test]
fn a_configuration_alone_applies_to_the_builtin_vocabulary() {
    let files = TokenizerFiles {
        tokenizer_config: Some(
            r#"{"tokenizer_class": "CLIPTokenizer", "model_max_length": 77,
                "pad_token": "<|endoftext|>",
                "bos_token": {"__type": "AddedToken", "content": "<|startoftext|>",
                    "normalized": true},
                "eos_token": {"__type": "AddedToken", "content": "<|endoftext|>",
                    "normalized": true}}"#
                .to_owned(),
        ),
        special_tokens_map: Some(
            r#"{"pad_token": "!", "unk_token": {"content": "<|endoftext|>", "normalized": true}}"#
                .to_owned(),
        ),
        ..TokenizerFiles::default()
    };
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    assert_eq!(tokenizer.pad_id(), 0);
    check("exclamation_mark", &tokenizer);
}

#[test]
fn what_does_not_fit_is_reported_as_it_was_written() {
    let tokenizer = Tokenizer::builtin(PadToken::EndOfText)
        .with_max_length(5)
        .unwrap();
    let tokens = tokenizer.encode("  A photo of  a CAT ,\t Really ");
    assert_eq!(tokens.ids, [49406, 320, 1125, 539, 49407]);
    assert_eq!(tokens.truncated.as_deref(), Some("a CAT ,\t Really"));
    assert_eq!(tokenizer.encode("A photo of ").truncated, None);
    // A word that the cut falls in is named whole.
    let tokens = tokenizer.encode("one cat-toys!");
    assert_eq!(tokens.truncated.as_deref(), Some("cat-toys!"));
}

#[test]
fn a_text_of_megabytes_is_read_no_further_than_needed() {
    let tokenizer = Tokenizer::builtin(PadToken::EndOfText);
    let text = "abcdefghijklmnopqrstuvwxyz".repeat(100_000);
    let tokens = tokenizer.encode(&text);
    assert_eq!(tokens.ids.len(), 77);
    assert_eq!(tokens.truncated.as_deref(), Some(text.as_str()));
}

fn check_error(files: &TokenizerFiles, expected: &str) {
    let error = Tokenizer::from_files(files).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn damaged_files_are_errors_that_name_the_file() {
    let good = TokenizerFiles::read(&golden().join("small/v4")).unwrap();
    let vocab = |text: &str| TokenizerFiles {
        vocab_json: Some(text.to_owned()),
        ..good.clone()
    };
    check_error(&vocab("{\"a\": "), "vocab.json");
    check_error(&vocab("{}"), "start token \"<|startoftext|>\"");
    check_error(
        &TokenizerFiles {
            merges_txt: None,
            ..good.clone()
        },
        "merges.txt",
    );
    check_error(
        &TokenizerFiles {
            merges_txt: Some("a b c\n".into()),
            ..good.clone()
        },
        "a b c",
    );
    check_error(
        &TokenizerFiles {
            merges_txt: Some("zz qq\n".into()),
            ..good.clone()
        },
        "zz",
    );
    let config = |text: &str| TokenizerFiles {
        tokenizer_config: Some(text.to_owned()),
        ..good.clone()
    };
    check_error(
        &config(r#"{"tokenizer_class": "T5Tokenizer"}"#),
        "T5Tokenizer",
    );
    check_error(&config(r#"{"model_max_length": 1}"#), "model_max_length 1");
    let json = TokenizerFiles {
        tokenizer_json: Some(r#"{"model": {"type": "Unigram", "vocab": {}, "merges": []}}"#.into()),
        ..TokenizerFiles::default()
    };
    check_error(&json, "Unigram");
}

#[test]
fn a_folder_without_a_tokenizer_is_an_error() {
    let error = Tokenizer::from_folder(Some(&golden().join("nowhere")))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("nowhere") && error.contains("vocab.json"),
        "{error}"
    );
}
