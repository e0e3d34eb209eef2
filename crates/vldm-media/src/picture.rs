//! Single pictures: PNG, JPEG and WebP in, PNG and JPEG out.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::ImageFormatHint;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageResult, RgbaImage,
};

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::options::ReadOptions;

/// The key of the text chunk that holds what made a PNG.
pub(crate) const PNG_KEY: &str = "parameters";

/// Decodes the picture in `bytes`, turned as its EXIF says, over `options.background`.
pub(crate) fn decode(
    bytes: &[u8],
    format: ImageFormat,
    path: &Path,
    options: &ReadOptions,
) -> Result<Frame> {
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        // The decoder would paint the rest grey.
        return Err(Error::damaged(
            path,
            "the JPEG is cut short: it has no end marker",
        ));
    }
    let failed = |error| from_library(error, path);
    let mut decoder = open(bytes, format, options).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    options.limits.check_clip(path, (width, height), 1)?;
    // A damaged orientation is no reason to refuse a sound picture.
    let orientation = decoder
        .orientation()
        .unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    over(picture, options.background)
}

/// The decoder of one of our formats. (`image::ImageReader` would compile every format that any
/// crate of the build asks for.)
fn open<'a>(
    bytes: &'a [u8],
    format: ImageFormat,
    options: &ReadOptions,
) -> ImageResult<Box<dyn ImageDecoder + 'a>> {
    let bytes = Cursor::new(bytes);
    let limits = options.limits.for_images();
    let mut decoder: Box<dyn ImageDecoder + 'a> = match format {
        ImageFormat::Png => Box::new(PngDecoder::with_limits(bytes, limits.clone())?),
        ImageFormat::Jpeg => Box::new(JpegDecoder::new(bytes)?),
        ImageFormat::WebP => Box::new(WebPDecoder::new(bytes)?),
        other => {
            return Err(ImageError::Unsupported(
                ImageFormatHint::Exact(other).into(),
            ));
        }
    };
    decoder.set_limits(limits)?;
    Ok(decoder)
}

/// Lays a picture over a colour.
fn over(picture: DynamicImage, background: [u8; 3]) -> Result<Frame> {
    if picture.color().has_alpha() {
        return over_rgba(&picture.into_rgba8(), background);
    }
    let picture = picture.into_rgb8();
    let (width, height) = picture.dimensions();
    Frame::new(width, height, picture.into_raw())
}

pub(crate) fn over_rgba(picture: &RgbaImage, background: [u8; 3]) -> Result<Frame> {
    let (width, height) = picture.dimensions();
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    for pixel in picture.pixels() {
        let [color @ .., alpha] = pixel.0;
        let alpha = u32::from(alpha);
        rgb.extend(color.iter().zip(background).map(|(&front, back)| {
            let mixed = u32::from(front) * alpha + u32::from(back) * (255 - alpha);
            ((mixed + 127) / 255) as u8
        }));
    }
    Frame::new(width, height, rgb)
}

/// Whether an end marker follows the first scan.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let find = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    match (find([0xff, 0xda]), find([0xff, 0xd9])) {
        (Some(scan), Some(end)) => scan < end,
        _ => false,
    }
}

/// Sorts the image library's errors into ours.
pub(crate) fn from_library(error: ImageError, path: &Path) -> Error {
    match error {
        ImageError::Limits(error) => Error::too_large(path, error.to_string()),
        ImageError::Unsupported(error) => Error::unsupported(path, error.to_string()),
        error => Error::damaged(path, error.to_string()),
    }
}

