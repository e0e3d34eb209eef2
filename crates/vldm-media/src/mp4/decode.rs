//! Decodes the H.264 of an MP4 file.
//!
//! The decoder is C code made for video calls: what it is given is checked first. Only slices and
//! parameter sets reach it, and only streams of a kind and size that it supports.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use openh264::OpenH264API;
use openh264::decoder::{DecodeOptions, DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use crate::color::{ColorSpace, Planes, to_rgb};
use crate::error::{Error, Result};
use crate::fps::Fps;
use crate::frame::{Clip, Frame};
use crate::mp4::demux::Index;
use crate::mp4::sps::{Color, Sps};
use crate::options::{Limits, ReadOptions};
use crate::probe::Info;

/// Macroblocks of 16x16 pixels in the largest picture the decoder takes (level 5.2).
const MAX_MACROBLOCKS: u64 = 36_864;

/// What an MP4 file holds, without decoding it.
pub(crate) fn probe(reader: &mut (impl Read + Seek), path: &Path) -> Result<Info> {
    let video = open(reader, path, &Limits::default())?;
    let (mut width, mut height) = video.size();
    if video.index.quarter_turns % 2 == 1 {
        std::mem::swap(&mut width, &mut height);
    }
    Ok(Info {
        width,
        height,
        num_frames: video.shown().len(),
        fps: video.fps(),
    })
}

/// Reads the frames that `options` asks for.
pub(crate) fn read(
    reader: &mut (impl Read + Seek),
    path: &Path,
    options: &ReadOptions,
) -> Result<Clip> {
    let video = open(reader, path, &options.limits)?;
    let (fps, turns) = (video.fps(), video.index.quarter_turns);
    let space = video.color_space();
    let mut frames = Vec::new();
    video.each(options, |planes| {
        let rgb = to_rgb(planes, space);
        let frame = Frame::new(planes.width as u32, planes.height as u32, rgb)?;
        frames.push(turned(frame, turns)?);
        Ok(())
    })?;
    Clip::new(frames, fps)
}

fn turned(frame: Frame, quarter_turns: u8) -> Result<Frame> {
    let (w, h) = frame.size();
    match quarter_turns {
        1 => Frame::from_fn(h, w, |x, y| frame.pixel(y, h - 1 - x)),
        2 => Frame::from_fn(w, h, |x, y| frame.pixel(w - 1 - x, h - 1 - y)),
        3 => Frame::from_fn(h, w, |x, y| frame.pixel(w - 1 - y, x)),
        _ => Ok(frame),
    }
}

/// The video of an MP4 file, checked, not yet decoded.
pub(crate) struct Video<'a, R> {
    reader: &'a mut R,
    path: &'a Path,
    index: Index,
    sps: Sps,
}

/// Reads the index of a file and checks that its stream can be decoded here.
pub(crate) fn open<'a, R: Read + Seek>(
    reader: &'a mut R,
    path: &'a Path,
    limits: &Limits,
) -> Result<Video<'a, R>> {
    let index = Index::read(reader, path)?;
    let mut sets = index
        .parameter_sets
        .iter()
        .filter(|set| kind(set) == Some(7));
    let (Some(set), None) = (sets.next(), sets.next()) else {
        return Err(Error::unsupported(
            path,
            "H.264 without exactly one sequence parameter set is not read here",
        ));
    };
    let sps = Sps::parse(set)
        .ok_or_else(|| Error::damaged(path, "its H.264 sequence parameter set cannot be read"))?;
    check(&sps, path, limits)?;
    Ok(Video {
        reader,
        path,
        index,
        sps,
    })
}

/// The type of a NAL unit.
fn kind(nal: &[u8]) -> Option<u8> {
    nal.first().map(|header| header & 0x1f)
}

fn check(sps: &Sps, path: &Path, limits: &Limits) -> Result<()> {
    let unsupported = |what: String| Err(Error::unsupported(path, what));
    if sps.chroma_format != 1 || sps.bit_depth != (8, 8) {
        return unsupported("H.264 other than 4:2:0 with 8 bits is not read here".into());
    }
    if sps.interlaced {
        return unsupported("interlaced H.264 is not read here".into());
    }
    if !matches!(sps.profile, 66 | 77 | 100) {
        return unsupported(format!("H.264 profile {} is not read here", sps.profile));
    }
    let (width, height) = sps.coded_size;
    if u64::from(width / 16) * u64::from(height / 16) > MAX_MACROBLOCKS {
        return unsupported(format!("H.264 of {width}x{height} pixels is not read here"));
    }
    limits.check_frame(path, width, height)
}

