//! Payloads of the messages by which peers steer a peering: routing updates, pings and pongs.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    endpoint_id::EndpointId,
    envelope::{Envelope, EnvelopeKind, TTL_DEFAULT},
    filter::{FILTER_TOPICS_MAX, Filter},
    topic::Topic,
};

/// The largest payload of a routing update that is read or written, in bytes: a peer's filter is kept as long as the peer.
///
/// What can be announced by an update also fits a handshake message.
pub const ROUTING_UPDATE_MAX: usize = (1 << 20) - 1;

/// The payload of a routing update: the sender's complete filter, which replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingUpdate {
    /// Topic prefixes as sent, at most [`FILTER_TOPICS_MAX`].
    #[serde(deserialize_with = "crate::filter::deserialize_topics")]
    pub topics: Vec<Topic>,
}

/// A payload is not a routing update, or a filter does not fit one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoutingUpdateError {
    #[error("routing update of {len} bytes exceeds the limit of {ROUTING_UPDATE_MAX}")]
    TooLong { len: usize },
    #[error("routing update of {count} topics exceeds the limit of {FILTER_TOPICS_MAX}")]
    TooMany { count: usize },
    #[error("malformed routing update: {0}")]
    Malformed(#[from] caf_bincode_compat::Error),
}

impl RoutingUpdate {
    /// Reads the payload of an envelope. Broker takes an empty one for an empty filter, and so do we.
    ///
    /// A malformed payload ends Zeek 6.2 to 9.0 (`routing_update_envelope.cc` throws where nothing catches).
    pub fn decode(payload: &[u8]) -> Result<Self, RoutingUpdateError> {
        if payload.is_empty() {
            return Ok(Self { topics: Vec::new() });
        }
        if payload.len() > ROUTING_UPDATE_MAX {
            return Err(RoutingUpdateError::TooLong { len: payload.len() });
        }
        // DIFFERENCE(routing-update-checked): Broker ends the process or takes what it can of a malformed list.
        Ok(caf_bincode_compat::from_slice(payload)?)
    }

    pub fn encode(&self) -> Result<Bytes, RoutingUpdateError> {
        if self.topics.len() > FILTER_TOPICS_MAX {
            return Err(RoutingUpdateError::TooMany {
                count: self.topics.len(),
            });
        }
        let payload = caf_bincode_compat::to_vec(self)?;
        if payload.len() > ROUTING_UPDATE_MAX {
            return Err(RoutingUpdateError::TooLong { len: payload.len() });
        }
        Ok(payload.into())
    }

    /// The envelope that tells a peer our filter.
    pub fn envelope(
        filter: &Filter,
        own: EndpointId,
        peer: EndpointId,
    ) -> Result<Envelope, RoutingUpdateError> {
        let topics = filter.topics().to_vec();
        Ok(control(
            EnvelopeKind::RoutingUpdate,
            own,
            peer,
            Self { topics }.encode()?,
        ))
    }
}

/// The payload of the ping that announces that its sender wants to leave (`internal/peering.cc`): `BYE` and 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByeToken(pub u64);

impl ByeToken {
    /// The payload; the number is little-endian, as on every machine that Zeek runs on.
    pub fn encode(self) -> Bytes {
        let mut payload = b"BYE".to_vec();
        payload.extend_from_slice(&self.0.to_le_bytes());
        payload.into()
    }

    /// The token in the payload of a ping or pong, if it has the form of one.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let number = payload.strip_prefix(b"BYE")?;
        Some(Self(u64::from_le_bytes(number.try_into().ok()?)))
    }
}

impl Envelope {
    pub fn ping(own: EndpointId, peer: EndpointId, payload: Bytes) -> Self {
        control(EnvelopeKind::Ping, own, peer, payload)
    }

    /// The pong that answers this ping: the same payload, back to `peer` (`internal/core_actor.cc`, `on_ping`).
    #[must_use]
    pub fn pong(&self, own: EndpointId, peer: EndpointId) -> Self {
        control(EnvelopeKind::Pong, own, peer, self.payload.clone())
    }
}

