//! Writes clips and pictures. What is written is synced, opened again, decoded and counted, and
//! only then gets its name.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::atomic::{PendingFile, parent};
use crate::error::{Error, Result};
use crate::frame::{Clip, Frame};
use crate::probe::Info;
use crate::writer::{self, ClipWriter};
use crate::{animation, mp4, read};

/// How to write a clip.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// From 0 (smallest) to 100 (finest); 85 unless set, hardly to be told from the original.
    /// MP4: 85 is H.264's quantiser 18, 100 is 12. JPEG: its own scale. GIF: the time taken to
    /// choose colours. PNG keeps every pixel, whatever the quality.
    pub quality: u8,
    /// What made the clip (seed, versions, settings): goes into the file's own comment, and into
    /// a `.json` beside it.
    pub metadata: Option<Value>,
    /// Whether metadata goes into a `.json` beside the file too; yes unless set.
    pub sidecar: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            quality: 85,
            metadata: None,
            sidecar: true,
        }
    }
}

impl WriteOptions {
    /// H.264's quantiser: 12 at quality 100, 18 at 85, 51 at 0.
    pub(crate) fn qp(&self) -> u8 {
        12 + ((100 - self.quality.min(100)) as u32 * 39).div_ceil(100) as u8
    }

    pub(crate) fn comment(&self) -> Option<String> {
        self.metadata.as_ref().map(Value::to_string)
    }
}

/// What a path's ending asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Mp4,
    Gif,
    Png,
    Jpeg,
    Folder,
}

impl Target {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let text = path.as_os_str().to_string_lossy();
        if text.is_empty() {
            return Err(Error::Input("the output has no name".into()));
        }
        if text.ends_with(std::path::is_separator) {
            return Ok(Self::Folder);
        }
        let Some(ending) = path.extension() else {
            return Ok(Self::Folder);
        };
        match ending.to_string_lossy().to_lowercase().as_str() {
            "mp4" => Ok(Self::Mp4),
            "gif" => Ok(Self::Gif),
            "png" => Ok(Self::Png),
            "jpg" | "jpeg" => Ok(Self::Jpeg),
            other => Err(Error::unsupported(
                path,
                format!(
                    "cannot write .{other}: name a .mp4, .gif, .png or .jpg file, or a folder \
                     (a name without ending, or ending in /) for numbered PNG frames"
                ),
            )),
        }
    }
}

/// The `.json` that belongs to an output: `clip.json` beside `clip.mp4`, `frames.json` beside the
/// folder `frames/`.
#[must_use]
pub fn sidecar_path(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    // Without a trailing separator.
    let plain: PathBuf = path.components().collect();
    if matches!(Target::of(path), Ok(Target::Folder)) {
        let mut name = plain.into_os_string();
        name.push(".json");
        return PathBuf::from(name);
    }
    plain.with_extension("json")
}

/// Whether `path` can be written: its ending is known, its folder is there, and files can be
/// created in it. Ask before long work.
///
/// # Errors
/// Names what is in the way.
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let target = Target::of(path)?;
    let folder = parent(path);
    if !folder.is_dir() {
        return Err(Error::Input(format!(
            "{}: the folder {} does not exist: create it, or name another output",
            path.display(),
            folder.display()
        )));
    }
    if target == Target::Folder {
        check_folder_is_free(path)?;
    } else if path.is_dir() {
        return Err(Error::Input(format!(
            "{}: a folder has this name: name another output",
            path.display()
        )));
    }
    // Written, not only created: a full disk shows only then.
    PendingFile::with(path, b"?").map(drop)
}

fn check_folder_is_free(path: &Path) -> Result<()> {
    if !read::exists(path) {
        return Ok(());
    }
    let mut entries = fs::read_dir(path).map_err(Error::io("use as a folder", path))?;
    if entries.next().is_some() {
        return Err(Error::Input(format!(
            "{}: the folder is not empty: remove what is in it, or name another output",
            path.display()
        )));
    }
    Ok(())
}

/// Whether [`write()`] would take such a clip for such a path. Ask before the frames are made.
///
/// # Errors
/// As [`check_writable`], and what the format cannot hold.
pub fn check_output(path: impl AsRef<Path>, info: &Info) -> Result<()> {
    let path = path.as_ref();
    check_writable(path)?;
    match Target::of(path)? {
        Target::Mp4 => mp4::check_size(info.width, info.height),
        Target::Gif => animation::check_gif(info.width, info.height, info.fps),
        Target::Png | Target::Jpeg if info.num_frames != 1 => Err(Error::Input(format!(
            "{}: a picture holds one frame, the clip has {}: name a .mp4 or .gif file, or a \
             folder for numbered PNG frames",
            path.display(),
            info.num_frames
        ))),
        Target::Png | Target::Jpeg | Target::Folder => Ok(()),
    }
}

/// Writes a clip; the path's ending chooses how.
///
/// | path | written |
/// |---|---|
/// | `.mp4` | H.264, 4:2:0, BT.709 in limited range, index in front; from 16x16 to 3840x2160 pixels, odd sides grow by one, a copy of the edge |
/// | `.gif` | loops for ever; up to 50 frames per second |
/// | `.png`, `.jpg` | one frame |
/// | no ending, or `/` at the end | a new folder with `frame_00000.png`, `frame_00001.png`, ... |
///
/// An existing file is replaced, in one step; a folder must be new or empty. After any error,
/// what was there before is still there, and nothing else.
///
/// # Errors
/// As [`check_output`]; [`Error::Io`] when the disk fails; [`Error::Verify`] when what was
/// written does not read back.
pub fn write(path: impl AsRef<Path>, clip: &Clip, options: &WriteOptions) -> Result<()> {
    let path = path.as_ref();
    check_output(path, &Info::from(clip))?;
    if matches!(Target::of(path)?, Target::Mp4 | Target::Folder) {
        let size = (clip.width(), clip.height());
        let mut writer = ClipWriter::create(path, size, clip.fps(), options)?;
        for frame in clip.frames() {
            writer.push(frame)?;
        }
        return writer.finish();
    }
    writer::write_whole(path, clip, options)
}

/// Writes one picture as `.png` or `.jpg`.
///
/// # Errors
/// As [`write()`].
pub fn write_image(path: impl AsRef<Path>, frame: &Frame, options: &WriteOptions) -> Result<()> {
    let clip = Clip::new(vec![frame.clone()], crate::Fps::FILM)?;
    write(path, &clip, options)
}

/// Writes what made an output into the `.json` beside it, and returns where that is.
///
/// # Errors
/// [`Error::Io`] when the disk fails; [`Error::Verify`] when what was written does not read back.
pub fn write_sidecar(path: impl AsRef<Path>, value: &Value) -> Result<PathBuf> {
    let path = path.as_ref();
    pending_sidecar(path, value)?.commit()?;
    Ok(sidecar_path(path))
}

pub(crate) fn pending_sidecar(path: &Path, value: &Value) -> Result<PendingFile> {
    let sidecar = sidecar_path(path);
    let text = format!("{value:#}\n");
    let pending = PendingFile::with(&sidecar, text.as_bytes())?;
    let found = std::io::read_to_string(pending.reopen()?).map_err(Error::io("read", &sidecar))?;
    if found != text {
        return Err(Error::verify(&sidecar, "the same text", "another"));
    }
    Ok(pending)
}
