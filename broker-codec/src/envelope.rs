//! What travels between established peers.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    binary::{self, EncodeError},
    data::Data,
    endpoint_id::EndpointId,
    frame::{self, FrameError, OPERATION_FRAME_MAX},
    topic::Topic,
};

/// The TTL that Broker sends (`defaults.hh`). No release lowers or checks it.
pub const TTL_DEFAULT: u16 = 16;

/// What an [`Envelope`] carries (`envelope.hh`, `envelope_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EnvelopeKind {
    /// A Broker value, usually a Zeek message: see [`crate::binary`] and [`crate::zeek`].
    Data = 1,
    /// A command between data stores; nothing here reads it.
    Command,
    /// The sender's complete filter: see [`crate::control::RoutingUpdate`].
    RoutingUpdate,
    /// Opaque bytes that the receiver sends back.
    Ping,
    /// The bytes of a ping.
    Pong,
}

impl EnvelopeKind {
    const fn tag(self) -> u8 {
        self as u8
    }

    fn from_tag(tag: u8) -> Option<Self> {
        let all = [
            Self::Data,
            Self::Command,
            Self::RoutingUpdate,
            Self::Ping,
            Self::Pong,
        ];
        all.into_iter().find(|kind| kind.tag() == tag)
    }

    /// Broker's name of the kind (`p2p_message_type.hh`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Command => "command",
            Self::RoutingUpdate => "routing_update",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }
}

/// A message between established peers (`envelope.cc`, `internal/wire_format.cc`).
///
/// The payload stays as received: forwarding neither decodes nor copies it.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 16 | sender |
/// | 16 | 16 | receiver |
/// | 32 | 1 | kind |
/// | 33 | 2 | TTL, big-endian |
/// | 35 | 2 | length of the topic, big-endian |
/// | 37 | | topic |
/// | | the rest | payload |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The directly connected peer that sent it.
    pub sender: EndpointId,
    /// The endpoint it is for; [`EndpointId::NIL`] stands for all peers.
    pub receiver: EndpointId,
    pub kind: EnvelopeKind,
    /// Hops left, in name only: [`TTL_DEFAULT`].
    pub ttl: u16,
    /// The topic; may be empty, which Zeek 6.1 and older answer by closing the connection.
    pub topic: Topic,
    /// The content in the format of the kind.
    pub payload: Bytes,
}

/// An encoded value in two parts, one behind the other: the receiver's own bytes, and bytes that others get as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// What is the receiver's own.
    pub own: Bytes,
    /// What others get as well.
    pub shared: Bytes,
}

impl Payload {
    /// A value, none of which is shared.
    ///
    /// # Errors
    ///
    /// If it cannot be encoded.
    pub fn of(data: &Data) -> Result<Self, EncodeError> {
        let mut own = BytesMut::new();
        binary::encode(data, &mut own)?;
        Ok(Self {
            own: own.freeze(),
            shared: Bytes::new(),
        })
    }

    /// All of it in one place.
    pub fn to_bytes(&self) -> Bytes {
        [&self.own[..], &self.shared[..]].concat().into()
    }
}

impl Envelope {
    /// Bytes before the topic.
    pub const HEADER_LEN: usize = 37;

    /// Reads a frame that came after the handshake. The payload shares the frame's memory, the topic does not.
    pub fn decode(mut frame: Bytes) -> Result<Self, EnvelopeError> {
        let len = frame.len();
        let cut = |_| EnvelopeError::UnexpectedEnd { len };
        let mut id = [0; EndpointId::LEN];
        frame.try_copy_to_slice(&mut id).map_err(cut)?;
        let sender = EndpointId::from_bytes(id);
        frame.try_copy_to_slice(&mut id).map_err(cut)?;
        let receiver = EndpointId::from_bytes(id);
        let tag = frame.try_get_u8().map_err(cut)?;
        let kind = EnvelopeKind::from_tag(tag).ok_or(EnvelopeError::UnknownKind(tag))?;
        let ttl = frame.try_get_u16().map_err(cut)?;
        let topic_len = usize::from(frame.try_get_u16().map_err(cut)?);
        let topic = frame
            .get(..topic_len)
            .ok_or(EnvelopeError::UnexpectedEnd { len })?;
        // Its length came in 16 bits.
        let topic = Topic::new(topic).map_err(|_| EnvelopeError::UnexpectedEnd { len })?;
        frame.advance(topic_len);
        Ok(Self {
            sender,
            receiver,
            kind,
            ttl,
            topic,
            payload: frame,
        })
    }

    /// Appends the envelope without the length of a frame.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_len());
        out.put_slice(self.sender.as_bytes());
        out.put_slice(self.receiver.as_bytes());
        out.put_u8(self.kind.tag());
        out.put_u16(self.ttl);
        out.put_u16(self.topic.wire_len());
        out.put_slice(self.topic.as_bytes());
        out.put_slice(&self.payload);
    }

    /// Appends the envelope as a frame; on error nothing is appended.
    pub fn encode_frame(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        self.begin_frame(0, out)
    }

    /// The same for a payload that so many bytes follow, which are of the frame.
    pub fn begin_frame(&self, more: usize, out: &mut BytesMut) -> Result<(), FrameError> {
        frame::put_header(self.encoded_len().saturating_add(more), OPERATION_FRAME_MAX, out)?;
        self.encode(out);
        Ok(())
    }

    /// The size of the envelope in bytes, without the length of a frame.
    pub fn encoded_len(&self) -> usize {
        Self::HEADER_LEN + self.topic.len() + self.payload.len()
    }
}

