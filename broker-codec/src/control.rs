//! Payloads of the messages by which peers steer a peering: routing updates, pings and pongs.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{EndpointId, Envelope, Topic};

/// The largest payload of a routing update that is read, in bytes: a peer's filter is kept as long as the peer.
pub const ROUTING_UPDATE_MAX: usize = 1 << 20;

/// The payload of a routing update: the sender's complete filter, which replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingUpdate {
    /// Topic prefixes as sent, at most [`FILTER_TOPICS_MAX`](crate::FILTER_TOPICS_MAX).
    #[serde(deserialize_with = "crate::filter::deserialize_topics")]
    pub topics: Vec<Topic>,
}

/// A payload is not a routing update.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoutingUpdateError {
    /// Larger than [`ROUTING_UPDATE_MAX`].
    #[error("routing update of {len} bytes exceeds the limit of {ROUTING_UPDATE_MAX}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The list of topics is malformed.
    #[error("malformed routing update: {0}")]
    Malformed(#[from] caf_bincode_compat::Error),
}

impl RoutingUpdate {
    /// Reads the payload of an envelope. Broker takes an empty one for an empty filter, and so do we.
    pub fn decode(_payload: &[u8]) -> Result<Self, RoutingUpdateError> {
        todo!("control messages")
    }

    /// The payload.
    pub fn encode(&self) -> Bytes {
        todo!("control messages")
    }

    /// The envelope for one peer.
    pub fn envelope(&self, _own: EndpointId, _peer: EndpointId) -> Envelope {
        todo!("control messages")
    }
}

/// The payload of the ping that announces that the sender wants to leave (`internal/peering.cc`): `BYE` and 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByeToken(pub u64);

impl ByeToken {
    /// The payload; the number is little-endian, as Broker has it on every machine that Zeek runs on.
    pub fn encode(self) -> Bytes {
        todo!("control messages")
    }
}

impl Envelope {
    /// A ping for a peer.
    pub fn ping(_own: EndpointId, _peer: EndpointId, _payload: Bytes) -> Self {
        todo!("control messages")
    }

    /// The pong that answers this ping: the same payload, back to `peer`.
    pub fn pong(&self, _own: EndpointId, _peer: EndpointId) -> Self {
        todo!("control messages")
    }
}
