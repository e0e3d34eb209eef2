//! Frames in, frames out: clips, pictures, video files and contact sheets.
//!
//! The first and the last step of everything else. Knows nothing of tensors: a [`Frame`] is 8-bit
//! sRGB, a [`Clip`] is frames of one size with a rate.
//!
//! - [`write()`] makes MP4 (H.264), GIF, PNG, JPEG and folders of PNG frames; what was written is
//!   decoded again before it gets its name, and carries what made it.
//! - [`read`] takes PNG, JPEG, WebP, folders of pictures, GIF and MP4 (H.264), and everything else
//!   through `ffmpeg` where that is installed. Files from anywhere are safe to give: damage is an
//!   error, and [`Limits`] bound what they may allocate.
//! - [`resize`], [`crop_to_aspect`] and [`contact_sheet`] change and arrange frames.
//!
//! ```
//! # use vldm_media::{Clip, Fps, Frame, ReadOptions, WriteOptions};
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("red.mp4");
//! let red = Frame::filled(64, 48, [200, 30, 30])?;
//! let clip = Clip::new(vec![red; 12], "29.97".parse()?)?;
//! let options = WriteOptions {
//!     metadata: Some(serde_json::json!({ "seed": 1 })),
//!     ..WriteOptions::default()
//! };
//! vldm_media::write(&path, &clip, &options)?;
//! assert_eq!(vldm_media::read(&path, &ReadOptions::default())?.num_frames(), 12);
//! # Ok::<(), vldm_media::Error>(())
//! ```

mod animation;
mod atomic;
mod color;
mod error;
mod ffmpeg;
mod folder;
mod fps;
mod frame;
mod metadata;
mod mp4;
mod options;
mod palette;
mod picture;
mod probe;
mod read;
mod resample;
mod resize;
mod sheet;
mod write;

pub use error::{Error, Result};
pub use fps::Fps;
pub use frame::{Clip, Frame};
pub use metadata::read_metadata;
pub use options::{Limits, ReadOptions};
pub use probe::Info;
pub use read::{probe, read, read_gif_bytes, read_image, read_image_bytes, read_mp4_bytes};
pub use resize::{Filter, crop_to_aspect, resize, resize_to_fill};
pub use sheet::{contact_sheet, contact_sheet_of};
pub use write::{
    WriteOptions, check_output, check_writable, sidecar_path, write, write_image, write_sidecar,
};
