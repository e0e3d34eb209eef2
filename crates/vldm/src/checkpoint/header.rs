//! The header of a safetensors file, read as foreign bytes: whatever they are, the answer is a
//! table in which every tensor lies inside the file, or an error that says what is wrong.
//!
//! Source: the format's own description (github.com/huggingface/safetensors, "Format"): 8 bytes
//! little-endian header length, a JSON object, then the data without gaps.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::de::{Error as _, MapAccess, Visitor};

/// Longest header that the format allows, in bytes.
const LONGEST: usize = 100_000_000;
const PREFIX: usize = size_of::<u64>();

/// Where one tensor lies in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Bytes of the file.
    pub(crate) range: Range<usize>,
}

/// A checked header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) tensors: BTreeMap<String, Entry>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Reads and checks the header of a whole file.
///
/// # Errors
///
/// A sentence that says what is wrong and what to do.
pub(crate) fn parse(file: &[u8]) -> Result<Header, String> {
    if let Some(kind) = other_kind(file) {
        return Err(kind.to_owned());
    }
    let Some((prefix, rest)) = file.split_first_chunk::<PREFIX>() else {
        return Err(format!(
            "it has {} bytes, a safetensors file has more; download it again",
            file.len()
        ));
    };
    let length = u64::from_le_bytes(*prefix);
    let length = usize::try_from(length)
        .ok()
        .filter(|&length| length <= LONGEST)
        .ok_or_else(|| {
            format!(
                "its header claims {length} bytes, the format allows {LONGEST}: not safetensors"
            )
        })?;
    let Some((header, data)) = rest.split_at_checked(length) else {
        return Err(format!(
            "its header claims {length} bytes but the file ends {} bytes into it: cut short, \
             download it again",
            rest.len()
        ));
    };
    let Raw { tensors, metadata } = serde_json::from_slice(header)
        .map_err(|error| format!("its header is not the JSON it should be: {error}"))?;
    let tensors = place(tensors, PREFIX + length, data.len())?;
    Ok(Header { tensors, metadata })
}

/// Files that people mistake for safetensors.
fn other_kind(file: &[u8]) -> Option<&'static str> {
    if file.starts_with(b"version https://git-lfs") {
        Some("it is a Git LFS pointer, not the file itself; run `git lfs pull` or download it")
    } else if file.starts_with(b"PK\x03\x04") || file.starts_with(b"\x80\x02") {
        Some(
            "it is a PyTorch pickle (.ckpt, .pt, .bin), which can run code when loaded and is not \
             read here; convert it to safetensors first",
        )
    } else if file.starts_with(b"<!DOCTYPE") || file.starts_with(b"<html") {
        Some("it is a web page; the download needs a login or another address")
    } else {
        None
    }
}

/// Checks that the tensors cover the data section once, without gaps or overlaps.
fn place(
    tensors: Vec<(String, TensorInfo)>,
    start: usize,
    available: usize,
) -> Result<BTreeMap<String, Entry>, String> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&index| tensors[index].1.data_offsets);
    let mut expected = 0;
    for index in order {
        let (name, info) = &tensors[index];
        let (from, to) = info.data_offsets;
        if from != expected || to < from {
            return Err(format!(
                "tensor `{name}` claims bytes {from} to {to}, the previous one ends at {expected}"
            ));
        }
        let size = size_of_tensor(info)
            .ok_or_else(|| format!("tensor `{name}` has an impossible shape {:?}", info.shape))?;
        if to - from != size {
            return Err(format!(
                "tensor `{name}` of shape {:?} and type {:?} needs {size} bytes, its header gives \
                 it {}",
                info.shape,
                info.dtype,
                to - from
            ));
        }
        expected = to;
    }
    if expected != available {
        let reason = if expected > available {
            "cut short, download it again"
        } else {
            "it has bytes that belong to no tensor"
        };
        return Err(format!(
            "its header describes {expected} bytes of data, the file has {available}: {reason}"
        ));
    }
    Ok(tensors
        .into_iter()
        .map(|(name, info)| {
            let (from, to) = info.data_offsets;
            let entry = Entry {
                dtype: info.dtype,
                shape: info.shape,
                range: start + from..start + to,
            };
            (name, entry)
        })
        .collect())
}

