//! Writes clips and pictures. What is written is synced, opened again, decoded and counted, and
//! only then gets its name.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::atomic::{PendingFile, PendingFolder, parent};
use crate::error::{Error, Result};
use crate::frame::{Clip, Frame};
use crate::options::{Limits, ReadOptions};
use crate::probe::Info;
use crate::{animation, folder, mp4, picture, read};

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
    fn qp(&self) -> u8 {
        12 + ((100 - self.quality.min(100)) as u32 * 39).div_ceil(100) as u8
    }

    fn comment(&self) -> Option<String> {
        self.metadata.as_ref().map(Value::to_string)
    }
}

/// What a path's ending asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Mp4,
    Gif,
    Png,
    Jpeg,
    Folder,
}

impl Target {
    fn of(path: &Path) -> Result<Self> {
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
    let sidecar = match &options.metadata {
        Some(value) if options.sidecar => Some(pending_sidecar(path, value)?),
        _ => None,
    };
    let comment = options.comment();
    let comment = comment.as_deref();
    if Target::of(path)? == Target::Folder {
        let pending = pending_folder(path, clip, comment)?;
        return commit(sidecar, path, || pending.commit());
    }
    let pending = pending_file(path, clip, options, comment)?;
    commit(sidecar, path, || pending.commit())
}

/// Names the `.json` first, so that no output ever stands without it.
fn commit(
    sidecar: Option<PendingFile>,
    path: &Path,
    output: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let had_sidecar = read::exists(&sidecar_path(path));
    let is_new = sidecar.is_some() && !had_sidecar;
    if let Some(sidecar) = sidecar {
        sidecar.commit()?;
    }
    output().inspect_err(|_| {
        if is_new {
            // The error at hand matters more than this one.
            let _ = fs::remove_file(sidecar_path(path));
        }
    })
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

fn pending_sidecar(path: &Path, value: &Value) -> Result<PendingFile> {
    let sidecar = sidecar_path(path);
    let text = format!("{value:#}\n");
    let pending = PendingFile::with(&sidecar, text.as_bytes())?;
    let found = std::io::read_to_string(pending.reopen()?).map_err(Error::io("read", &sidecar))?;
    if found != text {
        return Err(Error::verify(&sidecar, "the same text", "another"));
    }
    Ok(pending)
}

fn pending_folder(path: &Path, clip: &Clip, comment: Option<&str>) -> Result<PendingFolder> {
    let plain: PathBuf = path.components().collect();
    let pending = PendingFolder::create(&plain)?;
    for (number, frame) in clip.frames().iter().enumerate() {
        let name = folder::frame_name(number);
        let written = pending.add(&name, &picture::to_png(frame, comment)?)?;
        let bytes = fs::read(&written).map_err(Error::io("read again", &path.join(&name)))?;
        verify_exact(&bytes, frame, &path.join(&name))?;
    }
    Ok(pending)
}

fn pending_file(
    path: &Path,
    clip: &Clip,
    options: &WriteOptions,
    comment: Option<&str>,
) -> Result<PendingFile> {
    let frame = &clip.frames()[0];
    let target = Target::of(path)?;
    let bytes = match target {
        Target::Mp4 => mp4::to_bytes(clip, options.qp(), comment.map(str::to_owned))?,
        Target::Gif => animation::to_gif(clip, options.quality, comment)?,
        Target::Jpeg => picture::to_jpeg(frame, options.quality, comment)?,
        Target::Png | Target::Folder => picture::to_png(frame, comment)?,
    };
    let pending = PendingFile::with(path, &bytes)?;
    drop(bytes);
    let mut file = BufReader::new(pending.reopen()?);
    if target == Target::Mp4 {
        mp4::verify(&mut file, clip, path)?;
        return Ok(pending);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(Error::io("read again", path))?;
    match target {
        Target::Gif => verify_gif(&bytes, clip, path)?,
        Target::Jpeg => verify_size(&decode(&bytes, path)?, frame, path)?,
        _ => verify_exact(&bytes, frame, path)?,
    }
    Ok(pending)
}

/// Reads back what we wrote, whatever its size.
fn unlimited() -> ReadOptions {
    ReadOptions {
        limits: Limits::none(),
        ..ReadOptions::default()
    }
}

fn decode(bytes: &[u8], path: &Path) -> Result<Frame> {
    read::read_image_bytes(bytes, &unlimited())
        .map_err(|error| Error::verify(path, "a picture", error.to_string()))
}

fn verify_exact(bytes: &[u8], frame: &Frame, path: &Path) -> Result<()> {
    let found = decode(bytes, path)?;
    verify_size(&found, frame, path)?;
    if found != *frame {
        return Err(Error::verify(path, "the same pixels", "others"));
    }
    Ok(())
}

fn verify_size(found: &Frame, frame: &Frame, path: &Path) -> Result<()> {
    if found.size() != frame.size() {
        return Err(Error::verify(
            path,
            format!("{frame:?}"),
            format!("{found:?}"),
        ));
    }
    Ok(())
}

fn verify_gif(bytes: &[u8], clip: &Clip, path: &Path) -> Result<()> {
    let found = animation::read_gif(bytes, path, &unlimited())
        .map_err(|error| Error::verify(path, format!("{clip:?}"), error.to_string()))?;
    let same_size = found.frames()[0].size() == clip.frames()[0].size();
    // Hundredths of a second are the finest a GIF has.
    let same_length = (found.seconds() - clip.seconds()).abs() < 0.0051;
    if !same_size || !same_length || found.num_frames() != clip.num_frames() {
        return Err(Error::verify(
            path,
            format!("{clip:?}"),
            format!("{found:?}"),
        ));
    }
    Ok(())
}
