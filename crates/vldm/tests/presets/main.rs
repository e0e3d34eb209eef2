//! The presets: every file is valid and has exactly the parameters it claims, every tiny sibling
//! builds and runs, and the laws of video networks hold on a tiny one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

mod common;
mod files;
mod tiny;
mod video_laws;
