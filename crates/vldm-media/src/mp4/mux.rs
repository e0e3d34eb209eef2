//! Packs H.264 into an MP4 file: one video track, its index in front of the frames (fast start).
//!
//! # Source
//! ISO/IEC 14496-12 (boxes), 14496-14 (MP4), 14496-15 (avc1, avcC); the text items are those of
//! QuickTime's metadata list, which every player and ffmpeg read.

use crate::fps::Fps;
use crate::mp4::sps::Color;

/// One encoded picture: NAL units, each behind its length in four bytes.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) data: Vec<u8>,
    pub(crate) is_key: bool,
}

/// An encoded clip, ready to be packed.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) fps: Fps,
    /// Sequence and picture parameter sets, without start codes.
    pub(crate) sps: Vec<u8>,
    pub(crate) pps: Vec<u8>,
    pub(crate) samples: Vec<Sample>,
    /// What made the clip: a JSON string.
    pub(crate) comment: Option<String>,
    /// Name and version of the program.
    pub(crate) tool: String,
}

/// Ticks per second and ticks per frame: exact, and fine enough for players that round.
fn clock(fps: Fps) -> (u32, u32) {
    let mut factor = 1;
    while fps.num() * factor < 10_000 && fps.den() * factor < 1 << 24 {
        factor *= 2;
    }
    (fps.num() * factor, fps.den() * factor)
}

impl Track {
    /// The bytes of the whole file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let ftyp = full(b"ftyp", |b| {
            b.extend(b"isom");
            b.extend(512u32.to_be_bytes());
            b.extend(b"isomiso2avc1mp41");
        });
        let payload: usize = self.samples.iter().map(|sample| sample.data.len()).sum();
        // The index holds the offset of the frames behind it; its length does not depend on it.
        let wide = payload as u64 > 0xf000_0000;
        let header = if wide { 16 } else { 8 };
        let len = self.moov(0, wide).len();
        let start = (ftyp.len() + len + header) as u64;

        let mut file = ftyp;
        file.reserve(len + header + payload);
        file.extend(self.moov(start, wide));
        if wide {
            file.extend(1u32.to_be_bytes());
            file.extend(b"mdat");
            file.extend((payload as u64 + 16).to_be_bytes());
        } else {
            file.extend((payload as u32 + 8).to_be_bytes());
            file.extend(b"mdat");
        }
        for sample in &self.samples {
            file.extend_from_slice(&sample.data);
        }
        file
    }

    fn duration(&self) -> u64 {
        u64::from(clock(self.fps).1) * self.samples.len() as u64
    }

    fn moov(&self, start: u64, wide: bool) -> Vec<u8> {
        full(b"moov", |b| {
            b.extend(self.mvhd());
            b.extend(self.trak(start, wide));
            b.extend(self.udta());
        })
    }

    fn mvhd(&self) -> Vec<u8> {
        versioned(b"mvhd", self.duration(), 0, |b, time| {
            time(b, 0); // created
            time(b, 0); // changed
            b.extend(clock(self.fps).0.to_be_bytes());
            time(b, self.duration());
            b.extend(0x0001_0000u32.to_be_bytes()); // rate 1
            b.extend(0x0100u16.to_be_bytes()); // volume 1
            b.extend([0; 10]);
            b.extend(identity());
            b.extend([0; 24]);
            b.extend(2u32.to_be_bytes()); // next track
        })
    }

    fn trak(&self, start: u64, wide: bool) -> Vec<u8> {
        full(b"trak", |b| {
            b.extend(self.tkhd());
            b.extend(full(b"mdia", |b| {
                b.extend(self.mdhd());
                b.extend(hdlr(b"vide", b"VideoHandler\0"));
                b.extend(full(b"minf", |b| {
                    b.extend(flagged(b"vmhd", 1, |b| b.extend([0; 8])));
                    b.extend(dinf());
                    b.extend(self.stbl(start, wide));
                }));
            }));
        })
    }

    fn tkhd(&self) -> Vec<u8> {
        // Flags: enabled, and part of the movie.
        versioned(b"tkhd", self.duration(), 3, |b, time| {
            time(b, 0);
            time(b, 0);
            b.extend(1u32.to_be_bytes()); // track id
            b.extend([0; 4]);
            time(b, self.duration());
            b.extend([0; 8 + 2 + 2 + 2 + 2]); // layer, group, volume 0
            b.extend(identity());
            b.extend((u32::from(self.width) << 16).to_be_bytes());
            b.extend((u32::from(self.height) << 16).to_be_bytes());
        })
    }

    fn mdhd(&self) -> Vec<u8> {
        versioned(b"mdhd", self.duration(), 0, |b, time| {
            time(b, 0);
            time(b, 0);
            b.extend(clock(self.fps).0.to_be_bytes());
            time(b, self.duration());
            b.extend(0x55c4u16.to_be_bytes()); // language: und
            b.extend([0; 2]);
        })
    }

    fn stbl(&self, start: u64, wide: bool) -> Vec<u8> {
        let count = self.samples.len() as u32;
        full(b"stbl", |b| {
            b.extend(flagged(b"stsd", 0, |b| {
                b.extend(1u32.to_be_bytes());
                b.extend(self.avc1());
            }));
            b.extend(table(b"stts", [[count, clock(self.fps).1]]));
            let keys = self
                .samples
                .iter()
                .zip(1u32..)
                .filter(|(sample, _)| sample.is_key);
            b.extend(table(b"stss", keys.map(|(_, number)| [number])));
            b.extend(table(b"stsc", [[1, count, 1]]));
            b.extend(flagged(b"stsz", 0, |b| {
                b.extend([0; 4]);
                b.extend(count.to_be_bytes());
                for sample in &self.samples {
                    b.extend((sample.data.len() as u32).to_be_bytes());
                }
            }));
            if wide {
                b.extend(table(b"co64", [[(start >> 32) as u32, start as u32]]));
            } else {
                b.extend(table(b"stco", [[start as u32]]));
            }
        })
    }

    fn avc1(&self) -> Vec<u8> {
        full(b"avc1", |b| {
            b.extend([0; 6]);
            b.extend(1u16.to_be_bytes()); // data reference
            b.extend([0; 16]);
            b.extend(self.width.to_be_bytes());
            b.extend(self.height.to_be_bytes());
            b.extend(0x0048_0000u32.to_be_bytes()); // 72 dots per inch
            b.extend(0x0048_0000u32.to_be_bytes());
            b.extend([0; 4]);
            b.extend(1u16.to_be_bytes()); // frames per sample
            b.extend([0; 32]); // compressor
            b.extend(24u16.to_be_bytes()); // depth
            b.extend((-1i16).to_be_bytes());
            b.extend(self.avcc());
            b.extend(full(b"colr", |b| {
                let color = Color::BT709;
                b.extend(b"nclx");
                for number in [color.primaries, color.transfer, color.matrix] {
                    b.extend(u16::from(number).to_be_bytes());
                }
                b.push(u8::from(color.full_range) << 7);
            }));
            b.extend(full(b"pasp", |b| b.extend([0, 0, 0, 1, 0, 0, 0, 1])));
        })
    }

    fn avcc(&self) -> Vec<u8> {
        full(b"avcC", |b| {
            b.push(1);
            b.extend(&self.sps[1..4]); // profile, compatibility, level
            b.push(0xfc | 3); // four bytes of length
            for (mark, set) in [(0xe0, &self.sps), (0, &self.pps)] {
                b.push(mark | 1);
                b.extend((set.len() as u16).to_be_bytes());
                b.extend(set);
            }
            if self.sps[1] >= 100 {
                b.extend([0xfc | 1, 0xf8, 0xf8, 0]); // 4:2:0, eight bits
            }
        })
    }

    fn udta(&self) -> Vec<u8> {
        full(b"udta", |b| {
            b.extend(flagged(b"meta", 0, |b| {
                b.extend(hdlr(b"mdir", b"\0"));
                b.extend(full(b"ilst", |b| {
                    b.extend(text_item(b"\xa9too", &self.tool));
                    if let Some(comment) = &self.comment {
                        b.extend(text_item(b"\xa9cmt", comment));
                    }
                }));
            }));
        })
    }
}

