//! Low-rank adapters, in the names of any program.
#![no_main]

mod scratch;

use libfuzzer_sys::fuzz_target;
use vldm::lora::LoraFile;

fuzz_target!(|bytes: &[u8]| {
    let file = scratch::folder().join("lora.safetensors");
    std::fs::write(&file, bytes).expect("the file is written");
    if let Ok(adapters) = LoraFile::open(&file) {
        assert!(adapters.layers().all(|layer| !layer.is_empty()));
    }
});
