//! Opens clips and pictures of any kind. What a file is, is told from its bytes, not its name.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use image::ImageFormat;

use crate::animation::{read_gif, read_webp};
use crate::error::{Error, Result};
use crate::frame::{Clip, Frame};
use crate::options::ReadOptions;
use crate::probe::Info;
use crate::{ffmpeg, folder, mp4, picture};

/// What the first bytes of a file say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Png,
    Jpeg,
    WebP,
    Gif,
    Mp4,
    Other,
}

impl Kind {
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0x89, b'P', b'N', b'G', ..] => Self::Png,
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Self::WebP,
            [b'G', b'I', b'F', b'8', ..] => Self::Gif,
            _ if mp4::is_mp4(head) => Self::Mp4,
            _ => Self::Other,
        }
    }

    /// The picture format, unless it is video.
    fn picture(self) -> Option<ImageFormat> {
        match self {
            Self::Png => Some(ImageFormat::Png),
            Self::Jpeg => Some(ImageFormat::Jpeg),
            Self::WebP => Some(ImageFormat::WebP),
            _ => None,
        }
    }
}

/// Opens a file and looks at its first bytes.
pub(crate) fn open(path: &Path) -> Result<(BufReader<File>, Kind)> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut head = Vec::new();
    (&file)
        .take(12)
        .read_to_end(&mut head)
        .map_err(Error::io("read", path))?;
    let mut reader = BufReader::new(file);
    std::io::Seek::rewind(&mut reader).map_err(Error::io("read", path))?;
    Ok((reader, Kind::of(&head)))
}

/// Reads a clip: PNG, JPEG and WebP pictures, folders of them (in natural order of their names),
/// GIF, MP4 with H.264, and everything else through `ffmpeg` when it is installed.
///
/// A picture is a clip of one frame. Pictures and folders play at [`ReadOptions::image_fps`].
/// Clips whose rate varies are read with their average rate. Transparent pixels show
/// [`ReadOptions::background`].
///
/// # Errors
/// Says what was expected, what came and what to do: see the variants of [`Error`].
pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Clip> {
    let path = path.as_ref();
    if path.is_dir() {
        return read_folder(path, options);
    }
    let (mut reader, kind) = open(path)?;
    match kind {
        Kind::Mp4 => match mp4::read(&mut reader, path, options) {
            Err(Error::Unsupported { reason, .. }) => ffmpeg::read(path, options, &reason),
            other => other,
        },
        Kind::Other => ffmpeg::read(path, options, &other_kind(path)?),
        _ => read_pictures(&all(reader, path, options)?, kind, path, options),
    }
}

/// Reads the first frame of a clip or picture.
///
/// # Errors
/// As [`read`].
pub fn read_image(path: impl AsRef<Path>) -> Result<Frame> {
    let options = ReadOptions {
        count: Some(1),
        ..ReadOptions::default()
    };
    let mut frames = read(path, &options)?.into_frames();
    Ok(frames.swap_remove(0))
}

/// Size, length and rate of a clip. Reads no pixels of MP4 files; GIFs and folders are read
/// through.
///
/// # Errors
/// As [`read`].
pub fn probe(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Info> {
    let path = path.as_ref();
    if !path.is_dir() {
        let (mut reader, kind) = open(path)?;
        if kind == Kind::Mp4 {
            return match mp4::probe(&mut reader, path) {
                Err(Error::Unsupported { reason, .. }) => ffmpeg::probe(path, options, &reason),
                other => other,
            };
        }
        if kind == Kind::Other {
            return ffmpeg::probe(path, options, &other_kind(path)?);
        }
    }
    Ok(Info::from(&read(path, options)?))
}

/// Why a file of no known kind needs ffmpeg; an error if its name says that it should not.
fn other_kind(path: &Path) -> Result<String> {
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some(ending @ ("png" | "jpg" | "jpeg" | "webp" | "gif")) => Err(Error::damaged(
            path,
            format!("it does not begin like a .{ending} file"),
        )),
        Some(ending) => Ok(format!(".{ending} is not read here")),
        None => Ok("files of this kind are not read here".into()),
    }
}

/// All bytes of a file, unless it is larger than what may be read.
fn all(reader: BufReader<File>, path: &Path, options: &ReadOptions) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = options.limits.max_bytes;
    let count = reader.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    if count.map_err(Error::io("read", path))? as u64 > limit {
        return Err(Error::too_large(
            path,
            format!("at most {limit} bytes are read"),
        ));
    }
    Ok(bytes)
}

/// Reads what moves or stands still in one file of an image format.
fn read_pictures(bytes: &[u8], kind: Kind, path: &Path, options: &ReadOptions) -> Result<Clip> {
    if kind == Kind::Gif {
        return read_gif(bytes, path, options);
    }
    if kind == Kind::WebP
        && let Some(clip) = read_webp(bytes, path, options)?
    {
        return Ok(clip);
    }
    let format = kind
        .picture()
        .ok_or_else(|| Error::damaged(path, "it is no picture"))?;
    options.window(path, 1)?;
    let frame = picture::decode(bytes, format, path, options)?;
    Clip::new(vec![frame], options.image_fps)
}

fn read_folder(path: &Path, options: &ReadOptions) -> Result<Clip> {
    let pictures = folder::pictures(path)?;
    let window = options.window(path, pictures.len())?;
    let whole = ReadOptions {
        start: 0,
        count: Some(1),
        ..options.clone()
    };
    let mut frames: Vec<Frame> = Vec::with_capacity(window.len());
    for picture in &pictures[window] {
        let frame = read(picture, &whole)?.into_frames().swap_remove(0);
        options
            .limits
            .check_clip(path, frame.size(), frames.len() + 1)?;
        if let Some(first) = frames.first()
            && first.size() != frame.size()
        {
            let ((w, h), (a, b)) = (frame.size(), first.size());
            let reason = format!("it has {w}x{h} pixels, the pictures before it {a}x{b}");
            return Err(Error::damaged(picture, reason));
        }
        frames.push(frame);
    }
    Clip::new(frames, options.image_fps)
}

/// Reads a PNG, JPEG or WebP picture from memory.
///
/// # Errors
/// As [`read`].
pub fn read_image_bytes(bytes: &[u8], options: &ReadOptions) -> Result<Frame> {
    let path = Path::new("<bytes>");
    let kind = Kind::of(bytes);
    if kind.picture().is_none() {
        return Err(Error::damaged(path, "expected a PNG, JPEG or WebP picture"));
    }
    let mut frames = read_pictures(bytes, kind, path, options)?.into_frames();
    Ok(frames.swap_remove(0))
}

/// Reads a GIF from memory.
///
/// # Errors
/// As [`read`].
pub fn read_gif_bytes(bytes: &[u8], options: &ReadOptions) -> Result<Clip> {
    read_gif(bytes, Path::new("<bytes>"), options)
}

/// Reads an MP4 file with H.264 from memory; never calls ffmpeg.
///
/// # Errors
/// As [`read`].
pub fn read_mp4_bytes(bytes: &[u8], options: &ReadOptions) -> Result<Clip> {
    mp4::read_bytes(bytes, options)
}

/// Whether there is anything at `path`, even a broken link.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
