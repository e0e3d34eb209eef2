//! MP4 with H.264, as it comes from anywhere: our box reader, and the decoder behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vldm_media::{Limits, ReadOptions, read_mp4_bytes};

fuzz_target!(|bytes: &[u8]| {
    let options = ReadOptions {
        limits: Limits {
            max_side: 4096,
            max_pixels: 1 << 20,
            max_bytes: 1 << 26,
        },
        ..ReadOptions::default()
    };
    let _ = read_mp4_bytes(bytes, &options);
});
