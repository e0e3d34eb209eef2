//! Every file that once made a reader fail is kept, and must be answered with a clip or an error.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "failures are panics here"
)]

use std::fs;
use std::path::Path;

use vldm_media::{Limits, ReadOptions, read_gif_bytes, read_image_bytes, read_mp4_bytes};

#[test]
fn old_findings_stay_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let options = ReadOptions {
        limits: Limits {
            max_side: 4096,
            max_pixels: 1 << 22,
            max_bytes: 1 << 28,
        },
        ..ReadOptions::default()
    };
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        println!("{}", path.display());
        let _ = read_image_bytes(&bytes, &options);
        let _ = read_gif_bytes(&bytes, &options);
        let _ = read_mp4_bytes(&bytes, &options);
    }
}
