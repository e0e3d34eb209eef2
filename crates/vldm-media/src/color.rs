//! RGB and the YCbCr of video files.
//!
//! Chroma is 4:2:0 and sited to the left, H.264's default: a chroma sample lies on the left
//! column of its 2x2 block, half-way between its two rows. Both directions filter accordingly,
//! so that colours do not creep sideways each time a clip is saved.
//!
//! # Source
//! ITU-T H.264 annex E (tables E-3 to E-5, figure E-1); ITU-R BT.709-6 section 3, BT.601-7
//! section 2.5.

use crate::frame::Frame;

/// How YCbCr numbers mean colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ColorSpace {
    /// The weight of red in luma.
    kr: f64,
    /// The weight of blue in luma.
    kb: f64,
    /// Whether black is 0 and white 255, instead of 16 and 235.
    full_range: bool,
}

impl ColorSpace {
    /// BT.709 in limited range: what we write.
    pub(crate) const BT709: Self = Self {
        kr: 0.2126,
        kb: 0.0722,
        full_range: false,
    };

    /// The space of H.264's `matrix_coefficients`; where the file does not say, what players
    /// assume: BT.709 from 720 lines up, else BT.601.
    pub(crate) fn new(matrix_coefficients: Option<u8>, full_range: bool, height: u32) -> Self {
        let (kr, kb) = match matrix_coefficients {
            Some(1) => (0.2126, 0.0722),
            Some(4) => (0.30, 0.11),
            Some(5 | 6) => (0.299, 0.114),
            Some(7) => (0.212, 0.087),
            Some(9 | 10) => (0.2627, 0.0593),
            _ if height >= 720 => (0.2126, 0.0722),
            _ => (0.299, 0.114),
        };
        Self { kr, kb, full_range }
    }

    /// Luma of black, and the steps from there to white; the steps of chroma.
    fn scales(self) -> (f64, f64, f64) {
        if self.full_range {
            (0.0, 255.0, 255.0)
        } else {
            (16.0, 219.0, 224.0)
        }
    }
}

/// A picture in YCbCr 4:2:0; both sides even.
#[derive(Debug)]
pub(crate) struct Yuv420 {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) y: Vec<u8>,
    pub(crate) u: Vec<u8>,
    pub(crate) v: Vec<u8>,
}

/// Borrowed planes, as a decoder hands them out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes<'a> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) y: &'a [u8],
    pub(crate) u: &'a [u8],
    pub(crate) v: &'a [u8],
    /// Bytes from one row of luma, and of chroma, to the next.
    pub(crate) strides: (usize, usize),
}

impl Planes<'_> {
    /// Whether every row lies within its plane.
    pub(crate) fn is_sound(&self) -> bool {
        let (w, h) = (self.width, self.height);
        let fits = |plane: &[u8], stride: usize, w: usize, h: usize| {
            w > 0 && h > 0 && stride >= w && plane.len() >= stride * (h - 1) + w
        };
        fits(self.y, self.strides.0, w, h)
            && fits(self.u, self.strides.1, w.div_ceil(2), h.div_ceil(2))
            && fits(self.v, self.strides.1, w.div_ceil(2), h.div_ceil(2))
    }
}

const BITS: u32 = 14;

fn fixed(value: f64) -> i32 {
    (value * f64::from(1 << BITS)).round() as i32
}

