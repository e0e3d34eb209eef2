//! WebDataset shards: any tar is read or refused, clip by clip.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vldm::data::{ClipSource, ShardSource};

fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("vldm-fuzz-shards-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    })
}

fuzz_target!(|bytes: &[u8]| {
    let shard = folder().join("a.tar");
    std::fs::write(&shard, bytes).expect("the shard is written");
    if let Ok(source) = ShardSource::open(&shard) {
        for index in 0..source.len() {
            assert!(source.clip(index).frames > 0);
        }
    }
});
