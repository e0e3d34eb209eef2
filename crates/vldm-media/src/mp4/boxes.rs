//! The boxes that an MP4 file is made of, and the numbers in them.
//!
//! # Source
//! ISO/IEC 14496-12 section 4.2 (boxes).

/// Why a file could not be indexed.
#[derive(Debug)]
pub(crate) enum Problem {
    Damaged(&'static str),
    Unsupported(String),
}

impl From<&'static str> for Problem {
    fn from(reason: &'static str) -> Self {
        Self::Damaged(reason)
    }
}

pub(crate) type Parsed<T> = std::result::Result<T, Problem>;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u64::from_be_bytes(*b))
}

/// The boxes within `bytes`: name and content. Ends at the first that does not fit.
pub(crate) fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let size = u32_at(bytes, 0)? as usize;
        let size = if size == 0 { bytes.len() } else { size };
        if size < 8 || size > bytes.len() {
            return None;
        }
        let (this, rest) = bytes.split_at(size);
        bytes = rest;
        Some((&this[4..8], &this[8..]))
    })
}

pub(crate) fn child<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes)
        .find(|(n, _)| n == name)
        .map(|(_, content)| content)
}

pub(crate) fn descend<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(bytes, |bytes, name| child(bytes, name))
}

/// The rows of a counted table: `width` numbers of four bytes in each.
pub(crate) fn rows(table: &[u8], width: usize) -> Option<impl Iterator<Item = &[u8]>> {
    let count = u32_at(table, 4)? as usize;
    let bytes = table.get(8..)?.get(..count.checked_mul(4 * width)?)?;
    Some(bytes.chunks_exact(4 * width))
}