/// A frame is not an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    #[error("envelope of {len} bytes ends within its header or topic")]
    UnexpectedEnd { len: usize },
    #[error("unknown message kind {0} at byte 32")]
    UnknownKind(u8),
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn id(byte: u8) -> EndpointId {
        EndpointId::from_bytes([byte; 16])
    }

    fn ping(topic: Topic, payload: &'static [u8]) -> Envelope {
        Envelope {
            sender: id(0xee),
            receiver: id(0x11),
            kind: EnvelopeKind::Ping,
            ttl: TTL_DEFAULT,
            topic,
            payload: Bytes::from_static(payload),
        }
    }

    fn bytes(envelope: &Envelope) -> Bytes {
        let mut out = BytesMut::new();
        envelope.encode(&mut out);
        out.freeze()
    }

    #[test]
    fn a_captured_bye_ping_reads_field_by_field() {
        let frame = hex::decode(
            "9142a1b568a65b4ea9a6cecad22775e38bd990a7810952f8a49977454dc7a5fa04001000033c243e4259450100000000000010",
        )
        .unwrap();
        let envelope = Envelope::decode(Bytes::from(frame.clone())).unwrap();
        assert_eq!(
            envelope.sender.to_string(),
            "9142a1b5-68a6-5b4e-a9a6-cecad22775e3"
        );
        assert_eq!(
            envelope.receiver.to_string(),
            "8bd990a7-8109-52f8-a499-77454dc7a5fa"
        );
        assert_eq!(envelope.kind, EnvelopeKind::Ping);
        assert_eq!(envelope.ttl, 16);
        assert_eq!(envelope.topic, Topic::CONTROL);
        assert_eq!(envelope.payload, &b"BYE\x01\0\0\0\0\0\0\x10"[..]);
        assert_eq!(bytes(&envelope), frame);
    }

    #[test]
    fn an_empty_topic_and_an_empty_payload_are_allowed() {
        let envelope = ping(Topic::default(), b"");
        let bytes = bytes(&envelope);
        assert_eq!(bytes.len(), Envelope::HEADER_LEN);
        assert_eq!(Envelope::decode(bytes), Ok(envelope));
    }

    #[test]
    fn every_cut_within_header_or_topic_is_an_error() {
        let whole = bytes(&ping(Topic::CONTROL, b"x"));
        for len in 0..whole.len() - 1 {
            assert_eq!(
                Envelope::decode(whole.slice(..len)),
                Err(EnvelopeError::UnexpectedEnd { len })
            );
        }
    }

    #[test]
    fn only_kinds_1_to_5_are_known() {
        for tag in 0..=u8::MAX {
            let mut raw = BytesMut::from(&bytes(&ping(Topic::CONTROL, b"x"))[..]);
            raw[32] = tag;
            match Envelope::decode(raw.freeze()) {
                Ok(envelope) => assert_eq!(envelope.kind.tag(), tag),
                Err(error) => {
                    assert!(!(1..=5).contains(&tag));
                    assert_eq!(
                        error.to_string(),
                        format!("unknown message kind {tag} at byte 32")
                    );
                }
            }
        }
    }

    #[test]
    fn a_stored_topic_does_not_keep_the_frame() {
        let frame = bytes(&ping(Topic::CONTROL, b"payload"));
        let envelope = Envelope::decode(frame.clone()).unwrap();
        let range = frame.as_ptr_range();
        assert!(range.contains(&envelope.payload.as_ptr()));
        assert!(!range.contains(&envelope.topic.as_bytes().as_ptr()));
    }

    #[test]
    fn an_envelope_beyond_the_frame_limit_is_not_sent() {
        let mut envelope = ping(Topic::CONTROL, b"");
        let len = usize::try_from(OPERATION_FRAME_MAX).unwrap() + 1;
        envelope.payload = vec![0; len - Envelope::HEADER_LEN - 3].into();
        let mut out = BytesMut::new();
        assert_eq!(
            envelope.encode_frame(&mut out),
            Err(FrameError::Unsendable {
                len,
                max: OPERATION_FRAME_MAX
            })
        );
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(raw in vec(any::<u8>(), 0..80), tag in 1u8..6, topic in 0u8..40) {
            let mut raw = raw;
            if let Some(slot) = raw.get_mut(32..37) {
                slot.copy_from_slice(&[tag, 0, 16, 0, topic]);
            }
            if let Ok(envelope) = Envelope::decode(Bytes::from(raw.clone())) {
                prop_assert_eq!(bytes(&envelope), raw);
            }
        }
    }
}
