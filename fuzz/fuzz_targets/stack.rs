//! `stack.toml`: any text is read or refused, and what is read stays inside its folder.
#![no_main]

use std::path::Component;

use libfuzzer_sys::fuzz_target;
use vldm::model::StackConfig;

fuzz_target!(|text: &str| {
    if let Ok(stack) = StackConfig::parse(text) {
        for (_, stage) in stack.stages() {
            for path in stage.temporal.iter().chain([&stage.model]) {
                assert!(!path.is_absolute());
                assert!(path.components().all(|part| part != Component::ParentDir));
            }
        }
    }
});
