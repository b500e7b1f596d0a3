//! The messages of the WebSocket interface (`src/cluster/websocket/WebSocket.cc`, `format/json.hh`).

use crate::data::{Data, EncodeError, ZeekString};

use super::{
    error::{JsonError, JsonErrorKind},
    read::{Reader, ValueMembers},
    write::Text,
};

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
    pub fn decode(text: &[u8]) -> Result<Self, JsonError> {
        Members::read(text)?.into_data_message()
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
        object_of_strings([
            ("type", ACK),
            ("endpoint", self.endpoint.as_str()),
            ("version", self.version.as_str()),
        ])
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
        object_of_strings([
            ("type", ERROR),
            ("code", self.code.as_str()),
            ("context", self.context.as_str()),
        ])
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
    /// Reads a message as a server sends it; `type` tells which, without one it is a data message.
    pub fn decode(text: &[u8]) -> Result<Self, JsonError> {
        let members = Members::read(text)?;
        match &members.message_type {
            Some(name) if name == ACK => Ok(Self::Ack(Ack {
                endpoint: string(members.endpoint, "endpoint")?,
                version: string(members.version, "version")?,
            })),
            Some(name) if name == ERROR => Ok(Self::Error(ErrorMessage {
                code: string(members.code, "code")?,
                context: string(members.context, "context")?,
            })),
            _ => members.into_data_message().map(Self::Data),
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

const ACK: &str = "ack";
const ERROR: &str = "error";

fn object_of_strings<const N: usize>(members: [(&str, &str); N]) -> String {
    let mut text = Text::from(String::from("{"));
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            text.raw(",");
        }
        text.string(name.as_bytes());
        text.raw(":");
        text.string(value.as_bytes());
    }
    text.raw("}");
    text.into()
}

const fn at_start(kind: JsonErrorKind) -> JsonError {
    JsonError { offset: 0, kind }
}

const fn missing(name: &'static str) -> JsonError {
    at_start(JsonErrorKind::MissingMember(name))
}

/// What a message of either side may have. A string is `None`, too, where something else than a string stands.
#[derive(Default)]
struct Members {
    message_type: Option<ZeekString>,
    topic: Option<ZeekString>,
    endpoint: Option<ZeekString>,
    version: Option<ZeekString>,
    code: Option<ZeekString>,
    context: Option<ZeekString>,
    data: Option<Data>,
}

impl Members {
    fn read(text: &[u8]) -> Result<Self, JsonError> {
        let mut reader = Reader::new(text)?;
        let mut members = Self::default();
        let mut value = ValueMembers::default();
        let offset = reader.object(|reader, name| {
            if reader.value_member(name, &mut value)? {
                return Ok(());
            }
            let Some((member, name)) = members.string_member(name) else {
                return reader.skip();
            };
            if member.is_some() {
                return Err(reader.error(JsonErrorKind::DuplicateMember(name)));
            }
            if reader.next_token() == Some(b'"') {
                *member = Some(reader.string()?.into_owned().into());
                return Ok(());
            }
            reader.skip()
        })?;
        if !value.is_empty() {
            members.data = Some(reader.finish_value(value, offset)?);
        }
        reader.end()?;
        Ok(members)
    }

    fn string_member(&mut self, name: &[u8]) -> Option<(&mut Option<ZeekString>, &'static str)> {
        match name {
            b"type" => Some((&mut self.message_type, "type")),
            b"topic" => Some((&mut self.topic, "topic")),
            b"endpoint" => Some((&mut self.endpoint, "endpoint")),
            b"version" => Some((&mut self.version, "version")),
            b"code" => Some((&mut self.code, "code")),
            b"context" => Some((&mut self.context, "context")),
            _ => None,
        }
    }

    fn into_data_message(self) -> Result<DataMessage, JsonError> {
        Ok(DataMessage {
            data: self.data.ok_or(missing("@data-type"))?,
            topic: self.topic.ok_or(at_start(JsonErrorKind::NoTopic))?,
        })
    }
}

fn string(member: Option<ZeekString>, name: &'static str) -> Result<String, JsonError> {
    member
        .map(|string| string.to_str_lossy().into_owned())
        .ok_or(missing(name))
}
