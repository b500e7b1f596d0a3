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
    Hello(Hello),
    /// Says that something listens; has no further effect.
    Probe,
    VersionSelect(VersionSelect),
    DropConn(DropConn),
    /// The originator's filter.
    OriginatorSyn(Announcement),
    /// The responder's filter.
    ResponderSynAck(Announcement),
    /// Ends the handshake; the originator may send envelopes right behind it.
    OriginatorAck,
}

/// Who is there, and which versions it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub sender: EndpointId,
    pub min_version: u8,
    pub max_version: u8,
}

/// The originator's choice of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSelect {
    pub sender: EndpointId,
    pub version: u8,
}

/// Refuses the connection; the sender closes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropConn {
    pub sender: EndpointId,
    pub code: ErrorCode,
    pub description: ZeekString,
}

/// What its sender wants to receive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Topic prefixes as sent, at most [`FILTER_TOPICS_MAX`](crate::FILTER_TOPICS_MAX).
    #[serde(deserialize_with = "crate::filter::deserialize_topics")]
    pub filter: Vec<Topic>,
}

/// A frame is not a handshake message that this endpoint can take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The type is missing, unknown, or one of envelopes.
    #[error("invalid message type tag {}", .0.map_or_else(|| "(none)".to_owned(), |tag| tag.to_string()))]
    InvalidTag(Option<u8>),
    #[error("failed to parse {message}: {error}")]
    Malformed {
        /// What the frame claims to be, by Broker's name of the struct.
        message: &'static str,
        error: caf_bincode_compat::Error,
    },
    #[error("wrong magic number {found:#010x} in {message}")]
    WrongMagic {
        /// What the frame claims to be, by Broker's name of the struct.
        message: &'static str,
        found: u32,
    },
    #[error("unsupported versions {min} to {max} offered")]
    UnsupportedOffer { min: u8, max: u8 },
    #[error("unsupported version {0} selected")]
    UnsupportedSelection(u8),
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
        let (&tag, fields) = frame.split_first().ok_or(MessageError::InvalidTag(None))?;
        match tag {
            tag::HELLO => read_magic("hello_msg", fields).and_then(|hello: Hello| {
                if (hello.min_version..=hello.max_version).contains(&PROTOCOL_VERSION) {
                    Ok(Self::Hello(hello))
                } else {
                    Err(MessageError::UnsupportedOffer {
                        min: hello.min_version,
                        max: hello.max_version,
                    })
                }
            }),
            tag::PROBE => read_magic("probe_msg", fields).map(|()| Self::Probe),
            tag::VERSION_SELECT => {
                read_magic("version_select_msg", fields).and_then(|select: VersionSelect| {
                    if select.version == PROTOCOL_VERSION {
                        Ok(Self::VersionSelect(select))
                    } else {
                        Err(MessageError::UnsupportedSelection(select.version))
                    }
                })
            }
            tag::DROP_CONN => read_magic("drop_conn_msg", fields).and_then(|drop: DropConn| {
                if drop.code.is_known() {
                    Ok(Self::DropConn(drop))
                } else {
                    Err(MessageError::UnknownDropCode(drop))
                }
            }),
            tag::ORIGINATOR_SYN => read("v1::originator_syn_msg", fields).map(Self::OriginatorSyn),
            tag::RESPONDER_SYN_ACK => read("v1::responder_syn_ack_msg", fields).map(Self::ResponderSynAck),
            tag::ORIGINATOR_ACK => Ok(Self::OriginatorAck),
            other => Err(MessageError::InvalidTag(Some(other))),
        }
    }

    /// The message without the length of a frame.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let (tag, fields) = match self {
            Self::Hello(hello) => (tag::HELLO, with_magic(hello)),
            Self::Probe => (tag::PROBE, with_magic(())),
            Self::VersionSelect(select) => (tag::VERSION_SELECT, with_magic(select)),
            Self::DropConn(drop) => (tag::DROP_CONN, with_magic(drop)),
            Self::OriginatorSyn(syn) => (tag::ORIGINATOR_SYN, caf_bincode_compat::to_vec(syn)),
            Self::ResponderSynAck(ack) => (tag::RESPONDER_SYN_ACK, caf_bincode_compat::to_vec(ack)),
            Self::OriginatorAck => (tag::ORIGINATOR_ACK, Ok(Vec::new())),
        };
        // The format has no form for lengths beyond 32 bits, and none of the messages has anything else unusual.
        let fields = fields.map_err(|_| FrameError::Unsendable {
            len: usize::MAX,
            max: HANDSHAKE_FRAME_MAX,
        })?;
        Ok([&[tag], fields.as_slice()].concat().into())
    }

    /// Appends the message as a frame of at most [`HANDSHAKE_FRAME_MAX`] bytes; on error nothing is appended.
    pub fn encode_frame(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        let content = self.encode()?;
        frame::put_header(content.len(), HANDSHAKE_FRAME_MAX, out)?;
        out.put_slice(&content);
        Ok(())
    }

    /// Broker's name of the message (`p2p_message_type.hh`).
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Probe => "probe",
            Self::VersionSelect(_) => "version_select",
            Self::DropConn(_) => "drop_conn",
            Self::OriginatorSyn(_) => "originator_syn",
            Self::ResponderSynAck(_) => "responder_syn_ack",
            Self::OriginatorAck => "originator_ack",
        }
    }
}

/// The first byte of each message.
mod tag {
    pub(super) const HELLO: u8 = 6;
    pub(super) const PROBE: u8 = 7;
    pub(super) const VERSION_SELECT: u8 = 8;
    pub(super) const DROP_CONN: u8 = 9;
    pub(super) const ORIGINATOR_SYN: u8 = 10;
    pub(super) const RESPONDER_SYN_ACK: u8 = 11;
    pub(super) const ORIGINATOR_ACK: u8 = 12;
}

/// The fields of a message that begins with the magic number.
#[derive(Serialize, Deserialize)]
struct WithMagic<T> {
    magic: u32,
    fields: T,
}

fn read<'de, T: Deserialize<'de>>(message: &'static str, fields: &'de [u8]) -> Result<T, MessageError> {
    caf_bincode_compat::from_prefix(fields)
        .map(|(read, _surplus)| read)
        .map_err(|error| MessageError::Malformed { message, error })
}

/// As Broker does, looks at the magic number only when all fields are there.
fn read_magic<'de, T: Deserialize<'de>>(message: &'static str, fields: &'de [u8]) -> Result<T, MessageError> {
    let WithMagic { magic: found, fields } = read(message, fields)?;
    if found == MAGIC {
        Ok(fields)
    } else {
        Err(MessageError::WrongMagic { message, found })
    }
}

fn with_magic<T: Serialize>(fields: T) -> Result<Vec<u8>, caf_bincode_compat::Error> {
    caf_bincode_compat::to_vec(&WithMagic { magic: MAGIC, fields })
}

impl MessageError {
    /// The answer that Broker gives, word for word (`internal/wire_format.cc`, `check` and `decode`).
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::InvalidTag(_) => Refusal::new(ErrorCode::INVALID_MESSAGE, "invalid message type tag"),
            Self::Malformed { message, .. } => {
                Refusal::new(ErrorCode::INVALID_MESSAGE, format!("failed to parse {message}"))
            }
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

#[cfg(test)]
mod tests;
