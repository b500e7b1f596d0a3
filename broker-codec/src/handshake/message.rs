use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::machine::Refusal;
use crate::{
    data::ZeekString,
    endpoint_id::EndpointId,
    error_code::ErrorCode,
    frame::{self, FrameError, HANDSHAKE_FRAME_MAX},
    topic::Topic,
};

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

impl Hello {
    /// The greeting of an endpoint that speaks [`PROTOCOL_VERSION`].
    pub const fn new(sender: EndpointId) -> Self {
        Self {
            sender,
            min_version: PROTOCOL_VERSION,
            max_version: PROTOCOL_VERSION,
        }
    }
}

impl VersionSelect {
    /// The choice of an endpoint that speaks [`PROTOCOL_VERSION`].
    pub const fn new(sender: EndpointId) -> Self {
        Self {
            sender,
            version: PROTOCOL_VERSION,
        }
    }
}

impl Message {
    /// Reads the content of a frame. Surplus bytes behind the fields are ignored, as Broker does.
    pub fn decode(frame: &[u8]) -> Result<Self, MessageError> {
        let (tag, fields) = frame.split_first().ok_or(MessageError::InvalidTag(None))?;
        let kind = MessageKind::from_tag(*tag).ok_or(MessageError::InvalidTag(Some(*tag)))?;
        match kind {
            MessageKind::Hello => read_magic(kind, fields).and_then(|hello: Hello| {
                if (hello.min_version..=hello.max_version).contains(&PROTOCOL_VERSION) {
                    Ok(Self::Hello(hello))
                } else {
                    Err(MessageError::UnsupportedOffer {
                        min: hello.min_version,
                        max: hello.max_version,
                    })
                }
            }),
            MessageKind::Probe => read_magic(kind, fields).map(|()| Self::Probe),
            MessageKind::VersionSelect => read_magic(kind, fields).and_then(|select: VersionSelect| {
                if select.version == PROTOCOL_VERSION {
                    Ok(Self::VersionSelect(select))
                } else {
                    Err(MessageError::UnsupportedSelection(select.version))
                }
            }),
            MessageKind::DropConn => read_magic(kind, fields).and_then(|drop: DropConn| {
                if drop.code.is_known() {
                    Ok(Self::DropConn(drop))
                } else {
                    Err(MessageError::UnknownDropCode(drop))
                }
            }),
            MessageKind::OriginatorSyn => read(kind, fields).map(Self::OriginatorSyn),
            MessageKind::ResponderSynAck => read(kind, fields).map(Self::ResponderSynAck),
            MessageKind::OriginatorAck => Ok(Self::OriginatorAck),
        }
    }

    /// The message without the length of a frame.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let mut out = BytesMut::new();
        out.put_u8(self.kind().tag());
        match self {
            Self::Hello(hello) => write_magic(hello, &mut out),
            Self::Probe => write_magic((), &mut out),
            Self::VersionSelect(select) => write_magic(select, &mut out),
            Self::DropConn(drop) => write_magic(drop, &mut out),
            Self::OriginatorSyn(syn) => caf_bincode_compat::append(syn, &mut out),
            Self::ResponderSynAck(ack) => caf_bincode_compat::append(ack, &mut out),
            Self::OriginatorAck => Ok(()),
        }
        // The format has no form for lengths beyond 32 bits, and none of the messages has anything else unusual.
        .map_err(|_| FrameError::Unsendable {
            len: usize::MAX,
            max: HANDSHAKE_FRAME_MAX,
        })?;
        Ok(out.freeze())
    }

    /// Appends the message as a frame of at most [`HANDSHAKE_FRAME_MAX`] bytes; on error nothing is appended.
    pub fn encode_frame(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        let content = self.encode()?;
        frame::put_header(content.len(), HANDSHAKE_FRAME_MAX, out)?;
        out.put_slice(&content);
        Ok(())
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

/// The fields of a message that begins with the magic number.
#[derive(Serialize, Deserialize)]
struct WithMagic<T> {
    magic: u32,
    message: T,
}

fn read<'de, T: Deserialize<'de>>(message: MessageKind, fields: &'de [u8]) -> Result<T, MessageError> {
    caf_bincode_compat::from_prefix(fields)
        .map(|(read, _surplus)| read)
        .map_err(|error| MessageError::Malformed { message, error })
}

/// As Broker does, looks at the magic number only when all fields are there.
fn read_magic<'de, T: Deserialize<'de>>(kind: MessageKind, fields: &'de [u8]) -> Result<T, MessageError> {
    let WithMagic { magic, message } = read(kind, fields)?;
    if magic == MAGIC {
        Ok(message)
    } else {
        Err(MessageError::WrongMagic {
            message: kind,
            found: magic,
        })
    }
}

fn write_magic<T: Serialize>(message: T, out: &mut BytesMut) -> Result<(), caf_bincode_compat::Error> {
    caf_bincode_compat::append(
        &WithMagic {
            magic: MAGIC,
            message,
        },
        out,
    )
}

impl MessageKind {
    /// Every kind, by tag.
    pub const ALL: [Self; 7] = [
        Self::Hello,
        Self::Probe,
        Self::VersionSelect,
        Self::DropConn,
        Self::OriginatorSyn,
        Self::ResponderSynAck,
        Self::OriginatorAck,
    ];

    const fn tag(self) -> u8 {
        match self {
            Self::Hello => 6,
            Self::Probe => 7,
            Self::VersionSelect => 8,
            Self::DropConn => 9,
            Self::OriginatorSyn => 10,
            Self::ResponderSynAck => 11,
            Self::OriginatorAck => 12,
        }
    }

    fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.tag() == tag)
    }

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
        match self {
            Self::InvalidTag(_) => Refusal::new(ErrorCode::INVALID_MESSAGE, "invalid message type tag"),
            Self::Malformed { message, .. } => Refusal::new(
                ErrorCode::INVALID_MESSAGE,
                format!("failed to parse {}", message.struct_name()),
            ),
            Self::WrongMagic { .. } => Refusal::new(ErrorCode::WRONG_MAGIC_NUMBER, "wrong magic number"),
            Self::UnsupportedOffer { .. } => {
                Refusal::new(ErrorCode::PEER_INCOMPATIBLE, "unsupported versions offered")
            }
            Self::UnsupportedSelection(_) => {
                Refusal::new(ErrorCode::PEER_INCOMPATIBLE, "unsupported version selected")
            }
            Self::UnknownDropCode(drop) => Refusal {
                code: ErrorCode::UNSPECIFIED,
                description: drop.description.clone(),
            },
        }
    }
}

/// A [`ZeekString`] as a string of CAF's format.
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

#[cfg(test)]
mod tests;
