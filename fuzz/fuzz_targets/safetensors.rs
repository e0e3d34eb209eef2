//! Safetensors files, as they come from anywhere: opened, described, recognised, read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vldm::checkpoint::single_file::SingleFile;
use vldm::checkpoint::{Metadata, Weights};

fuzz_target!(|bytes: &[u8]| {
    let Ok(weights) = Weights::from_bytes("fuzz.safetensors", bytes.to_vec()) else {
        return;
    };
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    for name in &names {
        assert!(weights.info(name).is_some());
        let _ = weights.data(name);
        weights.release(name);
    }
    let _ = Metadata::of(&weights);
    let _ = weights.stored_dtype();
    if let Ok(found) = SingleFile::detect(&weights) {
        let _ = weights.finish("model", |name| found.is_ignored(name));
    }
});
