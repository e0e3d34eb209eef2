//! Low-rank adapters, in the names of any program.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vldm::lora::LoraFile;

fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("vldm-fuzz-lora-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    })
}

fuzz_target!(|bytes: &[u8]| {
    let file = folder().join("lora.safetensors");
    std::fs::write(&file, bytes).expect("the file is written");
    if let Ok(adapters) = LoraFile::open(&file) {
        assert!(adapters.layers().all(|layer| !layer.is_empty()));
    }
});
