//! Writes a clip frame by frame, and checks what was written.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::atomic::{PendingFile, PendingFolder};
use crate::error::{Error, Result};
use crate::fps::Fps;
use crate::frame::{Clip, Frame};
use crate::options::{Limits, ReadOptions};
use crate::probe::Info;
use crate::write::{Target, WriteOptions, check_output, pending_sidecar, sidecar_path};
use crate::{animation, folder, mp4, picture, read};

/// Writes a clip as it is made: for clips too long to be held in memory.
///
/// MP4 files and folders of PNG frames take memory for one frame and what is encoded; a GIF needs
/// all frames before it can choose its colours. Nothing has its name before
/// [`ClipWriter::finish`]; dropped earlier, the writer leaves nothing behind.
#[derive(Debug)]
pub struct ClipWriter {
    path: PathBuf,
    options: WriteOptions,
    /// What has been written so far.
    info: Info,
    output: Output,
}

#[derive(Debug)]
enum Output {
    Mp4(Box<mp4::Encoding>),
    Folder(PendingFolder),
    /// Formats that are written in one piece.
    Whole(Vec<Frame>),
}

impl ClipWriter {
    /// A clip without frames, of `(width, height)` pixels, to be written to `path` as
    /// [`crate::write`] would.
    ///
    /// # Errors
    /// As [`check_output`].
    pub fn create(
        path: impl AsRef<Path>,
        (width, height): (u32, u32),
        fps: Fps,
        options: &WriteOptions,
    ) -> Result<Self> {
        let path = path.as_ref();
        let info = Info {
            width,
            height,
            num_frames: 1,
            fps,
        };
        check_output(path, &info)?;
        let output = match Target::of(path)? {
            Target::Mp4 => Output::Mp4(Box::new(mp4::Encoding::new(
                width,
                height,
                fps,
                options.qp(),
            )?)),
            // Without a trailing separator, which no folder can be renamed to everywhere.
            Target::Folder => Output::Folder(PendingFolder::create(
                &path.components().collect::<PathBuf>(),
            )?),
            Target::Gif | Target::Png | Target::Jpeg => Output::Whole(Vec::new()),
        };
        Ok(Self {
            path: path.to_path_buf(),
            options: options.clone(),
            info: Info {
                num_frames: 0,
                ..info
            },
            output,
        })
    }

    /// Adds the next frame.
    ///
    /// # Errors
    /// [`Error::Input`] when it has another size; [`Error::Io`] when the disk fails.
    pub fn push(&mut self, frame: &Frame) -> Result<()> {
        let Info {
            width,
            height,
            num_frames,
            ..
        } = self.info;
        if frame.size() != (width, height) {
            return Err(Error::Input(format!(
                "{}: frame {num_frames} has {}x{} pixels, the clip {width}x{height}",
                self.path.display(),
                frame.width(),
                frame.height()
            )));
        }
        match &mut self.output {
            Output::Mp4(encoding) => encoding.push(frame)?,
            Output::Folder(pending) => {
                let name = folder::frame_name(num_frames);
                let bytes = picture::to_png(frame, self.options.comment().as_deref())?;
                let written = pending.add(&name, &bytes)?;
                let path = self.path.join(&name);
                let bytes = fs::read(&written).map_err(Error::io("read again", &path))?;
                verify_exact(&bytes, frame, &path)?;
            }
            Output::Whole(frames) => frames.push(frame.clone()),
        }
        self.info.num_frames += 1;
        Ok(())
    }

    /// Checks what was written and gives it its name.
    ///
    /// # Errors
    /// [`Error::Input`] when there are no frames; else as [`crate::write`].
    pub fn finish(self) -> Result<()> {
        let Self {
            path,
            options,
            info,
            output,
        } = self;
        if info.num_frames == 0 {
            return Err(Error::Input(format!(
                "{}: a clip has at least one frame, got none",
                path.display()
            )));
        }
        match output {
            Output::Mp4(encoding) => {
                let pending = PendingFile::with(&path, &encoding.finish(options.comment())?)?;
                mp4::verify(&mut BufReader::new(pending.reopen()?), &info, &path)?;
                commit(&path, &options, || pending.commit())
            }
            Output::Folder(pending) => commit(&path, &options, || pending.commit()),
            Output::Whole(frames) => crate::write(&path, &Clip::new(frames, info.fps)?, &options),
        }
    }
}

/// Writes the formats that are written in one piece.
pub(crate) fn write_whole(path: &Path, clip: &Clip, options: &WriteOptions) -> Result<()> {
    let frame = &clip.frames()[0];
    let target = Target::of(path)?;
    let comment = options.comment();
    let comment = comment.as_deref();
    let bytes = match target {
        Target::Gif => animation::to_gif(clip, options.quality, comment)?,
        Target::Jpeg => picture::to_jpeg(frame, options.quality, comment)?,
        _ => picture::to_png(frame, comment)?,
    };
    let pending = PendingFile::with(path, &bytes)?;
    let mut found = Vec::with_capacity(bytes.len());
    let mut file = pending.reopen()?;
    file.read_to_end(&mut found)
        .map_err(Error::io("read again", path))?;
    match target {
        Target::Gif => verify_gif(&found, clip, path)?,
        Target::Jpeg => verify_size(&decode(&found, path)?, frame, path)?,
        _ => verify_exact(&found, frame, path)?,
    }
    commit(path, options, || pending.commit())
}

/// Names the `.json` first, so that no output ever stands without it.
fn commit(path: &Path, options: &WriteOptions, output: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(metadata) = options.metadata.as_ref().filter(|_| options.sidecar) else {
        return output();
    };
    let sidecar = sidecar_path(path);
    let is_new = !read::exists(&sidecar);
    pending_sidecar(path, metadata)?.commit()?;
    output().inspect_err(|_| {
        if is_new {
            // The error at hand matters more than this one.
            let _ = fs::remove_file(sidecar);
        }
    })
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
    let expected = Info::from(clip);
    let clip_found = animation::read_gif(bytes, path, &unlimited())
        .map_err(|error| Error::verify(path, expected.to_string(), error.to_string()))?;
    let found = Info::from(&clip_found);
    // Hundredths of a second are the finest a GIF has.
    let same_length = (clip_found.seconds() - clip.seconds()).abs() < 0.0051;
    let fps = expected.fps;
    if !same_length || (Info { fps, ..found }) != expected {
        return Err(Error::verify(path, expected.to_string(), found.to_string()));
    }
    Ok(())
}
