//! The JSON writer.

use std::fmt::{self, Write};

use crate::data::{DEPTH_MAX, Data, EncodeError, EnumValue, Kind, Timestamp, write_seconds};

/// A text that grows. Bytes at first, because only at the end it is worth while to look whether they are UTF-8.
pub(super) struct Text {
    bytes: Vec<u8>,
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self {
            bytes: text.into_bytes(),
        }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        // Only whole characters are written.
        Self::from_utf8(text.bytes)
            .unwrap_or_else(|error| Self::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.raw(text);
        Ok(())
    }
}

impl Text {
    pub(super) fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn display(&mut self, value: impl fmt::Display) {
        // Writing here cannot fail, nor do our own `Display` impls.
        let _ = write!(self, "{value}");
    }

    fn quoted(&mut self, value: impl fmt::Display) {
        self.raw("\"");
        self.display(value);
        self.raw("\"");
    }

    /// Writes a value as an object.
    pub(super) fn value(&mut self, data: &Data) -> Result<(), EncodeError> {
        self.nested_value(data, 0)
    }

    /// Writes a value as the members `"@data-type":...,"data":...`, which stand between braces or, in a data message,
    /// among its other members.
    pub(super) fn members(&mut self, data: &Data) -> Result<(), EncodeError> {
        self.nested_members(data, 0)
    }

    fn nested_value(&mut self, data: &Data, depth: usize) -> Result<(), EncodeError> {
        self.raw("{");
        self.nested_members(data, depth)?;
        self.raw("}");
        Ok(())
    }

    fn nested_members(&mut self, data: &Data, depth: usize) -> Result<(), EncodeError> {
        self.raw(prologue(data.kind()));
        match data {
            Data::None => self.raw("{}"),
            Data::Boolean(value) => self.raw(if *value { "true" } else { "false" }),
            Data::Count(value) => self.raw(itoa::Buffer::new().format(*value)),
            Data::Integer(value) => self.raw(itoa::Buffer::new().format(*value)),
            Data::Real(value) => self.real(value.0),
            Data::String(value) | Data::EnumValue(EnumValue(value)) => self.string(value.as_bytes()),
            Data::Address(value) => self.quoted(value),
            Data::Subnet(value) => self.quoted(value),
            Data::Port(value) => self.quoted(value),
            Data::Timestamp(value) => self.timestamp(*value),
            Data::Timespan(value) => self.quoted(value),
            Data::Set(elements) => self.array(elements, depth, Self::nested_value)?,
            Data::Vector(elements) => self.array(elements, depth, Self::nested_value)?,
            Data::Table(entries) => self.array(entries, depth, |text, (key, value), depth| {
                text.raw(r#"{"key":"#);
                text.nested_value(key, depth)?;
                text.raw(r#","value":"#);
                text.nested_value(value, depth)?;
                text.raw("}");
                Ok(())
            })?,
        }
        Ok(())
    }

    fn array<T>(
        &mut self,
        elements: impl IntoIterator<Item = T>,
        depth: usize,
        write: impl Fn(&mut Self, T, usize) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        if depth == DEPTH_MAX {
            return Err(EncodeError::TooDeep);
        }
        self.raw("[");
        for (index, element) in elements.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, element, depth + 1)?;
        }
        self.raw("]");
        Ok(())
    }

    /// As C's `%f`. What has no number in JSON is a string, which Python's `float` reads and so does our reader.
    fn real(&mut self, value: f64) {
        if value.is_nan() {
            self.raw("\"nan\"");
        } else if value.is_infinite() {
            self.raw(if value > 0.0 { "\"inf\"" } else { "\"-inf\"" });
        } else {
            self.display(format_args!("{value:.6}"));
        }
    }

    /// UTC in milliseconds; what is finer is cut off, and before 1970 the milliseconds, too (`format/json.cc`,
    /// `encode_to_buf`).
    fn timestamp(&mut self, timestamp: Timestamp) {
        const NANOS_PER_SEC: i64 = 1_000_000_000;
        const NANOS_PER_MILLI: i64 = 1_000_000;
        let millis = (timestamp.0 % NANOS_PER_SEC / NANOS_PER_MILLI).max(0);
        self.raw("\"");
        // Any 64-bit count of nanoseconds is within the calendar's range.
        let _ = write_seconds(timestamp.0 / NANOS_PER_SEC, self);
        self.display(format_args!(".{millis:03}"));
        self.raw("\"");
    }

    /// Invalid UTF-8 becomes U+FFFD, one for each maximal piece as the Unicode standard recommends.
    pub(super) fn string(&mut self, bytes: &[u8]) {
        self.raw("\"");
        // To look at every byte is faster than to stop at the first one that is not plain.
        if bytes.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
            self.bytes.extend_from_slice(bytes);
        } else {
            for chunk in bytes.utf8_chunks() {
                self.escaped(chunk.valid());
                if !chunk.invalid().is_empty() {
                    self.raw("\u{fffd}");
                }
            }
        }
        self.raw("\"");
    }

    fn escaped(&mut self, text: &str) {
        for piece in text.split_inclusive(|character: char| needs_escape(character)) {
            let mut characters = piece.chars();
            let Some(last) = characters.next_back().filter(|last| needs_escape(*last)) else {
                self.raw(piece);
                continue;
            };
            self.raw(characters.as_str());
            match last {
                '"' => self.raw(r#"\""#),
                '\\' => self.raw(r"\\"),
                '\x08' => self.raw(r"\b"),
                '\x0c' => self.raw(r"\f"),
                '\n' => self.raw(r"\n"),
                '\r' => self.raw(r"\r"),
                '\t' => self.raw(r"\t"),
                control => self.display(format_args!("\\u{:04x}", u32::from(control))),
            }
        }
    }
}

/// Whether a byte is a character of its own that needs no escape.
const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte < 0x80 && byte != b'"' && byte != b'\\'
}

const fn needs_escape(character: char) -> bool {
    character < ' ' || character == '"' || character == '\\'
}

/// What stands before the content, in one piece because it makes up most of the text.
const fn prologue(kind: Kind) -> &'static str {
    match kind {
        Kind::None => r#""@data-type":"none","data":"#,
        Kind::Boolean => r#""@data-type":"boolean","data":"#,
        Kind::Count => r#""@data-type":"count","data":"#,
        Kind::Integer => r#""@data-type":"integer","data":"#,
        Kind::Real => r#""@data-type":"real","data":"#,
        Kind::String => r#""@data-type":"string","data":"#,
        Kind::Address => r#""@data-type":"address","data":"#,
        Kind::Subnet => r#""@data-type":"subnet","data":"#,
        Kind::Port => r#""@data-type":"port","data":"#,
        Kind::Timestamp => r#""@data-type":"timestamp","data":"#,
        Kind::Timespan => r#""@data-type":"timespan","data":"#,
        Kind::EnumValue => r#""@data-type":"enum-value","data":"#,
        Kind::Set => r#""@data-type":"set","data":"#,
        Kind::Table => r#""@data-type":"table","data":"#,
        Kind::Vector => r#""@data-type":"vector","data":"#,
    }
}
