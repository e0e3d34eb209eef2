//! The sequence parameter set of an H.264 stream: size, chroma format and colours.
//!
//! Read before a decoder sees the stream, so that hostile sizes never reach it, and read again
//! from what we wrote, to be sure that the stream says which colours it holds.
//!
//! # Source
//! ITU-T H.264 sections 7.3.2.1.1 (sequence parameter set), 7.4.1.1 (emulation prevention) and
//! E.1.1 (video usability information).

/// What a stream says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sps {
    /// 66 baseline, 77 main, 100 high, ...
    pub(crate) profile: u8,
    /// Width and height in pixels, after cropping.
    pub(crate) size: (u32, u32),
    /// Width and height in pixels that a decoder allocates.
    pub(crate) coded_size: (u32, u32),
    /// 1 is 4:2:0.
    pub(crate) chroma_format: u32,
    /// Bits per sample: luma, chroma.
    pub(crate) bit_depth: (u32, u32),
    /// Whether frames may be stored as two interlaced fields.
    pub(crate) interlaced: bool,
    /// How many reference frames a decoder keeps, at most 16.
    pub(crate) num_ref_frames: u32,
    /// The colours, if the stream says.
    pub(crate) color: Option<Color>,
}

/// Table numbers of ITU-T H.264 annex E, or of the container's `colr` box, which are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Color {
    pub(crate) primaries: u8,
    pub(crate) transfer: u8,
    pub(crate) matrix: u8,
    pub(crate) full_range: bool,
}

impl Color {
    /// BT.709 in limited range: what we write.
    pub(crate) const BT709: Self = Self {
        primaries: 1,
        transfer: 1,
        matrix: 1,
        full_range: false,
    };
}

impl Sps {
    /// Reads a NAL unit of type 7, its header byte included. `None` when it is cut short or
    /// holds numbers that the standard does not allow.
    pub(crate) fn parse(nal: &[u8]) -> Option<Self> {
        let (&header, payload) = nal.split_first()?;
        if header & 0x1f != 7 {
            return None;
        }
        let mut bits = Bits::new(payload);
        let profile = bits.take(8)? as u8;
        bits.take(16)?; // constraint flags, level
        bits.ue(31)?; // id
        let (chroma_format, bit_depth) = high_profile_fields(&mut bits, profile)?;
        bits.ue(12)?; // log2_max_frame_num_minus4
        picture_order(&mut bits)?;
        let num_ref_frames = bits.ue(16)?;
        bits.take(1)?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = bits.ue(0xffff)? + 1;
        let height_units = bits.ue(0xffff)? + 1;
        let frame_mbs_only = bits.flag()?;
        if !frame_mbs_only {
            bits.take(1)?; // mb_adaptive_frame_field_flag
        }
        bits.take(1)?; // direct_8x8_inference_flag
        let fields = 2 - u32::from(frame_mbs_only);
        let coded_size = (width_mbs * 16, height_units * fields * 16);
        let crop_units = match chroma_format {
            1 => (2, 2 * fields),
            2 => (2, fields),
            _ => (1, fields),
        };
        let size = cropped(&mut bits, coded_size, crop_units)?;
        let color = if bits.flag()? {
            vui_color(&mut bits)?
        } else {
            None
        };
        Some(Self {
            profile,
            size,
            coded_size,
            chroma_format,
            bit_depth,
            interlaced: !frame_mbs_only,
            num_ref_frames,
            color,
        })
    }
}

