//! One established peering.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    EndpointId, Envelope, EnvelopeKind, Filter, control::RoutingUpdateError, envelope::EnvelopeError,
};

/// How long the pong to our BYE is awaited (`defaults.hh`, `unpeer_timeout`).
pub const BYE_TIMEOUT: Duration = Duration::from_secs(3);

/// How a silent peer is noticed. Broker has no such thing; every release answers pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// How long a peer may be silent until we ping it.
    pub interval: Duration,
    /// How long a peer may be silent until it is dropped; longer than the interval.
    pub timeout: Duration,
}

/// What follows from an input to a peering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeeringOutput {
    /// Send this to the peer.
    Send(Envelope),
    /// A data message for us.
    Deliver(Envelope),
    /// Pass this to [`Router::update_filter`](crate::Router::update_filter).
    FilterChanged(Filter),
    /// Close the connection.
    Close(PeeringEnd),
}

/// Why a peering ends from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeeringEnd {
    /// The peer answered our BYE.
    #[error("left, confirmed by the peer")]
    Left,
    /// The peer did not answer our BYE within [`BYE_TIMEOUT`].
    #[error("left without confirmation by the peer")]
    LeftUnconfirmed,
    /// The peer sent nothing for too long.
    #[error("peer was silent for {} s", .silence.as_secs_f32())]
    Silent {
        /// How long.
        silence: Duration,
    },
}

/// Why a message of an established peer is ignored. The peering goes on, as with Zeek 8.0 and later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The frame is not an envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The sender field does not name the peer.
    #[error("{} message claims to come from {sender}", .kind.name())]
    ForeignSender {
        /// What came.
        kind: EnvelopeKind,
        /// Whom it names.
        sender: EndpointId,
    },
    /// The message is for another endpoint, and we do not relay.
    #[error("{} message is addressed to {receiver}", .kind.name())]
    ForeignReceiver {
        /// What came.
        kind: EnvelopeKind,
        /// Whom it names.
        receiver: EndpointId,
    },
    /// The topic must not leave an endpoint.
    #[error("{} message on a topic reserved for local use", .kind.name())]
    LocalTopic {
        /// What came.
        kind: EnvelopeKind,
    },
    /// The peer's new filter cannot be read; the one before stays.
    #[error(transparent)]
    RoutingUpdate(#[from] RoutingUpdateError),
}

/// One established peering: pings, leaving, liveness, and which messages are taken.
#[derive(Clone, Debug)]
pub struct Peering {}

impl Peering {
    /// A peering that begins at `now`, a time since an epoch of the caller's choice.
    pub fn new(_own: EndpointId, _peer: EndpointId, _liveness: Option<Liveness>, _now: Duration) -> Self {
        todo!("peering")
    }

    /// Takes a frame of the peer.
    pub fn handle_frame(
        &mut self,
        _frame: Bytes,
        _now: Duration,
    ) -> Result<Option<PeeringOutput>, Rejection> {
        todo!("peering")
    }

    /// Begins to leave: returns the BYE to send. Receive on until [`PeeringOutput::Close`] comes.
    pub fn leave(&mut self, _now: Duration) -> Envelope {
        todo!("peering")
    }

    /// When [`Self::handle_timeout`] should be called next.
    pub fn deadline(&self) -> Option<Duration> {
        todo!("peering")
    }

    /// Takes the passing of time.
    pub fn handle_timeout(&mut self, _now: Duration) -> Option<PeeringOutput> {
        todo!("peering")
    }
}
