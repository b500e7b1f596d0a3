//! Values and WebSocket messages in Broker's JSON format (`format/json.hh`).
//!
//! # Writing
//!
//! What Broker 2.8 writes as valid JSON is written byte for byte as there: no white space, `@data-type` before `data`,
//! reals with six decimals, times in milliseconds.
//!
//! DIFFERENCE(valid-json): where Broker's text is not JSON, ours is:
//!
//! | value | Broker writes | we write |
//! |---|---|---|
//! | vertical tab in a string | `\v` | `\u000b` |
//! | other control character without a short escape | the raw byte | `\u00XX` |
//! | bytes that are not UTF-8 | the raw bytes | U+FFFD for each maximal piece |
//! | real NaN, ∞, -∞ | bare `nan`, `inf`, `-inf` | `"nan"`, `"inf"`, `"-inf"` |
//!
//! # Reading
//!
//! Standard JSON, and beyond it all that Broker writes: the bare words of the table, `\v`, raw control characters and
//! raw bytes in strings. Members may stand in any order, unknown ones are ignored, a known one twice is refused. Reals
//! need no decimal point, other numbers must not have one. Sets and tables come into Broker's order, whatever that of the
//! text; what is in one twice makes the text invalid, as with Broker, also where the writer's six digits make two reals
//! one (W-37).
//!
//! DIFFERENCE(standard-json): Broker's own reader (CAF, `detail/json.cpp`) departs from JSON: there a carriage return is
//! an error, `\/` a question mark, `010` eight, a leading `+`, `0x` or `0b` part of a number, and a real without a decimal
//! point an error.

mod error;
mod message;
mod read;
mod syntax;
mod write;

#[cfg(test)]
mod tests;

pub use error::{JsonError, JsonErrorKind, SIZE_MAX};
pub use message::{Ack, Answer, DataMessage, ErrorMessage, ServerMessage, decode_subscriptions};

use crate::data::{Data, EncodeError};

/// Writes `{"@data-type":...,"data":...}`. After an error `out` holds a part of it.
pub fn encode(data: &Data, out: &mut String) -> Result<(), EncodeError> {
    let mut text = write::Text::from(std::mem::take(out));
    let result = text.value(data);
    *out = text.into();
    result
}

/// Reads `{"@data-type":...,"data":...}`.
pub fn decode(text: &[u8]) -> Result<Data, JsonError> {
    let mut reader = syntax::Reader::new(text)?;
    let data = reader.value()?;
    reader.end()?;
    Ok(data)
}