impl<R: Read + Seek> Video<'_, R> {
    pub(crate) fn fps(&self) -> Fps {
        self.index.fps
    }

    pub(crate) fn size(&self) -> (u32, u32) {
        self.sps.size
    }

    /// The colours the stream itself names, else those its container names.
    pub(crate) fn color(&self) -> Option<Color> {
        self.sps
            .color
            .filter(|color| color.matrix != 2)
            .or(self.index.color)
            .or(self.sps.color)
    }

    fn color_space(&self) -> ColorSpace {
        let color = self.color();
        let full_range = color.is_some_and(|color| color.full_range);
        ColorSpace::new(color.map(|color| color.matrix), full_range, self.sps.size.1)
    }

    /// The samples that are shown, in the order of showing.
    fn shown(&self) -> Vec<usize> {
        let (from, to) = self.index.shown;
        let time = |&i: &usize| self.index.samples[i].time;
        let mut shown: Vec<_> = (0..self.index.samples.len())
            .filter(|i| (from..to).contains(&time(i)))
            .collect();
        shown.sort_by_key(time);
        shown
    }

    /// Decodes the frames that `options` asks for, and hands over each.
    pub(crate) fn each(
        mut self,
        options: &ReadOptions,
        mut take: impl FnMut(Planes<'_>) -> Result<()>,
    ) -> Result<()> {
        let shown = self.shown();
        let wanted = &shown[options.window(self.path, shown.len())?];
        let (width, height) = self.sps.size;
        options
            .limits
            .check_clip(self.path, (width, height), wanted.len())?;

        let first = self.key_before(wanted)?;
        // Pictures leave the decoder in the order of showing, whatever order they went in.
        let mut order: Vec<_> = (first..self.index.samples.len()).collect();
        order.sort_by_key(|&i| self.index.samples[i].time);
        let mut next = 0;
        let mut taken = 0;
        let (path, size) = (self.path.to_path_buf(), self.sps.size);
        let mut accept = |picture: &DecodedYUV<'_>| {
            if order
                .get(next)
                .is_some_and(|i| wanted.get(taken) == Some(i))
            {
                take(checked(picture, size, &path)?)?;
                taken += 1;
            }
            next += 1;
            Ok(taken == wanted.len())
        };
        self.decode_from(first, &mut accept)?;
        if taken < wanted.len() {
            let reason = format!("only {taken} of {} H.264 pictures came out", wanted.len());
            return Err(Error::damaged(&path, reason));
        }
        Ok(())
    }

    /// The last sample at which decoding can begin so that everything wanted comes out.
    fn key_before(&mut self, wanted: &[usize]) -> Result<usize> {
        let earliest = wanted.iter().copied().min().unwrap_or(0);
        for i in (1..=earliest).rev() {
            if self.index.samples[i].is_key && self.units(i)?.iter().any(|nal| kind(nal) == Some(5))
            {
                return Ok(i);
            }
        }
        Ok(0)
    }

    fn decode_from(
        &mut self,
        first: usize,
        accept: &mut impl FnMut(&DecodedYUV<'_>) -> Result<bool>,
    ) -> Result<()> {
        let path = self.path.to_path_buf();
        let failed = |error: openh264::Error| {
            Error::damaged(&path, format!("its H.264 cannot be decoded: {error}"))
        };
        // Flushing early would let pictures out of order.
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let api = OpenH264API::from_source();
        let mut decoder = Decoder::with_api_config(api, config).map_err(failed)?;
        let options = || DecodeOptions::new().flush_after_decode(Flush::NoFlush);

        let mut stream = Vec::new();
        for set in &self.index.parameter_sets {
            self.append(set, &mut stream)?;
        }
        for i in first..self.index.samples.len() {
            for nal in self.units(i)? {
                self.append(&nal, &mut stream)?;
            }
            if let Some(picture) = decoder
                .decode_with_options(&stream, options())
                .map_err(failed)?
                && accept(&picture)?
            {
                return Ok(());
            }
            stream.clear();
        }
        for picture in decoder.flush_remaining().map_err(failed)? {
            if accept(&picture)? {
                break;
            }
        }
        Ok(())
    }

    /// The NAL units of a sample.
    fn units(&mut self, sample: usize) -> Result<Vec<Vec<u8>>> {
        let at = self.index.samples[sample];
        let mut data = vec![0; at.size as usize];
        self.reader
            .seek(SeekFrom::Start(at.offset))
            .and_then(|_| self.reader.read_exact(&mut data))
            .map_err(Error::io("read", self.path))?;
        split(&data, self.index.length_size).ok_or_else(|| {
            Error::damaged(
                self.path,
                format!("H.264 picture {sample} claims more bytes than it has"),
            )
        })
    }

    /// Adds a NAL unit to what the decoder gets, if it is of a kind that it needs.
    fn append(&self, nal: &[u8], stream: &mut Vec<u8>) -> Result<()> {
        match kind(nal) {
            Some(2..=4) => {
                let what = "H.264 in data partitions is not read here";
                return Err(Error::unsupported(self.path, what));
            }
            Some(7) => match Sps::parse(nal) {
                Some(sps) if sps.coded_size == self.sps.coded_size => {
                    check(&sps, self.path, &Limits::none())?;
                }
                Some(_) => {
                    let what = "video that changes its size is not read here";
                    return Err(Error::unsupported(self.path, what));
                }
                None => {
                    let what = "a sequence parameter set within its H.264 cannot be read";
                    return Err(Error::damaged(self.path, what));
                }
            },
            Some(1 | 5 | 8) => {}
            _ => return Ok(()),
        }
        stream.extend([0, 0, 0, 1]);
        stream.extend_from_slice(nal);
        Ok(())
    }
}

/// Splits a sample into NAL units. `None` when a length goes past the end.
fn split(mut data: &[u8], length_size: usize) -> Option<Vec<Vec<u8>>> {
    let mut units = Vec::new();
    while !data.is_empty() {
        let (length, rest) = data.split_at_checked(length_size)?;
        let length = length.iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        units.push(unit.to_vec());
        data = rest;
    }
    Some(units)
}

/// The planes of a decoded picture, if it has the size that its stream promised.
fn checked<'a>(picture: &'a DecodedYUV<'_>, size: (u32, u32), path: &Path) -> Result<Planes<'a>> {
    let (width, height) = picture.dimensions();
    let (y_stride, c_stride, _) = picture.strides();
    let planes = Planes {
        width,
        height,
        y: picture.y(),
        u: picture.u(),
        v: picture.v(),
        strides: (y_stride, c_stride),
    };
    if (width, height) != (size.0 as usize, size.1 as usize) || !planes.is_sound() {
        let reason = format!(
            "a picture of {width}x{height} pixels in a video of {}x{}",
            size.0, size.1
        );
        return Err(Error::damaged(path, reason));
    }
    Ok(planes)
}
