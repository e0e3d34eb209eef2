//! Folders of pictures, as clips.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Endings of the pictures that are read from a folder.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// The name of frame `number` in a folder of frames.
pub(crate) fn frame_name(number: usize) -> String {
    format!("frame_{number:05}.png")
}

/// The pictures in `folder`, in the order people expect: `frame2` before `frame10`.
pub(crate) fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || Error::io("list the folder", folder);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase());
        if !hidden && ending.is_some_and(|ending| ENDINGS.contains(&&*ending)) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(Error::unsupported(
            folder,
            "expected a folder of .png, .jpg or .webp pictures, found none",
        ));
    }
    paths.sort_by(|a, b| {
        let name = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        natural(&name(a).unwrap_or_default(), &name(b).unwrap_or_default())
    });
    Ok(paths)
}

/// Compares names with the numbers in them by value.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (x, y) = match (left.chars().next(), right.chars().next()) {
            (Some(x), Some(y)) => (x, y),
            // Equal but for leading zeros: decided by the whole, so that the order is fixed.
            (x, y) => return x.is_some().cmp(&y.is_some()).then_with(|| a.cmp(b)),
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (n, m) = (number(&mut left), number(&mut right));
            let order = n.len().cmp(&m.len()).then_with(|| n.cmp(m));
            if order.is_ne() {
                return order;
            }
        } else if x != y {
            return x.cmp(&y);
        } else {
            left = &left[x.len_utf8()..];
            right = &right[y.len_utf8()..];
        }
    }
}

/// Takes the digits at the front, without leading zeros.
fn number<'a>(text: &mut &'a str) -> &'a str {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits.trim_start_matches('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_by_value() {
        let sorted = [
            "a", "f1.png", "f2.png", "f2b.png", "f010.png", "f10.png", "f100.png", "g",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(natural(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
        assert_eq!(natural("é1", "é2"), Ordering::Less);
        assert_eq!(
            natural("99999999999999999999998", "99999999999999999999999"),
            Ordering::Less
        );
    }

    #[test]
    fn only_pictures_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b10.PNG", "b9.jpg", "notes.txt", ".b1.png", "c.webp"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        let names: Vec<_> = pictures(folder.path())
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["b9.jpg", "b10.PNG", "c.webp"]);
        let empty = tempfile::tempdir().unwrap();
        assert!(pictures(empty.path()).is_err());
        assert!(pictures(&empty.path().join("missing")).is_err());
    }
}
