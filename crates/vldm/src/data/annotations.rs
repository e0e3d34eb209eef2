//! What people say about clips: captions, labels and boxes, as folders and shards hold them.
//!
//! ```json
//! {"file_name": "a/b.mp4", "text": "a red car", "labels": {"night": 1},
//!  "boxes": [[[0.1, 0.2, 0.4, 0.6, 0]], []]}
//! ```
//!
//! `boxes` has one list per frame of the clip. A box is `[x0, y0, x1, y1]`, the same with its class
//! as a fifth number, or an object with the keys `x0`, `y0`, `x1`, `y1` and `class`; coordinates
//! are shares of the picture's width and height, from the upper left.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::conditioning::boxes::ObjectBox;

/// The longest caption file, in bytes: more is no caption.
pub(super) const MAX_CAPTION: u64 = 1 << 16;

/// What is known of a clip besides its frames.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotations {
    /// What the clip shows, in words; never empty.
    pub caption: Option<String>,
    /// Numbered properties of the whole clip, counted from 0.
    pub labels: BTreeMap<String, usize>,
    /// Boxes, one list per frame of the clip, in shares of the picture.
    pub boxes: Option<Vec<Vec<ObjectBox>>>,
}

/// One JSON object about a clip, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    file_name: Option<String>,
    text: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, usize>,
    boxes: Option<Vec<Vec<Value>>>,
}

/// A line of `metadata.jsonl` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The file that the line is about, where it says so.
    pub(super) file_name: Option<String>,
    /// What is wrong, with the line's number.
    pub(super) reason: String,
}

/// Reads a `metadata.jsonl`: file names, and what is said of them.
pub(super) fn lines(text: &str) -> Vec<Result<(String, Annotations), Fault>> {
    let numbered = text.trim_start_matches('\u{feff}').lines().zip(1..);
    numbered
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number): (&str, usize)| {
            line_of(line).map_err(|reason| Fault {
                file_name: file_name(line),
                reason: format!("line {number}: {reason}"),
            })
        })
        .collect()
}

fn line_of(line: &str) -> Result<(String, Annotations), String> {
    let mut written: Written = serde_json::from_str(line).map_err(|error| explain(&error))?;
    let name = written
        .file_name
        .take()
        .ok_or("expected a `file_name`, the clip's path from this file's folder")?;
    Ok((name, written.annotations()?))
}

/// The file name of a line that cannot be used as a whole.
fn file_name(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    Some(value.get("file_name")?.as_str()?.to_owned())
}

/// Reads the JSON that stands beside a clip in a shard: as a line, without `file_name`.
pub(super) fn object(text: &str) -> Result<Annotations, String> {
    let written: Written = serde_json::from_str(text).map_err(|error| explain(&error))?;
    if written.file_name.is_some() {
        return Err(
            "`file_name` has no place here: the JSON belongs to the clip of its name".into(),
        );
    }
    written.annotations()
}

fn explain(error: &serde_json::Error) -> String {
    // The line within a line is always the first.
    let text = error.to_string();
    let text = text
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned();
    format!("{text} (column {})", error.column())
}

