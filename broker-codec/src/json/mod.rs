//! Values and WebSocket messages in Broker's JSON format (`format/json.hh`).

mod error;
mod message;

pub use error::{JsonError, JsonErrorKind};
pub use message::{
    Ack, DataMessage, ErrorMessage, ServerMessage, decode_subscriptions, encode_subscriptions,
};

use crate::{Data, data::EncodeError};

/// The largest text that is read, in bytes.
pub const SIZE_MAX: usize = 16 * 1024 * 1024;

/// Writes `{"@data-type":...,"data":...}`.
pub fn encode(_data: &Data, _out: &mut String) -> Result<(), EncodeError> {
    todo!("JSON writer")
}

/// Reads `{"@data-type":...,"data":...}`.
pub fn decode(_text: &[u8]) -> Result<Data, JsonError> {
    todo!("JSON reader")
}
