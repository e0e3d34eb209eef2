//! Other sizes and shapes of a frame.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::error::{Error, Result};
use crate::frame::Frame;

/// How pixels are weighed when a frame changes its size. All but `Nearest` widen with the factor
/// when shrinking, so that nothing flickers.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The nearest pixel: hard edges, for labels and pixel art.
    Nearest,
    /// The average of what falls into the new pixel.
    Area,
    /// Linear between neighbours.
    Bilinear,
    /// Catmull-Rom: sharp, hardly rings.
    #[default]
    Bicubic,
    /// Three lobes of a windowed sinc: sharpest, may ring at edges.
    Lanczos,
}

/// The frame at another size, stretched if the shape differs.
///
/// # Errors
/// [`Error::Input`] when a side is zero.
pub fn resize(frame: &Frame, width: u32, height: u32, filter: Filter) -> Result<Frame> {
    if frame.size() == (width, height) {
        return Ok(frame.clone());
    }
    let failed = |error: &dyn std::fmt::Display| {
        Error::Input(format!(
            "cannot resize {frame:?} to {width}x{height}: {error}"
        ))
    };
    let algorithm = match filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Area => ResizeAlg::Convolution(FilterType::Box),
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
    };
    if width == 0 || height == 0 {
        return Err(failed(&"both sides must be at least 1"));
    }
    // By its type, and not through the library's choice among all pixel types: that choice
    // compiles all of them, which takes minutes.
    let source = TypedImageRef::<U8x3>::from_buffer(frame.width(), frame.height(), frame.rgb())
        .map_err(|error| failed(&error))?;
    let mut rgb = vec![0; width as usize * height as usize * 3];
    let mut target =
        TypedImage::<U8x3>::from_buffer(width, height, &mut rgb).map_err(|error| failed(&error))?;
    let options = ResizeOptions::new().resize_alg(algorithm);
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .map_err(|error| failed(&error))?;
    drop(target);
    Frame::new(width, height, rgb)
}

/// The largest part of the frame, from its middle, whose sides are as `width` to `height`.
///
/// # Errors
/// [`Error::Input`] when `width` or `height` is zero.
pub fn crop_to_aspect(frame: &Frame, width: u32, height: u32) -> Result<Frame> {
    if width == 0 || height == 0 {
        return Err(Error::Input(format!(
            "no frame has the shape {width}:{height}"
        )));
    }
    let (w, h) = (u64::from(frame.width()), u64::from(frame.height()));
    let (aspect_w, aspect_h) = (u64::from(width), u64::from(height));
    let round = |num: u64, den: u64| ((num + den / 2) / den).max(1);
    let (new_w, new_h) = if w * aspect_h > h * aspect_w {
        (round(h * aspect_w, aspect_h).min(w), h)
    } else {
        (w, round(w * aspect_h, aspect_w).min(h))
    };
    let (left, top) = (((w - new_w) / 2) as usize, ((h - new_h) / 2) as u32);
    let mut rgb = Vec::with_capacity((new_w * new_h * 3) as usize);
    for y in top..top + new_h as u32 {
        rgb.extend_from_slice(&frame.row(y)[left * 3..][..new_w as usize * 3]);
    }
    Frame::new(new_w as u32, new_h as u32, rgb)
}

/// Crops to the shape of `width` by `height` around the middle, then resizes to it: fills the new
/// frame and distorts nothing.
///
/// # Errors
/// [`Error::Input`] when a side is zero.
pub fn resize_to_fill(frame: &Frame, width: u32, height: u32, filter: Filter) -> Result<Frame> {
    resize(
        &crop_to_aspect(frame, width, height)?,
        width,
        height,
        filter,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: [Filter; 5] = [
        Filter::Nearest,
        Filter::Area,
        Filter::Bilinear,
        Filter::Bicubic,
        Filter::Lanczos,
    ];

    #[test]
    fn one_colour_stays_one_colour() {
        let frame = Frame::filled(17, 9, [10, 128, 250]).unwrap();
        for filter in FILTERS {
            for (width, height) in [(1, 1), (40, 3), (17, 9), (5, 31)] {
                let resized = resize(&frame, width, height, filter).unwrap();
                assert_eq!(
                    resized,
                    Frame::filled(width, height, [10, 128, 250]).unwrap()
                );
            }
        }
        assert!(resize(&frame, 0, 4, Filter::Area).is_err());
    }

    #[test]
    fn area_is_the_average() {
        let frame = Frame::from_fn(4, 2, |x, y| [(x * 10 + y * 100) as u8; 3]).unwrap();
        let half = resize(&frame, 2, 1, Filter::Area).unwrap();
        assert_eq!(half.rgb(), [55, 55, 55, 75, 75, 75]);
    }

    #[test]
    fn fine_stripes_shrink_to_grey() {
        let stripes = Frame::from_fn(256, 8, |x, _| [(x % 2 * 255) as u8; 3]).unwrap();
        for filter in &FILTERS[1..] {
            let small = resize(&stripes, 16, 8, *filter).unwrap();
            assert!(
                small.rgb().iter().all(|byte| byte.abs_diff(128) < 12),
                "{filter:?}"
            );
        }
    }

    #[test]
    fn crops_keep_the_middle() {
        let check = |size: (u32, u32), aspect: (u32, u32), expected: (u32, u32)| {
            let frame = Frame::from_fn(size.0, size.1, |x, y| [x as u8, y as u8, 0]).unwrap();
            let cropped = crop_to_aspect(&frame, aspect.0, aspect.1).unwrap();
            assert_eq!(cropped.size(), expected);
            let corner = [
                ((size.0 - expected.0) / 2) as u8,
                ((size.1 - expected.1) / 2) as u8,
                0,
            ];
            assert_eq!(cropped.pixel(0, 0), corner);
        };
        check((16, 9), (1, 1), (9, 9));
        check((9, 16), (1, 1), (9, 9));
        check((100, 50), (2, 1), (100, 50));
        check((100, 50), (16, 9), (89, 50));
        check((3, 200), (1000, 1), (3, 1));
        let filled = resize_to_fill(
            &Frame::filled(30, 10, [1; 3]).unwrap(),
            8,
            8,
            Filter::Bicubic,
        );
        assert_eq!(filled.unwrap().size(), (8, 8));
        assert!(crop_to_aspect(&Frame::filled(3, 3, [1; 3]).unwrap(), 0, 1).is_err());
    }
}
