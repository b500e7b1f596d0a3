//! The messages of the WebSocket interface (`src/cluster/websocket/WebSocket.cc`, `format/json.hh`).

use crate::{
    Data,
    data::{EncodeError, ZeekString},
};

use super::JsonError;

/// A data message of the WebSocket interface, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataMessage {
    /// The topic it is published on.
    pub topic: ZeekString,
    /// The value, usually an event.
    pub data: Data,
}

impl DataMessage {
    /// Reads a data message as a client sends it; key order is free, unknown keys are ignored, and so is `type`.
    pub fn decode(_text: &[u8]) -> Result<Self, JsonError> {
        todo!("JSON reader")
    }

    /// Writes a data message as Zeek's server does: `type`, `topic`, `@data-type`, `data`.
    pub fn encode(&self) -> Result<String, EncodeError> {
        todo!("JSON writer")
    }
}

/// What the server answers to the subscriptions of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The server's name for the client, as `<node id>-websocket-<n>`.
    pub endpoint: String,
    /// The server's version, as `9.0.0-rc1`.
    pub version: String,
}

impl Ack {
    /// Writes `type`, `endpoint`, `version`.
    pub fn encode(&self) -> String {
        todo!("JSON writer")
    }
}

/// What the server answers to input that it cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorMessage {
    /// The kind of error, as `deserialization_failed`.
    pub code: String,
    /// What is wrong, for people.
    pub context: String,
}

impl ErrorMessage {
    /// Writes `type`, `code`, `context`.
    pub fn encode(&self) -> String {
        todo!("JSON writer")
    }
}

/// Any message that a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// An event on a subscribed topic.
    Data(DataMessage),
    /// The answer to the subscriptions.
    Ack(Ack),
    /// The answer to input that is not usable.
    Error(ErrorMessage),
}

impl ServerMessage {
    /// Reads a message as a server sends it; `type` tells which.
    pub fn decode(_text: &[u8]) -> Result<Self, JsonError> {
        todo!("JSON reader")
    }
}

/// Reads the first message of a client: an array of topic prefixes.
pub fn decode_subscriptions(_text: &[u8]) -> Result<Vec<ZeekString>, JsonError> {
    todo!("JSON reader")
}

/// Writes the first message of a client.
pub fn encode_subscriptions<T: AsRef<[u8]>>(_prefixes: &[T]) -> String {
    todo!("JSON writer")
}
