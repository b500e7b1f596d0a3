//! Values and WebSocket messages in Broker's JSON format (`format/json.hh`).

use crate::{Data, data::ZeekString};

/// Text is not a value or message in Broker's JSON format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct JsonError {
    /// What is wrong, and where.
    pub text: String,
}

/// Writes `{"@data-type":...,"data":...}`.
pub fn encode(_data: &Data, _out: &mut String) {
    todo!("JSON writer")
}

/// Reads `{"@data-type":...,"data":...}`.
pub fn decode(_text: &[u8]) -> Result<Data, JsonError> {
    todo!("JSON reader")
}

/// A data message of the WebSocket interface, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataMessage {
    /// The topic it is published on.
    pub topic: ZeekString,
    /// The value, usually an event.
    pub data: Data,
}

impl DataMessage {
    /// Reads a data message as a client sends it; key order is free, unknown keys are ignored.
    pub fn decode(_text: &[u8]) -> Result<Self, JsonError> {
        todo!("JSON reader")
    }

    /// Writes a data message as Zeek's server does: `type`, `topic`, `@data-type`, `data`.
    pub fn encode(&self) -> String {
        todo!("JSON writer")
    }
}