fn control(kind: EnvelopeKind, sender: EndpointId, receiver: EndpointId, payload: Bytes) -> Envelope {
    Envelope {
        sender,
        receiver,
        kind,
        ttl: TTL_DEFAULT,
        topic: Topic::CONTROL,
        payload,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    const A: &str = "11111111-1111-4111-8111-111111111111";
    const B: &str = "eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee";

    fn ids() -> (EndpointId, EndpointId) {
        (A.parse().unwrap(), B.parse().unwrap())
    }

    fn frame(envelope: &Envelope) -> String {
        let mut out = BytesMut::new();
        envelope.encode_frame(&mut out).unwrap();
        hex::encode(out)
    }

    fn decode(hex: &str) -> Result<Vec<Topic>, RoutingUpdateError> {
        RoutingUpdate::decode(&hex::decode(hex.replace(' ', "")).unwrap()).map(|update| update.topics)
    }

    #[test]
    fn a_routing_update_has_broker_s_bytes() {
        let (a, b) = ids();
        let filter: Filter = ["zeek/management/agent/instance-1", "zeek/supervisor"]
            .map(Topic::from_static)
            .into_iter()
            .collect();
        let envelope = RoutingUpdate::envelope(&filter, b, a).unwrap();
        assert_eq!(
            frame(&envelope),
            "0000005aeeeeeeeeeeee4eee8eeeeeeeeeeeeeee1111111111114111811111111111111103001000033c243e\
             02207a65656b2f6d616e6167656d656e742f6167656e742f696e7374616e63652d310f7a65656b2f73757065727669736f72"
        );
        assert_eq!(
            RoutingUpdate::decode(&envelope.payload).unwrap().topics,
            filter.topics()
        );
    }

    #[test]
    fn a_bye_and_its_pong_have_broker_s_bytes() {
        let (a, b) = ids();
        let bye = Envelope::ping(b, a, ByeToken(7).encode());
        assert_eq!(
            frame(&bye),
            "00000033eeeeeeeeeeee4eee8eeeeeeeeeeeeeee1111111111114111811111111111111104001000033c243e\
             4259450700000000000000"
        );
        assert_eq!(
            frame(&bye.pong(a, b)),
            "000000331111111111114111811111111111111 1eeeeeeeeeeee4eee8eeeeeeeeeeeeeee05001000033c243e\
             4259450700000000000000"
                .replace(' ', "")
        );
        assert_eq!(ByeToken::decode(&bye.payload), Some(ByeToken(7)));
        for other in [&b""[..], b"BYE", b"BYE1234567", b"BYE123456789", b"bye12345678"] {
            assert_eq!(ByeToken::decode(other), None);
        }
    }

    #[test]
    fn an_empty_payload_is_an_empty_filter() {
        assert_eq!(decode(""), Ok(Vec::new()));
        assert_eq!(decode("00"), Ok(Vec::new()));
    }

    #[test]
    fn each_malformed_entry_is_an_error() {
        for (hex, error) in [
            ("01", "length 1 exceeds the 0 remaining bytes at byte 0"),
            ("01 80", "unexpected end of input at byte 1"),
            ("01 05 61", "length 5 exceeds the 1 remaining bytes at byte 1"),
            ("02 01 61", "unexpected end of input at byte 3"),
            ("01 01 61 01 62", "2 surplus bytes at byte 3"),
            ("00 00", "1 surplus bytes at byte 1"),
            ("8000", "varbyte is not in its shortest form at byte 0"),
            ("ffffffff7f", "varbyte exceeds 32 bits at byte 0"),
            (
                "01 feffffff0f",
                "length 4294967294 exceeds the 0 remaining bytes at byte 1",
            ),
        ] {
            assert_eq!(
                decode(hex).unwrap_err().to_string(),
                format!("malformed routing update: {error}"),
                "{hex}"
            );
        }
        let mut long = vec![1, 0x80, 0x80, 0x04];
        long.resize(4 + 65_536, b'x');
        assert_eq!(
            RoutingUpdate::decode(&long).unwrap_err().to_string(),
            "malformed routing update: topic of 65536 bytes is longer than 65535 at byte 65540"
        );
    }

    #[test]
    fn the_limits_hold_both_ways() {
        let of = |count, len| RoutingUpdate {
            topics: vec![Topic::new(vec![b'x'; len]).unwrap(); count],
        };
        let most = of(FILTER_TOPICS_MAX, 3);
        assert_eq!(RoutingUpdate::decode(&most.encode().unwrap()), Ok(most));
        let count = FILTER_TOPICS_MAX + 1;
        assert_eq!(of(count, 0).encode(), Err(RoutingUpdateError::TooMany { count }));
        let mut too_many = vec![0x81, 0x80, 0x01];
        too_many.resize(3 + count, 0);
        assert_eq!(
            RoutingUpdate::decode(&too_many).unwrap_err().to_string(),
            "malformed routing update: invalid length 16385, expected a list of at most 16384 topics at byte 16388"
        );
        // A count, then lengths of three bytes each.
        let longest = of(15, 65_535);
        let rest = ROUTING_UPDATE_MAX - longest.encode().unwrap().len() - 3;
        let mut fits = longest.clone();
        fits.topics.push(Topic::new(vec![b'y'; rest]).unwrap());
        assert_eq!(fits.encode().unwrap().len(), ROUTING_UPDATE_MAX);
        assert_eq!(RoutingUpdate::decode(&fits.encode().unwrap()), Ok(fits));
        let too_long = of(17, 65_535);
        let len = caf_bincode_compat::to_vec(&too_long).unwrap().len();
        assert_eq!(too_long.encode(), Err(RoutingUpdateError::TooLong { len }));
        assert_eq!(
            RoutingUpdate::decode(&vec![0; ROUTING_UPDATE_MAX + 1]),
            Err(RoutingUpdateError::TooLong {
                len: ROUTING_UPDATE_MAX + 1
            })
        );
    }
}
