//! Moving pictures of the web: GIF in and out, animated WebP in.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, Frames, ImageDecoder};

use crate::error::{Error, Result};
use crate::fps::Fps;
use crate::frame::{Clip, Frame};
use crate::options::ReadOptions;
use crate::palette::Palette;
use crate::picture::{from_library, over_rgba};

/// Keeps the frames that were asked for, within the limits.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    seen: usize,
    pub(crate) frames: Vec<Frame>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(path: &'a Path, options: &'a ReadOptions) -> Self {
        Self {
            path,
            options,
            seen: 0,
            frames: Vec::new(),
        }
    }

    /// Whether the next frame is to be kept.
    pub(crate) fn wants_next(&self) -> bool {
        self.seen >= self.options.start
    }

    /// Counts the next frame, keeps it if it was asked for, and says whether that was the last.
    pub(crate) fn push(
        &mut self,
        size: (u32, u32),
        make: impl FnOnce() -> Result<Frame>,
    ) -> Result<bool> {
        if self.wants_next() {
            self.options
                .limits
                .check_clip(self.path, size, self.frames.len() + 1)?;
            self.frames.push(make()?);
        }
        self.seen += 1;
        Ok(self
            .options
            .count
            .is_some_and(|count| self.frames.len() >= count.max(1)))
    }

    /// The clip, at `fps`.
    pub(crate) fn finish(self, fps: Fps) -> Result<Clip> {
        if self.frames.is_empty() && self.seen > 0 {
            self.options.window(self.path, self.seen)?;
        }
        if self.frames.is_empty() {
            return Err(Error::damaged(self.path, "it holds no frames"));
        }
        Clip::new(self.frames, fps)
    }
}

/// Reads a GIF. The rate is the average over the frames read; transparent pixels show
/// `options.background`.
pub(crate) fn read_gif(bytes: &[u8], path: &Path, options: &ReadOptions) -> Result<Clip> {
    let mut decoder = GifDecoder::new(Cursor::new(bytes)).map_err(|e| from_library(e, path))?;
    let size = decoder.dimensions();
    options.limits.check_frame(path, size.0, size.1)?;
    decoder
        .set_limits(options.limits.for_images())
        .map_err(|e| from_library(e, path))?;
    collect(decoder.into_frames(), size, path, options)
}

/// Reads a WebP that moves; `None` when it does not.
pub(crate) fn read_webp(bytes: &[u8], path: &Path, options: &ReadOptions) -> Result<Option<Clip>> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(|e| from_library(e, path))?;
    if !decoder.has_animation() {
        return Ok(None);
    }
    let size = decoder.dimensions();
    options.limits.check_frame(path, size.0, size.1)?;
    decoder
        .set_limits(options.limits.for_images())
        .map_err(|e| from_library(e, path))?;
    collect(decoder.into_frames(), size, path, options).map(Some)
}

fn collect(
    frames: Frames<'_>,
    size: (u32, u32),
    path: &Path,
    options: &ReadOptions,
) -> Result<Clip> {
    let mut kept = Collector::new(path, options);
    let mut milliseconds = 0;
    for frame in frames {
        let frame = frame.map_err(|error| from_library(error, path))?;
        if kept.wants_next() {
            let (num, den) = frame.delay().numer_denom_ms();
            // Browsers show frames of less than 20 ms for 100 ms, and so files rely on it.
            let delay = u64::from(num / den.max(1));
            milliseconds += if delay < 20 { 100 } else { delay };
        }
        if kept.push(size, || over_rgba(frame.buffer(), options.background))? {
            break;
        }
    }
    let fps = Fps::from_duration(kept.frames.len() as u64, milliseconds, 1000);
    kept.finish(fps.unwrap_or(options.image_fps))
}

/// Whether a GIF can hold such a clip.
pub(crate) fn check_gif(width: u32, height: u32, fps: Fps) -> Result<()> {
    if width.max(height) > 65_535 {
        return Err(Error::Input(format!(
            "a GIF has sides of up to 65535 pixels, got {width}x{height}"
        )));
    }
    if fps.as_f64() > 50.0 {
        return Err(Error::Input(format!(
            "a GIF plays up to 50 frames per second, got {fps}: write an .mp4, or lower the rate"
        )));
    }
    Ok(())
}

/// How long each frame is shown, in hundredths of a second: whole numbers whose sums follow the
/// rate, so that the clip as a whole lasts as long as it should.
pub(crate) fn delays(fps: Fps, num_frames: usize) -> Vec<u16> {
    let at = |frame: usize| (fps.seconds(frame) * 100.0).round();
    (0..num_frames)
        .map(|frame| (at(frame + 1) - at(frame)).min(f64::from(u16::MAX)) as u16)
        .collect()
}