/// A PNG of the frame, with `comment` in an iTXt chunk named `parameters`.
pub(crate) fn to_png(frame: &Frame, comment: Option<&str>) -> Result<Vec<u8>> {
    let failed = |error: png::EncodingError| Error::Input(format!("cannot write a PNG: {error}"));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, frame.width(), frame.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    if let Some(comment) = comment {
        encoder
            .add_itxt_chunk(PNG_KEY.into(), comment.into())
            .map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(frame.rgb()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

/// A JPEG of the frame at `quality` 1 to 100, with `comment` in a comment segment.
pub(crate) fn to_jpeg(frame: &Frame, quality: u8, comment: Option<&str>) -> Result<Vec<u8>> {
    let (width, height) = frame.size();
    if width.max(height) > 65_535 {
        return Err(Error::Input(format!(
            "a JPEG has sides of up to 65535 pixels, got {width}x{height}: write a .png"
        )));
    }
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100))
        .encode(frame.rgb(), width, height, ExtendedColorType::Rgb8)
        .map_err(|error| Error::Input(format!("cannot write a JPEG: {error}")))?;
    // A segment holds 65,533 bytes; what is longer stands in the `.json` only.
    if let Some(comment) = comment.filter(|comment| comment.len() <= 65_533) {
        let mut segment = vec![0xff, 0xfe];
        segment.extend((comment.len() as u16 + 2).to_be_bytes());
        segment.extend(comment.as_bytes());
        bytes.splice(2..2, segment);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use image::codecs::webp::WebPEncoder;

    use super::*;

    fn read(bytes: &[u8], format: ImageFormat) -> Result<Frame> {
        decode(bytes, format, Path::new("picture"), &ReadOptions::default())
    }

    fn gradient(width: u32, height: u32) -> Frame {
        Frame::from_fn(width, height, |x, y| [(x * 3) as u8, (y * 5) as u8, 77]).unwrap()
    }

    #[test]
    fn png_keeps_every_pixel() {
        for (width, height) in [(1, 1), (5, 3), (64, 48)] {
            let frame = gradient(width, height);
            let bytes = to_png(&frame, Some("{}")).unwrap();
            assert_eq!(read(&bytes, ImageFormat::Png).unwrap(), frame);
        }
    }

    #[test]
    fn jpeg_keeps_the_picture() {
        let frame = gradient(33, 17);
        let bytes = to_jpeg(&frame, 95, Some("{\"seed\":1}")).unwrap();
        let back = read(&bytes, ImageFormat::Jpeg).unwrap();
        assert_eq!(back.size(), frame.size());
        let worst = frame
            .rgb()
            .iter()
            .zip(back.rgb())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(worst < Some(24), "{worst:?}");
    }

    #[test]
    fn long_comments_leave_the_jpeg_sound() {
        let comment = "x".repeat(70_000);
        let bytes = to_jpeg(&gradient(8, 8), 90, Some(&comment)).unwrap();
        assert!(read(&bytes, ImageFormat::Jpeg).is_ok());
    }

    #[test]
    fn transparency_lies_over_the_background() {
        let rgba = RgbaImage::from_raw(3, 1, vec![10, 20, 30, 0, 10, 20, 30, 255, 0, 0, 0, 51]);
        let mut bytes = Cursor::new(Vec::new());
        rgba.unwrap()
            .write_to(&mut bytes, ImageFormat::Png)
            .unwrap();
        let frame = read(bytes.get_ref(), ImageFormat::Png).unwrap();
        assert_eq!(frame.rgb(), [255, 255, 255, 10, 20, 30, 204, 204, 204]);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let frame = gradient(64, 48);
        let mut webp = Vec::new();
        WebPEncoder::new_lossless(&mut webp)
            .encode(frame.rgb(), 64, 48, ExtendedColorType::Rgb8)
            .unwrap();
        let files = [
            (ImageFormat::Png, to_png(&frame, None).unwrap()),
            (ImageFormat::Jpeg, to_jpeg(&frame, 90, None).unwrap()),
            (ImageFormat::WebP, webp),
        ];
        for (format, bytes) in files {
            assert!(read(&bytes, format).is_ok(), "{format:?}");
            for sixteenth in 0..16 {
                let cut = &bytes[..bytes.len() * sixteenth / 16];
                assert!(read(cut, format).is_err(), "{format:?} at {sixteenth}/16");
            }
        }
    }

    #[test]
    fn large_claims_are_refused_before_they_are_allocated() {
        let mut bytes = to_png(&gradient(4, 4), None).unwrap();
        bytes[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        let crc = crc(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        let error = read(&bytes, ImageFormat::Png).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }

    /// The checksum of a PNG chunk.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                if crc & 1 == 1 {
                    crc >> 1 ^ 0xedb8_8320
                } else {
                    crc >> 1
                }
            })
        })
    }
}
