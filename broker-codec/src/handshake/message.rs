use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::{EndpointId, ErrorCode, Topic, data::ZeekString, frame::FrameError};

/// The magic number of Broker's handshake: `ZEEK` (`internal/wire_format.hh`).
pub const MAGIC: u32 = 0x5A45_454B;

/// The only protocol version there is; Broker 2.3 to 2.8 speak it.
pub const PROTOCOL_VERSION: u8 = 1;

/// A message of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// See [`Hello`].
    Hello(Hello),
    /// Says that something listens; has no further effect.
    Probe,
    /// See [`VersionSelect`].
    VersionSelect(VersionSelect),
    /// See [`DropConn`].
    DropConn(DropConn),
    /// See [`OriginatorSyn`].
    OriginatorSyn(OriginatorSyn),
    /// See [`ResponderSynAck`].
    ResponderSynAck(ResponderSynAck),
    /// Ends the handshake; the originator may send envelopes right behind it.
    OriginatorAck,
}

/// Who is there, and which versions it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The id of the endpoint that sends this.
    pub sender: EndpointId,
    /// The lowest protocol version it speaks.
    pub min_version: u8,
    /// The highest protocol version it speaks.
    pub max_version: u8,
}

/// The originator's choice of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSelect {
    /// The id of the endpoint that sends this.
    pub sender: EndpointId,
    /// The protocol version to speak.
    pub version: u8,
}

/// Refuses the connection; the sender closes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropConn {
    /// The id of the endpoint that sends this.
    pub sender: EndpointId,
    /// Why.
    pub code: ErrorCode,
    /// Why, in words.
    #[serde(with = "byte_string")]
    pub description: ZeekString,
}

/// The originator's filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginatorSyn {
    /// Topic prefixes as sent, at most [`FILTER_TOPICS_MAX`](crate::FILTER_TOPICS_MAX).
    #[serde(deserialize_with = "crate::filter::deserialize_topics")]
    pub filter: Vec<Topic>,
}

/// The responder's filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponderSynAck {
    /// Topic prefixes as sent, at most [`FILTER_TOPICS_MAX`](crate::FILTER_TOPICS_MAX).
    #[serde(deserialize_with = "crate::filter::deserialize_topics")]
    pub filter: Vec<Topic>,
}

/// The kind of a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// See [`Hello`].
    Hello,
    /// See [`Message::Probe`].
    Probe,
    /// See [`VersionSelect`].
    VersionSelect,
    /// See [`DropConn`].
    DropConn,
    /// See [`OriginatorSyn`].
    OriginatorSyn,
    /// See [`ResponderSynAck`].
    ResponderSynAck,
    /// See [`Message::OriginatorAck`].
    OriginatorAck,
}

/// A frame is not a handshake message that this endpoint can take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The type is missing, unknown, or one of envelopes.
    #[error("invalid message type tag {}", .0.map_or_else(|| "(none)".to_owned(), |tag| tag.to_string()))]
    InvalidTag(Option<u8>),
    /// The fields are cut short or not canonical.
    #[error("failed to parse {}: {error}", .message.struct_name())]
    Malformed {
        /// What the frame claims to be.
        message: MessageKind,
        /// What is wrong.
        error: caf_bincode_compat::Error,
    },
    /// The magic number is not [`MAGIC`].
    #[error("wrong magic number {found:#010x} in {}", .message.struct_name())]
    WrongMagic {
        /// What the frame claims to be.
        message: MessageKind,
        /// The number found.
        found: u32,
    },
    /// A `hello` does not offer [`PROTOCOL_VERSION`].
    #[error("unsupported versions {min} to {max} offered")]
    UnsupportedOffer {
        /// The lowest version offered.
        min: u8,
        /// The highest version offered.
        max: u8,
    },
    /// A `version_select` chooses another version than [`PROTOCOL_VERSION`].
    #[error("unsupported version {0} selected")]
    UnsupportedSelection(u8),
    /// A `drop_conn` has a code that Broker does not know.
    #[error("connection dropped by the peer with unknown code {}", .0.code.0)]
    UnknownDropCode(DropConn),
}

impl Message {
    /// Reads the content of a frame. Surplus bytes behind the fields are ignored, as Broker does.
    pub fn decode(_frame: &[u8]) -> Result<Self, MessageError> {
        todo!("handshake messages")
    }

    /// Appends the message without the length of a frame.
    pub fn encode(&self, _out: &mut BytesMut) {
        todo!("handshake messages")
    }

    /// Appends the message as a frame; on error nothing is appended.
    pub fn encode_frame(&self, _out: &mut BytesMut) -> Result<(), FrameError> {
        todo!("handshake messages")
    }

    /// The kind.
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Hello(_) => MessageKind::Hello,
            Self::Probe => MessageKind::Probe,
            Self::VersionSelect(_) => MessageKind::VersionSelect,
            Self::DropConn(_) => MessageKind::DropConn,
            Self::OriginatorSyn(_) => MessageKind::OriginatorSyn,
            Self::ResponderSynAck(_) => MessageKind::ResponderSynAck,
            Self::OriginatorAck => MessageKind::OriginatorAck,
        }
    }
}

impl MessageKind {
    const fn struct_name(self) -> &'static str {
        match self {
            Self::Hello => "hello_msg",
            Self::Probe => "probe_msg",
            Self::VersionSelect => "version_select_msg",
            Self::DropConn => "drop_conn_msg",
            Self::OriginatorSyn => "v1::originator_syn_msg",
            Self::ResponderSynAck => "v1::responder_syn_ack_msg",
            Self::OriginatorAck => "v1::originator_ack_msg",
        }
    }

    /// Broker's name of the message (`p2p_message_type.hh`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Probe => "probe",
            Self::VersionSelect => "version_select",
            Self::DropConn => "drop_conn",
            Self::OriginatorSyn => "originator_syn",
            Self::ResponderSynAck => "responder_syn_ack",
            Self::OriginatorAck => "originator_ack",
        }
    }
}

impl MessageError {
    /// The answer that Broker gives, word for word (`internal/wire_format.cc`, `check` and `decode`).
    pub fn refusal(&self) -> Refusal {
        todo!("handshake messages")
    }
}

mod byte_string {
    use serde::{Deserializer, Serializer, de};

    use crate::data::ZeekString;

    pub(super) fn serialize<S: Serializer>(text: &ZeekString, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(text.as_bytes())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ZeekString, D::Error> {
        struct Bytes;

        impl de::Visitor<'_> for Bytes {
            type Value = ZeekString;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<ZeekString, E> {
                Ok(ZeekString::from(bytes))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}
