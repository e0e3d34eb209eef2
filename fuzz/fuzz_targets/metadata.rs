//! A folder's `metadata.jsonl` beside two clips: any text is read or refused, line by line.
#![no_main]

mod scratch;

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vldm::data::FolderSource;
use vldm_media::{Clip, Fps, Frame, WriteOptions};

fn clips() -> &'static PathBuf {
    static WRITTEN: OnceLock<()> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let frame = Frame::from_fn(8, 8, |x, y| [x as u8, y as u8, 0]).expect("a frame");
        let fps = Fps::new(8, 1).expect("a rate");
        for name in ["a.gif", "b.gif"] {
            let clip = Clip::new(vec![frame.clone(); 3], fps).expect("a clip");
            vldm_media::write(
                scratch::folder().join(name),
                &clip,
                &WriteOptions::default(),
            )
            .expect("the clip is written");
        }
    });
    scratch::folder()
}

fuzz_target!(|bytes: &[u8]| {
    let folder = clips();
    std::fs::write(folder.join("metadata.jsonl"), bytes).expect("the lines are written");
    let _ = FolderSource::open(folder, Fps::new(8, 1).expect("a rate"));
});
