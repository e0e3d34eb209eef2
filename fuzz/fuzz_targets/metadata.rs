//! A folder's `metadata.jsonl` beside two clips: nothing outside the folder may be opened.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vldm::data::FolderSource;
use vldm_media::{Clip, Fps, Frame, WriteOptions};

fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("vldm-fuzz-metadata-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    })
}

fn clips() -> &'static PathBuf {
    static WRITTEN: OnceLock<()> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let frame = Frame::from_fn(8, 8, |x, y| [x as u8, y as u8, 0]).expect("a frame");
        let fps = Fps::new(8, 1).expect("a rate");
        for name in ["a.gif", "b.gif"] {
            let clip = Clip::new(vec![frame.clone(); 3], fps).expect("a clip");
            vldm_media::write(folder().join(name), &clip, &WriteOptions::default())
                .expect("the clip is written");
        }
    });
    folder()
}

fuzz_target!(|bytes: &[u8]| {
    let folder = clips();
    std::fs::write(folder.join("metadata.jsonl"), bytes).expect("the lines are written");
    let _ = FolderSource::open(folder, Fps::new(8, 1).expect("a rate"));
});
