//! PNG, JPEG and WebP pictures, as they come from anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vldm_media::{Limits, ReadOptions, read_image_bytes};

fuzz_target!(|bytes: &[u8]| {
    let options = ReadOptions {
        limits: Limits {
            max_side: 4096,
            max_pixels: 1 << 20,
            max_bytes: 1 << 26,
        },
        ..ReadOptions::default()
    };
    let _ = read_image_bytes(bytes, &options);
});
