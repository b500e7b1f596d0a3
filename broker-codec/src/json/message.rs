//! The messages of the WebSocket interface (`src/cluster/websocket/WebSocket.cc`, `format/json.hh`).

use serde::{Deserialize, Serialize};

use crate::data::{Data, EncodeError, ZeekString};

use super::{
    error::{JsonError, JsonErrorKind},
    read::ValueMembers,
    syntax::Reader,
    write::Text,
};

/// A data message of the WebSocket interface, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataMessage {
    pub topic: ZeekString,
    /// The value, usually an event.
    pub data: Data,
}

impl DataMessage {
    /// Reads a data message as a client sends it; key order is free, unknown keys are ignored, and so is `type`.
    pub fn decode(text: &[u8]) -> Result<Self, JsonError> {
        let mut reader = Reader::new(text)?;
        let mut topic: Option<ZeekString> = None;
        let mut value = ValueMembers::default();
        let offset = reader.object(|reader, name| {
            if name != b"topic" {
                return reader.value_member(name, &mut value);
            }
            if topic.is_some() {
                return Err(reader.error(JsonErrorKind::DuplicateMember("topic")));
            }
            let is_string = reader.next_token() == Some(b'"');
            if is_string {
                topic = Some(reader.string()?.into_owned().into());
            }
            Ok(is_string)
        })?;
        if value.is_empty() {
            reader.end()?;
            return Err(at_start(JsonErrorKind::MissingMember("@data-type")));
        }
        let data = reader.finish_value(value, offset)?;
        reader.end()?;
        let topic = topic.ok_or(at_start(JsonErrorKind::NoTopic))?;
        Ok(Self { topic, data })
    }

    /// Writes a data message as Zeek's server does: `type`, `topic`, `@data-type`, `data`.
    pub fn encode(&self) -> Result<String, EncodeError> {
        let mut text = Text::from(String::from(r#"{"type":"data-message","topic":"#));
        text.string(&self.topic);
        text.raw(",");
        text.members(&self.data)?;
        text.raw("}");
        Ok(text.into())
    }
}

/// What the server answers to the subscriptions of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The server's name for the client, as `<node id>-websocket-<n>`.
    pub endpoint: String,
    /// The server's version, as `9.0.0-rc1`.
    pub version: String,
}

/// What the server answers to input that it cannot use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// The kind of error, as `deserialization_failed`.
    pub code: String,
    /// What is wrong, for people. Zeek 7.2 calls it `message`.
    #[serde(alias = "message")]
    pub context: String,
}

/// An answer to a client, which is a JSON object of strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Answer {
    Ack(Ack),
    Error(ErrorMessage),
}

impl Answer {
    /// Writes `type` and the members of the answer.
    pub fn encode(&self) -> String {
        // An object of strings can be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Any message that a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// An event on a subscribed topic.
    Data(DataMessage),
    Answer(Answer),
}

impl ServerMessage {
    /// Reads a message as a server sends it; `type` tells which, without one it is a data message.
    pub fn decode(text: &[u8]) -> Result<Self, JsonError> {
        match serde_json::from_slice(text) {
            Ok(answer) => Ok(Self::Answer(answer)),
            Err(_) => DataMessage::decode(text).map(Self::Data),
        }
    }
}

/// Reads the first message of a client: an array of topic prefixes.
pub fn decode_subscriptions(text: &[u8]) -> Result<Vec<ZeekString>, JsonError> {
    let mut reader = Reader::new(text)?;
    let mut are_strings = true;
    if reader.next_token() != Some(b'[') {
        reader.skip()?;
        reader.end()?;
        return Err(at_start(JsonErrorKind::SubscriptionsNotAnArray));
    }
    let prefixes = reader.array(|reader| {
        if reader.next_token() == Some(b'"') {
            return reader.string().map(|prefix| prefix.into_owned().into());
        }
        are_strings = false;
        reader.skip().map(|()| ZeekString::default())
    })?;
    reader.end()?;
    if !are_strings {
        return Err(at_start(JsonErrorKind::SubscriptionNotAString));
    }
    Ok(prefixes)
}

const fn at_start(kind: JsonErrorKind) -> JsonError {
    JsonError { offset: 0, kind }
}