/// The caption in the bytes of a text file; nothing where the file is empty.
pub(super) fn caption(bytes: &[u8]) -> Result<Option<String>, String> {
    if bytes.len() as u64 > MAX_CAPTION {
        return Err(format!(
            "its caption has {} bytes, expected at most {MAX_CAPTION}",
            bytes.len()
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        format!(
            "its caption is not UTF-8 (byte {}): save it as UTF-8",
            error.valid_up_to()
        )
    })?;
    let text = text.trim_start_matches('\u{feff}').trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

impl Written {
    fn annotations(self) -> Result<Annotations, String> {
        let text = self.text.as_deref().map(str::trim);
        Ok(Annotations {
            caption: text.filter(|text| !text.is_empty()).map(str::to_owned),
            labels: self.labels,
            boxes: self.boxes.map(boxes).transpose()?,
        })
    }
}

fn boxes(frames: Vec<Vec<Value>>) -> Result<Vec<Vec<ObjectBox>>, String> {
    let frame = |(number, boxes): (usize, Vec<Value>)| {
        boxes
            .into_iter()
            .enumerate()
            .map(|(index, value)| {
                let at = |reason| format!("frame {number}, box {index}: {reason}");
                one_box(value).and_then(checked).map_err(at)
            })
            .collect()
    };
    frames.into_iter().enumerate().map(frame).collect()
}

fn one_box(value: Value) -> Result<ObjectBox, String> {
    if value.is_object() {
        return serde_json::from_value(value).map_err(|error| error.to_string());
    }
    let shape = "expected [x0, y0, x1, y1] or [x0, y0, x1, y1, class]";
    let wrong = || format!("{shape}, got {value}");
    let numbers = value.as_array().ok_or_else(wrong)?;
    let (corners, class) = match numbers.as_slice() {
        [corners @ .., class] if corners.len() == 4 => {
            (corners, class.as_u64().ok_or_else(wrong)? as usize)
        }
        corners if corners.len() == 4 => (corners, 0),
        _ => return Err(wrong()),
    };
    let mut edges = [0.0; 4];
    for (edge, number) in edges.iter_mut().zip(corners) {
        *edge = number.as_f64().ok_or_else(wrong)? as f32;
    }
    let [x0, y0, x1, y1] = edges;
    Ok(ObjectBox {
        x0,
        y0,
        x1,
        y1,
        class,
    })
}

fn checked(object: ObjectBox) -> Result<ObjectBox, String> {
    let ObjectBox { x0, y0, x1, y1, .. } = object;
    let inside = [x0, y0, x1, y1]
        .iter()
        .all(|edge| (0.0..=1.0).contains(edge));
    if !inside || x0 >= x1 || y0 >= y1 {
        return Err(format!(
            "({x0}, {y0}, {x1}, {y1}) is not left, top, right, bottom within 0 to 1: divide \
             pixels by the picture's width and height, and cut boxes at its edges"
        ));
    }
    Ok(object)
}

impl Annotations {
    /// Checks that the boxes are those of a clip of `frames` frames.
    pub(super) fn check(&self, frames: usize) -> Result<(), String> {
        match &self.boxes {
            Some(boxes) if boxes.len() != frames => Err(format!(
                "it has {frames} frames and boxes for {}: `boxes` is a list with one list per \
                 frame, empty where a frame has none",
                boxes.len()
            )),
            _ => Ok(()),
        }
    }

    /// The boxes of one frame.
    pub(super) fn boxes_of(&self, frame: usize) -> &[ObjectBox] {
        let boxes = self.boxes.as_ref().and_then(|boxes| boxes.get(frame));
        boxes.map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_all_that_is_known() {
        let text = r#"
            {"file_name": "a.mp4", "text": " a red car ", "labels": {"night": 1}}
            {"file_name": "b.mp4", "boxes": [[[0, 0, 0.5, 1, 2], [0.5, 0, 1, 1]], [],
             [{"x0": 0.25, "y0": 0, "x1": 1, "y1": 0.5, "class": 7}]]}"#
            .replace("[],\n", "[],");
        let lines: Vec<_> = lines(&text).into_iter().map(Result::unwrap).collect();
        assert_eq!(lines[0].0, "a.mp4");
        assert_eq!(lines[0].1.caption.as_deref(), Some("a red car"));
        assert_eq!(lines[0].1.labels["night"], 1);
        let boxes = &lines[1].1;
        let classes =
            |frame| -> Vec<usize> { boxes.boxes_of(frame).iter().map(|b| b.class).collect() };
        assert_eq!(
            [classes(0), classes(1), classes(2)],
            [vec![2, 0], vec![], vec![7]]
        );
        assert!(boxes.check(3).is_ok());
        let error = boxes.check(4).unwrap_err();
        assert!(error.contains("it has 4 frames and boxes for 3"), "{error}");
    }

    #[test]
    fn faults_name_line_frame_and_box() {
        let check = |text: &str, name: Option<&str>, expected: &str| {
            let faults: Vec<_> = lines(text).into_iter().filter_map(Result::err).collect();
            assert_eq!(faults[0].file_name.as_deref(), name);
            let reason = &faults[0].reason;
            assert!(reason.contains(expected), "{reason}");
        };
        check(
            "{\"file_name\": \"a\"}\n\n{\"file_name\": \"b\", \"txt\": \"x\"}",
            Some("b"),
            "line 3: unknown field `txt`, expected one of `file_name`, `text`, `labels`, `boxes`",
        );
        check("{\"text\": \"x\"}", None, "line 1: expected a `file_name`");
        check("{\"file_name\": ", None, "line 1: EOF while parsing");
        check(
            r#"{"file_name": "a", "boxes": [[], [[0, 0, 1, 1], [10, 0, 90, 50]]]}"#,
            Some("a"),
            "frame 1, box 1: (10, 0, 90, 50) is not left, top, right, bottom within 0 to 1",
        );
        check(
            r#"{"file_name": "a", "boxes": [[[0, 0, 1]]]}"#,
            Some("a"),
            "frame 0, box 0: expected [x0, y0, x1, y1] or [x0, y0, x1, y1, class], got [0,0,1]",
        );
        check(
            r#"{"file_name": "a", "boxes": [[[0, 0, 1, 1, -2]]]}"#,
            Some("a"),
            "got [0,0,1,1,-2]",
        );
        check(
            r#"{"file_name": "a", "boxes": [[{"x0": 0, "y0": 0, "x1": 1, "y1": 1, "id": 3}]]}"#,
            Some("a"),
            "unknown field `id`",
        );
        check(
            r#"{"file_name": "a", "labels": {"night": -1}}"#,
            Some("a"),
            "invalid value: integer `-1`",
        );
    }

    #[test]
    fn captions_are_trimmed_text() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(caption(bytes).unwrap().as_deref(), expected);
        };
        check(b"  a car\n", Some("a car"));
        check("\u{feff}a car".as_bytes(), Some("a car"));
        check(b" \n", None);
        let error = caption(b"caf\xe9").unwrap_err();
        assert!(error.contains("not UTF-8 (byte 3)"), "{error}");
        let error = caption(&vec![b'x'; 70_000]).unwrap_err();
        assert!(
            error.contains("70000 bytes, expected at most 65536"),
            "{error}"
        );
    }

    #[test]
    fn json_in_a_shard_has_no_file_name() {
        assert_eq!(
            object(r#"{"text": "x"}"#).unwrap().caption.as_deref(),
            Some("x")
        );
        let error = object(r#"{"file_name": "x"}"#).unwrap_err();
        assert!(error.contains("`file_name` has no place here"), "{error}");
    }
}