fn to_byte(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// Converts to BT.709, limited range. An odd side grows by one pixel, a copy of the edge.
pub(crate) fn to_yuv420(frame: &Frame) -> Yuv420 {
    let (w, h) = (frame.width() as usize, frame.height() as usize);
    let (width, height) = (w.next_multiple_of(2), h.next_multiple_of(2));
    let mut out = Yuv420 {
        width,
        height,
        y: Vec::with_capacity(width * height),
        u: Vec::with_capacity(width * height / 4),
        v: Vec::with_capacity(width * height / 4),
    };
    let weights = Weights::new(ColorSpace::BT709);
    for pair in 0..height / 2 {
        let top = frame.row((2 * pair) as u32);
        let bottom = frame.row((2 * pair + 1).min(h - 1) as u32);
        for row in [top, bottom] {
            out.y
                .extend(row.as_chunks::<3>().0.iter().map(|rgb| weights.luma(rgb)));
            if width > w {
                out.y.push(out.y[out.y.len() - 1]);
            }
        }
        let at = |x: usize, c: usize| {
            let x = 3 * x.min(w - 1) + c;
            i32::from(top[x]) + i32::from(bottom[x])
        };
        for x in (0..width).step_by(2) {
            // One part left, two here, one right; two rows: eight parts.
            let sum = [0, 1, 2].map(|c| at(x.saturating_sub(1), c) + 2 * at(x, c) + at(x + 1, c));
            out.u.push(weights.chroma(sum, weights.u));
            out.v.push(weights.chroma(sum, weights.v));
        }
    }
    out
}

/// Fixed-point weights from RGB.
struct Weights {
    y: [i32; 3],
    u: [i32; 3],
    v: [i32; 3],
    black: i32,
}

impl Weights {
    fn new(space: ColorSpace) -> Self {
        let (black, luma, chroma) = space.scales();
        let k = [space.kr, 1.0 - space.kr - space.kb, space.kb];
        let axis = |c: usize, span: f64| {
            let scale = chroma / 255.0 / (2.0 * (1.0 - span));
            [0, 1, 2].map(|i| fixed(scale * (f64::from(u8::from(i == c)) - k[i])))
        };
        Self {
            y: k.map(|k| fixed(k * luma / 255.0)),
            u: axis(2, space.kb),
            v: axis(0, space.kr),
            black: fixed(black) + (1 << (BITS - 1)),
        }
    }

    fn luma(&self, rgb: &[u8; 3]) -> u8 {
        let [r, g, b] = rgb.map(i32::from);
        to_byte((self.y[0] * r + self.y[1] * g + self.y[2] * b + self.black) >> BITS)
    }

    /// `sum` holds eight times the colour.
    fn chroma(&self, sum: [i32; 3], weights: [i32; 3]) -> u8 {
        let value = weights[0] * sum[0] + weights[1] * sum[1] + weights[2] * sum[2];
        to_byte((value + (128 << (BITS + 3)) + (1 << (BITS + 2))) >> (BITS + 3))
    }
}

/// Converts to RGB. The planes must be sound ([`Planes::is_sound`]).
pub(crate) fn to_rgb(planes: Planes<'_>, space: ColorSpace) -> Vec<u8> {
    let Planes { width, height, .. } = planes;
    let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
    let (y_stride, c_stride) = planes.strides;
    let back = Back::new(space);
    let mut rgb = vec![0; width * height * 3];
    let mut u = vec![0; width];
    let mut v = vec![0; width];
    for (row, out) in rgb.chunks_exact_mut(width * 3).enumerate() {
        let near = row / 2;
        let far = if row % 2 == 0 {
            near.saturating_sub(1)
        } else {
            (near + 1).min(rows - 1)
        };
        let line = |plane: &'_ [u8], into: &mut [i32]| {
            let near = &plane[near * c_stride..][..columns];
            let far = &plane[far * c_stride..][..columns];
            upsample(near, far, into);
        };
        line(planes.u, &mut u);
        line(planes.v, &mut v);
        let luma = &planes.y[row * y_stride..][..width];
        for (x, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = back.pixel(luma[x], u[x], v[x]);
        }
    }
    rgb
}

/// One line of chroma at full width, eight times as large and around zero: three parts of the
/// near row, one of the far; odd columns half-way between their neighbours.
fn upsample(near: &[u8], far: &[u8], into: &mut [i32]) {
    let last = near.len() - 1;
    let at = |i: usize| 3 * i32::from(near[i]) + i32::from(far[i]) - 512;
    for (x, out) in into.iter_mut().enumerate() {
        let i = x / 2;
        *out = if x % 2 == 0 {
            2 * at(i)
        } else {
            at(i) + at((i + 1).min(last))
        };
    }
}

/// Fixed-point weights back to RGB.
struct Back {
    luma: i32,
    black: i32,
    r_v: i32,
    g_u: i32,
    g_v: i32,
    b_u: i32,
}

impl Back {
    fn new(space: ColorSpace) -> Self {
        let (black, luma, chroma) = space.scales();
        let (kr, kb) = (space.kr, space.kb);
        let kg = 1.0 - kr - kb;
        // The chroma lines are eight times as large.
        let scale = 255.0 / chroma / 8.0;
        Self {
            luma: fixed(255.0 / luma),
            black: black as i32,
            r_v: fixed(scale * 2.0 * (1.0 - kr)),
            g_u: fixed(-scale * 2.0 * (1.0 - kb) * kb / kg),
            g_v: fixed(-scale * 2.0 * (1.0 - kr) * kr / kg),
            b_u: fixed(scale * 2.0 * (1.0 - kb)),
        }
    }