/// A GIF of the clip that loops for ever; `quality` 0 to 100 is the time taken to choose colours.
pub(crate) fn to_gif(clip: &Clip, quality: u8, comment: Option<&str>) -> Result<Vec<u8>> {
    check_gif(clip.width(), clip.height(), clip.fps())?;
    let failed = |error: gif::EncodingError| Error::Input(format!("cannot write a GIF: {error}"));
    let (width, height) = (clip.width() as u16, clip.height() as u16);
    let palette = Palette::new(clip, 1 + (100 - i32::from(quality.min(100))) * 29 / 100);
    let mut bytes = Vec::new();
    let mut encoder =
        gif::Encoder::new(&mut bytes, width, height, &palette.colors()).map_err(failed)?;
    encoder.set_repeat(gif::Repeat::Infinite).map_err(failed)?;
    if let Some(comment) = comment {
        let kind = gif::AnyExtension::from(gif::Extension::Comment);
        encoder
            .write_raw_extension(kind, &[comment.as_bytes()])
            .map_err(failed)?;
    }
    for (frame, delay) in clip
        .frames()
        .iter()
        .zip(delays(clip.fps(), clip.num_frames()))
    {
        let picture = gif::Frame {
            width,
            height,
            delay,
            buffer: Cow::Owned(palette.apply(frame)),
            ..gif::Frame::default()
        };
        encoder.write_frame(&picture).map_err(failed)?;
    }
    drop(encoder);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(width: u32, height: u32, num_frames: usize, fps: &str) -> Clip {
        let frames = (0..num_frames)
            .map(|t| {
                Frame::from_fn(width, height, |x, y| {
                    [(x * 4) as u8, (y * 4) as u8, (t * 8) as u8]
                })
                .unwrap()
            })
            .collect();
        Clip::new(frames, fps.parse().unwrap()).unwrap()
    }

    fn read(bytes: &[u8], options: &ReadOptions) -> Result<Clip> {
        read_gif(bytes, Path::new("clip.gif"), options)
    }

    #[test]
    fn gif_keeps_frames_size_and_duration() {
        for (width, height, frames, fps) in [
            (1, 1, 1, "24"),
            (7, 5, 2, "7.5"),
            (32, 20, 30, "29.97"),
            (16, 16, 30, "24"),
        ] {
            let clip = clip(width, height, frames, fps);
            let bytes = to_gif(&clip, 85, Some("{\"seed\":3}")).unwrap();
            let back = read(&bytes, &ReadOptions::default()).unwrap();
            assert_eq!(back.num_frames(), frames);
            assert_eq!((back.width(), back.height()), (width, height));
            assert!(
                (back.seconds() - clip.seconds()).abs() < 0.0051,
                "{back:?} of {clip:?}"
            );
            for (came, went) in back.frames().iter().zip(clip.frames()) {
                // Dithered: single pixels are off, averages hardly, although this clip has
                // far more colours than a GIF.
                let mean = |frame: &Frame, c: usize| {
                    let levels = frame.rgb().iter().skip(c).step_by(3);
                    levels.map(|&level| f64::from(level)).sum::<f64>() * 3.0
                        / frame.rgb().len() as f64
                };
                for c in 0..3 {
                    assert!(
                        (mean(came, c) - mean(went, c)).abs() < 12.0,
                        "{width}x{height}: {} and {}",
                        mean(came, c),
                        mean(went, c)
                    );
                }
            }
        }
    }

    #[test]
    fn delays_add_up() {
        assert_eq!(delays(Fps::FILM, 6), [4, 4, 5, 4, 4, 4]);
        assert_eq!(delays("50".parse().unwrap(), 2), [2, 2]);
        let total: u32 = delays("29.97".parse().unwrap(), 3000)
            .iter()
            .map(|&d| u32::from(d))
            .sum();
        assert_eq!(total, 10_010);
    }

    #[test]
    fn fast_gifs_are_refused() {
        let error = to_gif(&clip(2, 2, 1, "60"), 85, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(".mp4"), "{error}");
    }

    #[test]
    fn windows_of_a_gif() {
        let bytes = to_gif(&clip(8, 8, 6, "10"), 85, None).unwrap();
        let options = ReadOptions {
            start: 2,
            count: Some(3),
            ..ReadOptions::default()
        };
        let part = read(&bytes, &options).unwrap();
        let whole = read(&bytes, &ReadOptions::default()).unwrap();
        assert_eq!(part.frames(), &whole.frames()[2..5]);
        let late = ReadOptions {
            start: 6,
            ..ReadOptions::default()
        };
        let error = read(&bytes, &late).unwrap_err().to_string();
        assert!(error.contains("has 6 frames"), "{error}");
    }

    /// A second frame that is smaller, then disposed of to what was before.
    #[test]
    fn frames_are_laid_over_each_other() {
        let mut bytes = Vec::new();
        let mut encoder =
            gif::Encoder::new(&mut bytes, 4, 4, &[0, 0, 0, 255, 0, 0, 0, 0, 255]).unwrap();
        let frame = |left, size: u16, index: u8, dispose| gif::Frame {
            width: size,
            height: size,
            left,
            top: left,
            delay: 10,
            dispose,
            buffer: Cow::Owned(vec![index; usize::from(size * size)]),
            ..gif::Frame::default()
        };
        encoder
            .write_frame(&frame(0, 4, 1, gif::DisposalMethod::Keep))
            .unwrap();
        encoder
            .write_frame(&frame(1, 2, 2, gif::DisposalMethod::Previous))
            .unwrap();
        encoder
            .write_frame(&frame(3, 1, 0, gif::DisposalMethod::Keep))
            .unwrap();
        drop(encoder);
        let clip = read(&bytes, &ReadOptions::default()).unwrap();
        let at = |frame: usize, x, y| clip.frames()[frame].pixel(x, y);
        assert_eq!((at(0, 1, 1), at(0, 0, 0)), ([255, 0, 0], [255, 0, 0]));
        assert_eq!((at(1, 1, 1), at(1, 0, 0)), ([0, 0, 255], [255, 0, 0]));
        assert_eq!((at(2, 1, 1), at(2, 3, 3)), ([255, 0, 0], [0, 0, 0]));
        assert_eq!(clip.fps(), Fps::new(10, 1).unwrap());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = to_gif(&clip(16, 16, 5, "10"), 85, None).unwrap();
        for sixteenth in 0..16 {
            let cut = &bytes[..bytes.len() * sixteenth / 16];
            assert!(
                read(cut, &ReadOptions::default()).is_err(),
                "at {sixteenth}/16"
            );
        }
        assert!(read(&bytes[..bytes.len() - 1], &ReadOptions::default()).is_err());
    }
}
