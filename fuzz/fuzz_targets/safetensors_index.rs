//! Shard indexes beside one good shard: nothing outside the folder may be opened.
#![no_main]

mod scratch;

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vldm::checkpoint::{Weights, write_tensors};

fn folder() -> &'static PathBuf {
    static WRITTEN: OnceLock<()> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let shard = scratch::folder().join("a.safetensors");
        write_tensors(&shard, &[], &Default::default()).expect("the shard is written");
    });
    scratch::folder()
}

fuzz_target!(|bytes: &[u8]| {
    let index = folder().join("model.safetensors.index.json");
    std::fs::write(&index, bytes).expect("the index is written");
    if let Ok(weights) = Weights::open(&index) {
        assert!(weights.files().all(|file| file.parent() == Some(folder())));
    }
});