    fn pixel(&self, y: u8, u: i32, v: i32) -> [u8; 3] {
        let y = (i32::from(y) - self.black) * self.luma + (1 << (BITS - 1));
        [
            to_byte((y + self.r_v * v) >> BITS),
            to_byte((y + self.g_u * u + self.g_v * v) >> BITS),
            to_byte((y + self.b_u * u) >> BITS),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planes(yuv: &Yuv420) -> Planes<'_> {
        Planes {
            width: yuv.width,
            height: yuv.height,
            y: &yuv.y,
            u: &yuv.u,
            v: &yuv.v,
            strides: (yuv.width, yuv.width / 2),
        }
    }

    /// The published code values of BT.709's colour bars at full amplitude.
    #[test]
    fn colours_have_the_codes_of_the_standard() {
        let check = |rgb: [u8; 3], expected: (u8, u8, u8)| {
            let yuv = to_yuv420(&Frame::filled(2, 2, rgb).unwrap());
            assert_eq!((yuv.y[0], yuv.u[0], yuv.v[0]), expected, "{rgb:?}");
        };
        check([0, 0, 0], (16, 128, 128));
        check([255, 255, 255], (235, 128, 128));
        check([255, 0, 0], (63, 102, 240));
        check([0, 255, 0], (173, 42, 26));
        check([0, 0, 255], (32, 240, 118));
        check([255, 255, 0], (219, 16, 138));
        check([0, 255, 255], (188, 154, 16));
        check([255, 0, 255], (78, 214, 230));
    }

    #[test]
    fn colours_come_back_within_two_levels() {
        for rgb in [
            [0, 0, 0],
            [255, 255, 255],
            [200, 30, 90],
            [3, 250, 7],
            [255, 0, 255],
        ] {
            let yuv = to_yuv420(&Frame::filled(6, 4, rgb).unwrap());
            let back = to_rgb(planes(&yuv), ColorSpace::BT709);
            for (came, went) in back.chunks(3).flatten().zip(rgb.iter().cycle()) {
                assert!(
                    came.abs_diff(*went) <= 2,
                    "{rgb:?} came back as {:?}",
                    &back[..3]
                );
            }
        }
    }

    #[test]
    fn the_matrix_follows_the_file_or_the_height() {
        assert_eq!(ColorSpace::new(Some(1), false, 100), ColorSpace::BT709);
        assert_eq!(ColorSpace::new(None, false, 720), ColorSpace::BT709);
        assert_eq!(
            ColorSpace::new(Some(2), false, 480),
            ColorSpace::new(Some(6), false, 480)
        );
        let full = ColorSpace::new(Some(6), true, 480);
        let one = Planes {
            width: 1,
            height: 1,
            y: &[76],
            u: &[85],
            v: &[255],
            strides: (1, 1),
        };
        // JPEG's red: full range, BT.601.
        assert_eq!(to_rgb(one, full), [254, 0, 0]);
    }

    #[test]
    fn odd_sides_grow_by_a_copy_of_the_edge() {
        let frame = Frame::from_fn(3, 1, |x, _| [x as u8 * 100; 3]).unwrap();
        let yuv = to_yuv420(&frame);
        assert_eq!((yuv.width, yuv.height), (4, 2));
        assert_eq!(yuv.y[2], yuv.y[3]);
        assert_eq!(yuv.y[..4], yuv.y[4..]);
        assert_eq!((yuv.u.len(), yuv.v.len()), (2, 2));
    }

    /// A red edge must stay where it is, not move by half a pixel.
    #[test]
    fn chroma_keeps_its_place() {
        let frame = Frame::from_fn(16, 16, |x, _| [(x * 16) as u8, 0, 128]).unwrap();
        let back = to_rgb(planes(&to_yuv420(&frame)), ColorSpace::BT709);
        let back = Frame::new(16, 16, back).unwrap();
        for x in 2..14 {
            let (went, came) = (frame.pixel(x, 8)[0], back.pixel(x, 8)[0]);
            assert!(
                went.abs_diff(came) <= 2,
                "column {x}: {went} came back as {came}"
            );
        }
    }

    #[test]
    fn short_planes_are_unsound() {
        let yuv = to_yuv420(&Frame::filled(4, 4, [1, 2, 3]).unwrap());
        assert!(planes(&yuv).is_sound());
        assert!(
            !Planes {
                strides: (3, 2),
                ..planes(&yuv)
            }
            .is_sound()
        );
        assert!(
            !Planes {
                height: 6,
                ..planes(&yuv)
            }
            .is_sound()
        );
        assert!(
            !Planes {
                u: &yuv.u[1..],
                ..planes(&yuv)
            }
            .is_sound()
        );
        assert!(
            !Planes {
                width: 0,
                ..planes(&yuv)
            }
            .is_sound()
        );
    }
}
