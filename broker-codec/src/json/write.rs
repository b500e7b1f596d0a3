//! The JSON writer.

use std::fmt::Write;

use crate::data::{DEPTH_MAX, DataRef, EncodeError, Kind, Timestamp, write_seconds};

/// Writes a value as the members `"@data-type":...,"data":...`, which stand between braces or, in a data message, among
/// its other members.
pub(super) fn members(data: DataRef<'_>, out: &mut String) -> Result<(), EncodeError> {
    write_members(data, 0, out)
}

fn write_value(data: DataRef<'_>, depth: usize, out: &mut String) -> Result<(), EncodeError> {
    out.push('{');
    write_members(data, depth, out)?;
    out.push('}');
    Ok(())
}

fn write_members(data: DataRef<'_>, depth: usize, out: &mut String) -> Result<(), EncodeError> {
    out.push_str(prologue(data.kind()));
    match data {
        DataRef::None => out.push_str("{}"),
        DataRef::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        DataRef::Count(value) => display(value, out),
        DataRef::Integer(value) => display(value, out),
        DataRef::Real(value) => write_real(value.0, out),
        DataRef::String(value) | DataRef::EnumValue(value) => write_string(value, out),
        DataRef::Address(value) => quoted(value, out),
        DataRef::Subnet(value) => quoted(value, out),
        DataRef::Port(value) => quoted(value, out),
        DataRef::Timestamp(value) => write_timestamp(value, out),
        DataRef::Timespan(value) => quoted(value, out),
        DataRef::Set(elements) | DataRef::Vector(elements) => write_array(elements, depth, out, write_value)?,
        DataRef::Table(entries) => write_array(entries, depth, out, |(key, value), depth, out| {
            out.push_str(r#"{"key":"#);
            write_value(key, depth, out)?;
            out.push_str(r#","value":"#);
            write_value(value, depth, out)?;
            out.push('}');
            Ok(())
        })?,
    }
    Ok(())
}

/// What stands before the content, in one piece because it makes up most of the text.
fn prologue(kind: Kind) -> &'static str {
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

fn write_array<T>(
    elements: impl IntoIterator<Item = T>,
    depth: usize,
    out: &mut String,
    write: impl Fn(T, usize, &mut String) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    if depth == DEPTH_MAX {
        return Err(EncodeError::TooDeep);
    }
    out.push('[');
    for (index, element) in elements.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(element, depth + 1, out)?;
    }
    out.push(']');
    Ok(())
}

fn display(value: impl std::fmt::Display, out: &mut String) {
    // Writing to a `String` cannot fail, nor do our own `Display` impls.
    let _ = write!(out, "{value}");
}

fn quoted(value: impl std::fmt::Display, out: &mut String) {
    out.push('"');
    display(value, out);
    out.push('"');
}

/// As C's `%f`. What has no number in JSON is a string, which Python's `float` reads and so does our reader.
fn write_real(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("\"nan\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"inf\"" } else { "\"-inf\"" });
    } else {
        display(format_args!("{value:.6}"), out);
    }
}

/// UTC in milliseconds; what is finer is cut off, and before 1970 the milliseconds, too (`format/json.cc`,
/// `encode_to_buf`).
fn write_timestamp(timestamp: Timestamp, out: &mut String) {
    const NANOS_PER_SEC: i64 = 1_000_000_000;
    const NANOS_PER_MILLI: i64 = 1_000_000;
    let millis = (timestamp.0 % NANOS_PER_SEC / NANOS_PER_MILLI).max(0);
    out.push('"');
    // Any 64-bit count of nanoseconds is within the calendar's range.
    let _ = write_seconds(timestamp.0 / NANOS_PER_SEC, out);
    display(format_args!(".{millis:03}"), out);
    out.push('"');
}

/// Invalid UTF-8 becomes U+FFFD, one for each maximal piece as the Unicode standard recommends.
pub(super) fn write_string(bytes: &[u8], out: &mut String) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        write_escaped(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    out.push('"');
}

fn write_escaped(mut text: &str, out: &mut String) {
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    while let Some(at) = text.bytes().position(special) {
        // Special bytes are ASCII: both sides of one are at character boundaries.
        let Some((plain, rest)) = text.split_at_checked(at) else {
            break;
        };
        out.push_str(plain);
        let mut rest = rest.chars();
        match rest.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\x08') => out.push_str("\\b"),
            Some('\x0c') => out.push_str("\\f"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(control) => display(format_args!("\\u{:04x}", u32::from(control)), out),
            None => {}
        }
        text = rest.as_str();
    }
    out.push_str(text);
}
