//! WebDataset shards: any tar is read or refused, clip by clip.
#![no_main]

mod scratch;

use libfuzzer_sys::fuzz_target;
use vldm::data::{ClipSource, ShardSource};

fuzz_target!(|bytes: &[u8]| {
    let shard = scratch::folder().join("a.tar");
    std::fs::write(&shard, bytes).expect("the shard is written");
    if let Ok(source) = ShardSource::open(&shard) {
        for index in 0..source.len() {
            assert!(source.clip(index).frames > 0);
        }
    }
});