fn size_of_tensor(info: &TensorInfo) -> Option<usize> {
    let elements = info
        .shape
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim))?;
    let bits = elements.checked_mul(info.dtype.bitsize())?;
    (bits % 8 == 0).then_some(bits / 8)
}

/// The header as written: a map that refuses to name a tensor twice.
struct Raw {
    tensors: Vec<(String, TensorInfo)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> serde::Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut seen = std::collections::HashSet::new();
                let mut raw = Raw {
                    tensors: Vec::new(),
                    metadata: BTreeMap::new(),
                };
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("`{name}` appears twice")));
                    }
                    if name == "__metadata__" {
                        raw.metadata = map.next_value()?;
                    } else {
                        raw.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(raw)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let problem = parse(bytes).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }

    const TWO: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}}"#;

    #[test]
    fn a_good_header_places_every_tensor() {
        let bytes = file(TWO, 22);
        let header = parse(&bytes).unwrap();
        let start = bytes.len() - 22;
        assert_eq!(header.metadata["format"], "pt");
        assert_eq!(header.tensors["a"].range, start..start + 16);
        assert_eq!(header.tensors["b"].shape, [3]);
        assert!(parse(&file("{}", 0)).unwrap().tensors.is_empty());
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let bytes = file(TWO, 22);
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_err(), "{length}");
        }
        check(&file(TWO, 23), "belong to no tensor");
        check(&file(TWO, 21), "cut short");
    }

    #[test]
    fn lying_headers_are_errors() {
        let one = |rest: &str| format!(r#"{{"a":{{"dtype":"F32",{rest}}}}}"#);
        check(&u64::MAX.to_le_bytes(), "not safetensors");
        check(&100_000_001u64.to_le_bytes(), "not safetensors");
        check(&100_000_000u64.to_le_bytes(), "cut short");
        check(&file("[]", 0), "JSON");
        check(&file("{", 0), "JSON");
        check(&file("\u{fffd}{}", 0), "JSON");
        check(
            &file(&one(r#""shape":[2],"data_offsets":[4,12]"#), 12),
            "previous one ends at 0",
        );
        check(
            &file(&one(r#""shape":[2],"data_offsets":[8,0]"#), 8),
            "previous one",
        );
        check(
            &file(&one(r#""shape":[3],"data_offsets":[0,8]"#), 8),
            "needs 12 bytes",
        );
        check(
            &file(&one(r#""shape":[-1],"data_offsets":[0,8]"#), 8),
            "JSON",
        );
        check(
            &file(
                &one(r#""shape":[4294967296,4294967296,4],"data_offsets":[0,8]"#),
                8,
            ),
            "impossible shape",
        );
        check(&file(&TWO.replace("F16", "F17"), 22), "JSON");
        check(&file(&TWO.replace("[16,22]", "[8,14]"), 22), "ends at 16");
        check(
            &file(&TWO.replace("\"b\"", "\"a\""), 22),
            "`a` appears twice",
        );
        check(&file(&TWO.replace("\"pt\"", "7"), 22), "JSON");
    }

    #[test]
    fn sizes_that_add_up_to_more_than_memory_are_an_error_not_an_overflow() {
        let big = (1usize << 61) - 1;
        let mut header = String::from("{");
        for index in 0..8 {
            let (from, to) = (index * big, (index + 1) * big);
            header += &format!(
                r#""t{index}":{{"dtype":"U8","shape":[{big}],"data_offsets":[{from},{to}]}},"#
            );
        }
        header += &format!(
            r#""u":{{"dtype":"U8","shape":[7],"data_offsets":[{},{}]}}}}"#,
            8 * big,
            usize::MAX
        );
        check(&file(&header, 0), "cut short");
    }

    #[test]
    fn files_of_another_kind_are_named() {
        check(
            b"version https://git-lfs.github.com/spec/v1\noid",
            "Git LFS",
        );
        check(b"PK\x03\x04archive/data.pkl", "pickle");
        check(b"<!DOCTYPE html>", "web page");
    }
}
