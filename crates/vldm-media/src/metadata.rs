//! Reads back what made a file: the JSON that [`crate::write`] put into it.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::picture::PNG_KEY;
use crate::read::{Kind, open};
use crate::{folder, mp4};

/// The metadata within an MP4, GIF, PNG or JPEG file, or within the first picture of a folder;
/// `None` where there is none, or none in JSON.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Damaged`] when an MP4 has no index.
pub fn read_metadata(path: impl AsRef<Path>) -> Result<Option<Value>> {
    let path = path.as_ref();
    if path.is_dir() {
        return read_metadata(&folder::pictures(path)?[0]);
    }
    let (mut reader, kind) = open(path)?;
    let text = if kind == Kind::Mp4 {
        mp4::comment(&mut reader, path)?
    } else {
        // Comments stand in front of the pixels.
        let mut head = Vec::new();
        reader
            .take(16 << 20)
            .read_to_end(&mut head)
            .map_err(Error::io("read", path))?;
        comment(&head, kind)
    };
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn comment(bytes: &[u8], kind: Kind) -> Option<String> {
    match kind {
        Kind::Png => png_text(bytes),
        Kind::Gif => gif_comment(bytes),
        Kind::Jpeg => jpeg_comment(bytes),
        _ => None,
    }
}

fn png_text(bytes: &[u8]) -> Option<String> {
    let reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .ok()?;
    let chunks = &reader.info().utf8_text;
    chunks
        .iter()
        .find(|chunk| chunk.keyword == PNG_KEY)?
        .get_text()
        .ok()
}

/// The first comment extension in front of the first frame.
fn gif_comment(bytes: &[u8]) -> Option<String> {
    let palette = |flags: u8| {
        if flags & 0x80 != 0 {
            3 << ((flags & 7) + 1)
        } else {
            0
        }
    };
    let mut rest = bytes.get(13 + palette(*bytes.get(10)?)..)?;
    while let [0x21, label, blocks @ ..] = rest {
        let mut content = Vec::new();
        rest = blocks;
        loop {
            let (&length, tail) = rest.split_first()?;
            let (block, tail) = tail.split_at_checked(usize::from(length))?;
            rest = tail;
            if length == 0 {
                break;
            }
            content.extend_from_slice(block);
        }
        if *label == 0xfe {
            return String::from_utf8(content).ok();
        }
    }
    None
}

/// The first comment segment in front of the first scan.
fn jpeg_comment(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes.get(2..)?;
    while let [0xff, marker, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).checked_sub(2)?;
        let (content, tail) = tail.split_at_checked(length)?;
        match marker {
            0xfe => return String::from_utf8(content.to_vec()).ok(),
            0xda => return None,
            _ => rest = tail,
        }
    }
    None
}
