//! Pictures and clips in memory: 8-bit sRGB, row by row from the top left.

use crate::error::{Error, Result};
use crate::fps::Fps;

/// One picture: 8-bit sRGB, three bytes per pixel, rows from the top.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Frame {
    /// A picture of `rgb`, which holds `width * height * 3` bytes.
    ///
    /// # Errors
    /// [`Error::Input`] when a side is zero or `rgb` has another length.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self> {
        let bytes = u64::from(width) * u64::from(height) * 3;
        if bytes == 0 || bytes != rgb.len() as u64 {
            return Err(Error::Input(format!(
                "a frame of {width}x{height} pixels takes {bytes} bytes and must not be empty, \
                 got {} bytes",
                rgb.len()
            )));
        }
        Ok(Self { width, height, rgb })
    }

    /// A picture in one colour.
    ///
    /// # Errors
    /// [`Error::Input`] when a side is zero.
    pub fn filled(width: u32, height: u32, color: [u8; 3]) -> Result<Self> {
        let pixels = width as usize * height as usize;
        Self::new(width, height, color.repeat(pixels))
    }

    /// A picture whose pixel at `(x, y)` is `color(x, y)`.
    ///
    /// # Errors
    /// [`Error::Input`] when a side is zero.
    pub fn from_fn(
        width: u32,
        height: u32,
        mut color: impl FnMut(u32, u32) -> [u8; 3],
    ) -> Result<Self> {
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for y in 0..height {
            for x in 0..width {
                rgb.extend(color(x, y));
            }
        }
        Self::new(width, height, rgb)
    }

    /// Width in pixels, at least 1.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Width and height in pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The pixels: `width * height * 3` bytes.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The pixels, to be painted on.
    pub fn rgb_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
    }

    /// The pixels, without copying them.
    #[must_use]
    pub fn into_rgb(self) -> Vec<u8> {
        self.rgb
    }

    /// One row of pixels: `width * 3` bytes.
    ///
    /// # Panics
    /// When `y` is not below [`Frame::height`].
    #[must_use]
    pub fn row(&self, y: u32) -> &[u8] {
        let stride = self.width as usize * 3;
        &self.rgb[y as usize * stride..][..stride]
    }

    /// The colour of one pixel.
    ///
    /// # Panics
    /// When the pixel lies outside.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let row = self.row(y);
        let at = x as usize * 3;
        [row[at], row[at + 1], row[at + 2]]
    }

    /// Copies `tile` into this picture with its top left corner at `(x, y)`; what does not fit is
    /// cut off.
    pub fn paste(&mut self, tile: &Self, x: u32, y: u32) {
        let columns = tile.width.min(self.width.saturating_sub(x)) as usize * 3;
        let rows = tile.height.min(self.height.saturating_sub(y));
        let stride = self.width as usize * 3;
        for row in 0..rows {
            let start = (y + row) as usize * stride + x as usize * 3;
            self.rgb[start..start + columns].copy_from_slice(&tile.row(row)[..columns]);
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}x{})", self.width, self.height)
    }
}

/// Pictures of one size, shown at a constant rate; at least one.
#[derive(Clone, PartialEq, Eq)]
pub struct Clip {
    frames: Vec<Frame>,
    fps: Fps,
}

impl Clip {
    /// A clip of `frames`, shown at `fps`.
    ///
    /// # Errors
    /// [`Error::Input`] when there are no frames, or they differ in size.
    pub fn new(frames: Vec<Frame>, fps: Fps) -> Result<Self> {
        let Some(first) = frames.first() else {
            return Err(Error::Input(
                "a clip has at least one frame, got none".into(),
            ));
        };
        let (width, height) = first.size();
        if let Some(at) = frames
            .iter()
            .position(|frame| frame.size() != (width, height))
        {
            let (w, h) = frames[at].size();
            return Err(Error::Input(format!(
                "the frames of a clip have one size: frame 0 is {width}x{height}, \
                 frame {at} is {w}x{h}"
            )));
        }
        Ok(Self { frames, fps })
    }

    /// The frames, in the order they are shown.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The frames, without copying them.
    #[must_use]
    pub fn into_frames(self) -> Vec<Frame> {
        self.frames
    }

    /// Number of frames, at least 1.
    #[must_use]
    pub fn num_frames(&self) -> usize {
        self.frames.len()
    }

    /// Frames per second.
    #[must_use]
    pub fn fps(&self) -> Fps {
        self.fps
    }

    /// Width of every frame, in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.frames[0].width
    }

    /// Height of every frame, in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.frames[0].height
    }

    /// How long the clip lasts, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.fps.seconds(self.frames.len())
    }
}

impl std::fmt::Debug for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clip({})", crate::probe::Info::from(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_checks_its_bytes() {
        assert!(Frame::new(2, 1, vec![0; 6]).is_ok());
        assert!(Frame::new(2, 1, vec![0; 5]).is_err());
        assert!(Frame::new(0, 1, vec![]).is_err());
        assert!(Frame::filled(3, 0, [1, 2, 3]).is_err());
    }

    #[test]
    fn a_clip_checks_its_frames() {
        let small = Frame::filled(2, 2, [0; 3]).unwrap();
        let large = Frame::filled(4, 2, [0; 3]).unwrap();
        assert!(Clip::new(vec![], Fps::FILM).is_err());
        let error = Clip::new(vec![small.clone(), large], Fps::FILM).unwrap_err();
        assert!(error.to_string().contains("frame 1 is 4x2"), "{error}");
        assert_eq!(
            Clip::new(vec![small; 12], Fps::FILM).unwrap().seconds(),
            0.5
        );
    }

    #[test]
    fn paste_cuts_what_does_not_fit() {
        let mut sheet = Frame::filled(3, 3, [0; 3]).unwrap();
        sheet.paste(&Frame::filled(2, 2, [9; 3]).unwrap(), 2, 1);
        sheet.paste(&Frame::filled(2, 2, [9; 3]).unwrap(), 7, 7);
        let painted = sheet.rgb().iter().filter(|&&byte| byte == 9).count();
        assert_eq!(painted, 2 * 3);
        assert_eq!(sheet.pixel(2, 1), [9; 3]);
        assert_eq!(sheet.pixel(2, 2), [9; 3]);
    }
}
