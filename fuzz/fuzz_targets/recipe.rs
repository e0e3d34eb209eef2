//! Recipes: any text is read or refused, and what is read survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vldm::train::Recipe;

fuzz_target!(|text: &str| {
    if let Ok(recipe) = Recipe::parse(text) {
        let written = recipe.to_toml().expect("what was read can be written");
        let again = Recipe::parse(&written).expect("our own form is accepted");
        assert_eq!(again.to_toml().expect("as before"), written);
    }
});
