//! `Event` messages in the wire format of Protocol Buffers, written by hand: the few fields that
//! we need.
//!
//! # Source
//! `tensorboard/compat/proto/event.proto` and `summary.proto`; field numbers are named as there.

use super::Moment;

const EVENT_WALL_TIME: u32 = 1;
const EVENT_STEP: u32 = 2;
const EVENT_FILE_VERSION: u32 = 3;
const EVENT_SUMMARY: u32 = 5;
const EVENT_SESSION_LOG: u32 = 7;

const SESSION_LOG_STATUS: u32 = 1;
const SESSION_START: u64 = 1;

const SUMMARY_VALUE: u32 = 1;
const VALUE_TAG: u32 = 1;
const VALUE_SIMPLE_VALUE: u32 = 2;
const VALUE_IMAGE: u32 = 4;

const IMAGE_HEIGHT: u32 = 1;
const IMAGE_WIDTH: u32 = 2;
const IMAGE_COLORSPACE: u32 = 3;
const IMAGE_ENCODED_STRING: u32 = 4;
/// `colorspace` of red, green and blue.
const RGB: u64 = 3;

/// The signature of PNG files, and the chunk that must come first.
const PNG_START: &[u8; 16] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

/// Bytes of a message that grows field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// The number of a field and how its value is stored.
    fn key(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn integer(mut self, field: u32, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    fn double(mut self, field: u32, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }
}

/// What an event tells: a field of `Event` and its message.
pub(super) struct What(u32, Vec<u8>);

/// The event that every file begins with.
pub(super) fn first_event(unix_seconds: f64) -> Vec<u8> {
    Message::default()
        .double(EVENT_WALL_TIME, unix_seconds)
        .bytes(EVENT_FILE_VERSION, b"brain.Event:2")
        .0
}

/// Any other event.
pub(super) fn event(at: Moment, what: &What) -> Vec<u8> {
    let mut message = Message::default().double(EVENT_WALL_TIME, at.unix_seconds);
    // Protocol Buffers leave out fields that are 0.
    if at.step > 0 {
        message = message.integer(EVENT_STEP, at.step);
    }
    message.bytes(what.0, &what.1).0
}

/// Says that what follows replaces all that was told about this step and later ones.
pub(super) fn session_start() -> What {
    let log = Message::default().integer(SESSION_LOG_STATUS, SESSION_START);
    What(EVENT_SESSION_LOG, log.0)
}

/// Values of one event; see [`scalar`] and [`image`].
pub(super) fn summary(values: impl IntoIterator<Item = Vec<u8>>) -> What {
    let summary = values
        .into_iter()
        .fold(Message::default(), |summary, value| {
            summary.bytes(SUMMARY_VALUE, &value)
        });
    What(EVENT_SUMMARY, summary.0)
}

/// A number.
pub(super) fn scalar(tag: &str, value: f32) -> Vec<u8> {
    Message::default()
        .bytes(VALUE_TAG, tag.as_bytes())
        .float(VALUE_SIMPLE_VALUE, value)
        .0
}

/// A picture: the bytes of a PNG file, whose sizes are read off its header. `None` when they are
/// not that.
pub(super) fn image(tag: &str, png: &[u8]) -> Option<Vec<u8>> {
    let sizes: &[u8; 8] = png.strip_prefix(PNG_START)?.first_chunk()?;
    let [w0, w1, w2, w3, h0, h1, h2, h3] = *sizes;
    let image = Message::default()
        .integer(IMAGE_HEIGHT, u32::from_be_bytes([h0, h1, h2, h3]).into())
        .integer(IMAGE_WIDTH, u32::from_be_bytes([w0, w1, w2, w3]).into())
        .integer(IMAGE_COLORSPACE, RGB)
        .bytes(IMAGE_ENCODED_STRING, png);
    let value = Message::default()
        .bytes(VALUE_TAG, tag.as_bytes())
        .bytes(VALUE_IMAGE, &image.0);
    Some(value.0)
}
