use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::{
    EndpointId, ErrorCode, Topic,
    data::ZeekString,
    frame::{self, FrameError, HANDSHAKE_FRAME_MAX},
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
mod tests {
    use super::*;
    use crate::FILTER_TOPICS_MAX;

    const A: &str = "11111111111141118111111111111111";
    const B: &str = "eeeeeeeeeeee4eee8eeeeeeeeeeeeeee";

    fn id(hex: &str) -> EndpointId {
        EndpointId::from_bytes(hex::decode(hex).unwrap().try_into().unwrap())
    }

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex.replace([' ', '\n'], "")).unwrap()
    }

    fn drop_conn(code: ErrorCode, description: &str) -> Message {
        Message::DropConn(DropConn {
            sender: id(A),
            code,
            description: description.into(),
        })
    }

    /// Decodes, compares, encodes; every strict prefix is refused, surplus bytes are ignored.
    #[track_caller]
    fn check(hex: &str, message: &Message) {
        let frame = bytes(hex);
        let content = &frame[4..];
        assert_eq!(Message::decode(content).as_ref(), Ok(message));
        let mut out = BytesMut::new();
        message.encode_frame(&mut out).unwrap();
        assert_eq!(hex::encode(&out), hex::encode(&frame));
        for len in 0..content.len() {
            assert!(
                Message::decode(&content[..len]).is_err(),
                "{len} bytes are enough"
            );
        }
        let mut longer = content.to_vec();
        longer.extend_from_slice(b"surplus");
        assert_eq!(Message::decode(&longer).as_ref(), Ok(message));
    }

    #[test]
    fn each_message_has_broker_s_bytes() {
        check("00000005 07 5a45454b", &Message::Probe);
        check(
            &format!("00000017 06 5a45454b {B} 01 01"),
            &Message::Hello(Hello::new(id(B))),
        );
        check(
            &format!("00000016 08 5a45454b {A} 01"),
            &Message::VersionSelect(VersionSelect {
                sender: id(A),
                version: 1,
            }),
        );
        check(
            "0000007c 0a 03 485f5f5f73796e635f73746f72655f4d616e6167656d656e743a3a436f6e74726f6c6c65723a3a52756e
             74696d653a3a675f636f6e666967732f3c243e2f646174612f6d6173746572
             15 7a65656b2f6d616e6167656d656e742f6167656e74 1a 7a65656b2f6d616e6167656d656e742f636f6e74726f6c6c6572",
            &Message::OriginatorSyn(OriginatorSyn {
                filter: vec![
                    Topic::from_static("___sync_store_Management::Controller::Runtime::g_configs/<$>/data/master"),
                    Topic::from_static("zeek/management/agent"),
                    Topic::from_static("zeek/management/controller"),
                ],
            }),
        );
        check(
            "00000023 0b 01 20 7a65656b2f6d616e6167656d656e742f6167656e742f696e7374616e63652d31",
            &Message::ResponderSynAck(ResponderSynAck {
                filter: vec![Topic::from_static("zeek/management/agent/instance-1")],
            }),
        );
        check("00000001 0c", &Message::OriginatorAck);
        check(
            "00000002 0a 00",
            &Message::OriginatorSyn(OriginatorSyn { filter: Vec::new() }),
        );
        check(
            &format!("0000002b 09 5a45454b {A} 27 14 726564756e64616e7420636f6e6e656374696f6e"),
            &drop_conn(ErrorCode::REDUNDANT_CONNECTION, "redundant connection"),
        );
        check(
            &format!(
                "00000033 09 5a45454b {A} 02 1c 756e737570706f727465642076657273696f6e73206f666665726564"
            ),
            &drop_conn(ErrorCode::PEER_INCOMPATIBLE, "unsupported versions offered"),
        );
    }

    #[test]
    fn any_offer_that_includes_version_1_is_fine() {
        for (min, max, fine) in [
            (1, 99, true),
            (0, 1, true),
            (2, 9, false),
            (0, 0, false),
            (2, 1, false),
        ] {
            let content = bytes(&format!("06 5a45454b {B} {min:02x} {max:02x}"));
            let expected = if fine {
                Ok(Message::Hello(Hello {
                    sender: id(B),
                    min_version: min,
                    max_version: max,
                }))
            } else {
                Err(MessageError::UnsupportedOffer { min, max })
            };
            assert_eq!(Message::decode(&content), expected);
        }
    }

    #[test]
    fn each_bad_message_is_refused_in_broker_s_words() {
        let parse = ErrorCode::INVALID_MESSAGE;
        let magic = ErrorCode::WRONG_MAGIC_NUMBER;
        let version = ErrorCode::PEER_INCOMPATIBLE;
        for (hex, code, text) in [
            ("", parse, "invalid message type tag"),
            ("00", parse, "invalid message type tag"),
            ("01", parse, "invalid message type tag"),
            ("05", parse, "invalid message type tag"),
            ("0d", parse, "invalid message type tag"),
            ("ff", parse, "invalid message type tag"),
            ("06 5a45454b", parse, "failed to parse hello_msg"),
            ("07 5a4545", parse, "failed to parse probe_msg"),
            ("08 5a45454b", parse, "failed to parse version_select_msg"),
            (
                &format!("09 5a45454b {A} 27 14 72"),
                parse,
                "failed to parse drop_conn_msg",
            ),
            ("0a", parse, "failed to parse v1::originator_syn_msg"),
            ("0a 01 ff", parse, "failed to parse v1::originator_syn_msg"),
            (
                "0a feffffff0f 00",
                parse,
                "failed to parse v1::originator_syn_msg",
            ),
            ("0b 01", parse, "failed to parse v1::responder_syn_ack_msg"),
            ("06 5a45454c", parse, "failed to parse hello_msg"),
            (&format!("06 5a45454c {B} 01 01"), magic, "wrong magic number"),
            ("07 00000000", magic, "wrong magic number"),
            (&format!("08 5a45454c {B} 01"), magic, "wrong magic number"),
            (&format!("09 5a45454c {B} 27 00"), magic, "wrong magic number"),
            (&format!("06 5a45454c {B} 02 02"), magic, "wrong magic number"),
            (
                &format!("06 5a45454b {B} 02 02"),
                version,
                "unsupported versions offered",
            ),
            (
                &format!("08 5a45454b {B} 02"),
                version,
                "unsupported version selected",
            ),
            (
                &format!("09 5a45454b {B} 29 03 627965"),
                ErrorCode::UNSPECIFIED,
                "bye",
            ),
        ] {
            let refusal = Message::decode(&bytes(hex)).unwrap_err().refusal();
            assert_eq!((refusal.code, refusal.description), (code, text.into()), "{hex}");
        }
    }

    #[test]
    fn errors_name_the_message_and_the_place() {
        let error = |hex: &str| Message::decode(&bytes(hex)).unwrap_err().to_string();
        assert_eq!(
            error("0a 01 05 61"),
            "failed to parse v1::originator_syn_msg: length 5 exceeds the 1 remaining bytes at byte 1"
        );
        assert_eq!(error(""), "invalid message type tag (none)");
        assert_eq!(error("01"), "invalid message type tag 1");
        assert_eq!(error("07 16030100"), "wrong magic number 0x16030100 in probe_msg");
    }

    #[test]
    fn a_filter_of_the_most_topics_passes_and_one_more_is_refused() {
        for (count, fine) in [(FILTER_TOPICS_MAX, true), (FILTER_TOPICS_MAX + 1, false)] {
            let filter = vec![Topic::default(); count];
            let message = Message::OriginatorSyn(OriginatorSyn { filter });
            let content = message.encode().unwrap();
            assert_eq!(Message::decode(&content).is_ok(), fine, "{count}");
        }
    }

    #[test]
    fn a_message_beyond_the_frame_limit_is_not_sent() {
        let filter = vec![Topic::new(vec![b'x'; 65_535]).unwrap(); 17];
        let mut out = BytesMut::new();
        let error = Message::OriginatorSyn(OriginatorSyn { filter })
            .encode_frame(&mut out)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "message of 1114148 bytes exceeds the frame limit of 1048576"
        );
        assert!(out.is_empty());
    }
}