/// Chroma format and bit depths, which only the high profiles spell out.
fn high_profile_fields(bits: &mut Bits<'_>, profile: u8) -> Option<(u32, (u32, u32))> {
    if !matches!(
        profile,
        100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
    ) {
        return Some((1, (8, 8)));
    }
    let chroma_format = bits.ue(3)?;
    if chroma_format == 3 {
        bits.take(1)?; // separate_colour_plane_flag
    }
    let depth = (bits.ue(6)? + 8, bits.ue(6)? + 8);
    bits.take(1)?; // qpprime_y_zero_transform_bypass_flag
    if bits.flag()? {
        let lists = if chroma_format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some((chroma_format, depth))
}

fn skip_scaling_list(bits: &mut Bits<'_>, len: usize) -> Option<()> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..len {
        if next != 0 {
            next = (last + bits.se()? + 256).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.ue(2)? {
        0 => {
            bits.ue(12)?;
        }
        1 => {
            bits.take(1)?;
            bits.se()?;
            bits.se()?;
            for _ in 0..bits.ue(255)? {
                bits.se()?;
            }
        }
        _ => {}
    }
    Some(())
}

fn cropped(bits: &mut Bits<'_>, coded: (u32, u32), units: (u32, u32)) -> Option<(u32, u32)> {
    if !bits.flag()? {
        return Some(coded);
    }
    let [left, right, top, bottom] = [
        bits.ue(0xffff)?,
        bits.ue(0xffff)?,
        bits.ue(0xffff)?,
        bits.ue(0xffff)?,
    ];
    let width = coded.0.checked_sub((left + right) * units.0)?;
    let height = coded.1.checked_sub((top + bottom) * units.1)?;
    (width > 0 && height > 0).then_some((width, height))
}

/// The colours in the video usability information. Outer `None`: cut short.
fn vui_color(bits: &mut Bits<'_>) -> Option<Option<Color>> {
    if bits.flag()? && bits.take(8)? == 255 {
        bits.take(32)?; // sar_width, sar_height
    }
    if bits.flag()? {
        bits.take(1)?; // overscan_appropriate_flag
    }
    if !bits.flag()? {
        return Some(None);
    }
    bits.take(3)?; // video_format
    let full_range = bits.flag()?;
    let mut color = Color {
        primaries: 2,
        transfer: 2,
        matrix: 2,
        full_range,
    };
    if bits.flag()? {
        color.primaries = bits.take(8)? as u8;
        color.transfer = bits.take(8)? as u8;
        color.matrix = bits.take(8)? as u8;
    }
    Some(Some(color))
}

/// Reads bits from the front, leaving out emulation prevention bytes.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    zeros: u32,
    byte: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            zeros: 0,
            byte: 0,
            left: 0,
        }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.get(self.at)?;
        self.at += 1;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.bytes.get(self.at)?;
            self.at += 1;
        }
        self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        Some(byte)
    }

    /// The next `count` bits, at most 32.
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            if self.left == 0 {
                self.byte = self.next_byte()?;
                self.left = 8;
            }
            self.left -= 1;
            value = value << 1 | u32::from(self.byte >> self.left & 1);
        }
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.take(1)? == 1)
    }

    /// An Exp-Golomb number, at most `max`.
    fn ue(&mut self, max: u32) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let value = ((1u32 << zeros) - 1).checked_add(self.take(zeros)?)?;
        (value <= max).then_some(value)
    }

    /// A signed Exp-Golomb number within 32,768 of zero.
    fn se(&mut self) -> Option<i32> {
        let code = self.ue(1 << 16)? as i32;
        Some(if code % 2 == 1 {
            (code + 1) / 2
        } else {
            -(code / 2)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits, to build parameter sets by hand.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(&mut self, value: u32, count: u32) -> &mut Self {
            self.0
                .extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn ue(&mut self, value: u32) -> &mut Self {
            let len = (value + 1).ilog2();
            self.put(0, len).put(value + 1, len + 1)
        }

        fn nal(&mut self) -> Vec<u8> {
            self.put(1, 1);
            let mut nal = vec![0x67];
            let mut zeros = 0;
            for bits in self.0.chunks(8) {
                let byte = bits
                    .iter()
                    .enumerate()
                    .fold(0, |b, (i, &bit)| b | u8::from(bit) << (7 - i));
                if zeros >= 2 && byte <= 3 {
                    nal.push(3);
                    zeros = 0;
                }
                zeros = if byte == 0 { zeros + 1 } else { 0 };
                nal.push(byte);
            }
            nal
        }
    }

    /// A main-profile set for `mbs` macroblocks, cropped by `crop` at the right and bottom.
    fn main_profile(mbs: (u32, u32), crop: (u32, u32)) -> Writer {
        let mut w = Writer::default();
        w.put(77, 8)
            .put(0, 8)
            .put(30, 8)
            .ue(0)
            .ue(0)
            .ue(2)
            .ue(1)
            .put(0, 1);
        w.ue(mbs.0 - 1).ue(mbs.1 - 1).put(1, 1).put(1, 1);
        w.put(1, 1).ue(0).ue(crop.0).ue(0).ue(crop.1);
        w
    }

    #[test]
    fn reads_size_and_colours() {
        let mut writer = main_profile((120, 68), (0, 4));
        writer
            .put(1, 1)
            .put(0, 1)
            .put(0, 1)
            .put(1, 1)
            .put(5, 3)
            .put(0, 1)
            .put(1, 1);
        writer.put(1, 8).put(1, 8).put(1, 8);
        let sps = Sps::parse(&writer.nal()).unwrap();
        assert_eq!(sps.size, (1920, 1080));
        assert_eq!(sps.coded_size, (1920, 1088));
        assert_eq!(
            (sps.chroma_format, sps.bit_depth, sps.interlaced),
            (1, (8, 8), false)
        );
        assert_eq!(sps.color, Some(Color::BT709));
    }

    #[test]
    fn colours_may_be_absent() {
        let sps = Sps::parse(&main_profile((2, 2), (0, 0)).put(0, 1).nal()).unwrap();
        assert_eq!((sps.size, sps.color), ((32, 32), None));
    }

    #[test]
    fn refuses_crops_larger_than_the_picture() {
        assert_eq!(
            Sps::parse(&main_profile((2, 2), (16, 0)).put(0, 1).nal()),
            None
        );
        assert_eq!(
            Sps::parse(&main_profile((2, 2), (60_000, 60_000)).put(0, 1).nal()),
            None
        );
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = main_profile((3, 3), (1, 1)).put(0, 1).nal();
        assert!(Sps::parse(&whole).is_some());
        for len in 0..whole.len() - 1 {
            assert_eq!(Sps::parse(&whole[..len]), None, "{len} bytes");
        }
        assert_eq!(Sps::parse(&[0x68, 1, 2, 3]), None);
    }

    #[test]
    fn emulation_prevention_is_left_out() {
        let mut bits = Bits::new(&[0, 0, 3, 1, 0, 0, 3]);
        assert_eq!(bits.take(24), Some(1));
        assert_eq!(bits.take(16), Some(0));
        assert_eq!(bits.take(1), None);
    }

    #[test]
    fn golomb_numbers_have_a_bound() {
        assert_eq!(Bits::new(&[0b1010_0110]).ue(9), Some(0));
        assert_eq!(Bits::new(&[0b0011_1000]).ue(9), Some(6));
        assert_eq!(Bits::new(&[0b0011_1000]).ue(5), None);
        assert_eq!(Bits::new(&[0; 16]).ue(u32::MAX), None);
        assert_eq!(Bits::new(&[0b0010_0000]).se(), Some(2));
        assert_eq!(Bits::new(&[0b0010_1000]).se(), Some(-2));
    }
}