fn text_item(name: &[u8; 4], text: &str) -> Vec<u8> {
    full(name, |b| {
        b.extend(full(b"data", |b| {
            b.extend([0, 0, 0, 1, 0, 0, 0, 0]); // UTF-8, any language
            b.extend(text.as_bytes());
        }));
    })
}

/// A box: length, name, content.
fn full(name: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(name);
    content(&mut bytes);
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// A box of version 0 with `flags`.
fn flagged(name: &[u8; 4], flags: u8, content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    full(name, |b| {
        b.extend([0, 0, 0, flags]);
        content(b);
    })
}

/// A box whose times take eight bytes when `duration` does not fit in four.
fn versioned(
    name: &[u8; 4],
    duration: u64,
    flags: u8,
    content: impl FnOnce(&mut Vec<u8>, &dyn Fn(&mut Vec<u8>, u64)),
) -> Vec<u8> {
    let wide = duration > u64::from(u32::MAX);
    full(name, |b| {
        b.extend([u8::from(wide), 0, 0, flags]);
        content(b, &|b, time| {
            if wide {
                b.extend(time.to_be_bytes());
            } else {
                b.extend((time as u32).to_be_bytes());
            }
        });
    })
}

/// A box that counts its rows.
fn table<const N: usize>(name: &[u8; 4], rows: impl IntoIterator<Item = [u32; N]>) -> Vec<u8> {
    flagged(name, 0, |b| {
        b.extend([0; 4]);
        let mut count = 0u32;
        for row in rows {
            count += 1;
            b.extend(row.iter().flat_map(|number| number.to_be_bytes()));
        }
        b[12..16].copy_from_slice(&count.to_be_bytes());
    })
}

fn hdlr(kind: &[u8; 4], name: &[u8]) -> Vec<u8> {
    flagged(b"hdlr", 0, |b| {
        b.extend([0; 4]);
        b.extend(kind);
        // QuickTime's metadata handler is marked by its maker.
        b.extend(if kind == b"mdir" { *b"appl" } else { [0; 4] });
        b.extend([0; 8]);
        b.extend(name);
    })
}

fn dinf() -> Vec<u8> {
    full(b"dinf", |b| {
        b.extend(flagged(b"dref", 0, |b| {
            b.extend(1u32.to_be_bytes());
            b.extend(flagged(b"url ", 1, |_| ())); // the data is in this file
        }));
    })
}

/// The transformation that changes nothing.
fn identity() -> Vec<u8> {
    [0x0001_0000u32, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000]
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_exact_and_fine() {
        for text in ["24", "29.97", "7.5", "0.001", "1000", "12.34"] {
            let fps: Fps = text.parse().unwrap();
            let (scale, ticks) = clock(fps);
            assert_eq!(
                u64::from(scale) * u64::from(fps.den()),
                u64::from(ticks) * u64::from(fps.num())
            );
        }
        assert_eq!(clock(Fps::FILM), (12_288, 512));
    }

    #[test]
    fn long_durations_take_eight_bytes() {
        let len = |duration| versioned(b"test", duration, 0, |b, time| time(b, duration)).len();
        assert_eq!(len(u64::from(u32::MAX)), 16);
        assert_eq!(len(u64::from(u32::MAX) + 1), 20);
    }
}
