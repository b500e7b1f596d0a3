//! One established peering.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    control::{ByeToken, RoutingUpdate, RoutingUpdateError},
    elapsed::Elapsed,
    endpoint_id::EndpointId,
    envelope::{Envelope, EnvelopeError, EnvelopeKind},
    filter::Filter,
    topic::Topic,
};

/// How long the pong to our BYE is awaited (`defaults.hh`, `unpeer_timeout`).
pub const BYE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long after the handshake the subscription is awaited that [`Peering::await_subscription`] names.
pub const SUBSCRIPTION_TIMEOUT: Duration = Duration::from_secs(1);

/// How a silent peer is noticed. Broker has no such thing; every release answers pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// How long a peer may be silent until we ping it.
    pub interval: Duration,
    /// How long a peer may be silent until it is dropped; longer than the interval. If it was pinged late, because this machine
    /// was suspended or busy, that much longer.
    pub timeout: Duration,
}

/// What follows from an input to a peering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeeringOutput {
    Send(Envelope),
    Deliver(Envelope),
    /// The peer wants to receive this from now on.
    FilterChanged(Filter),
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
    #[error("peer was silent for {}", Elapsed(*.silence))]
    Silent { silence: Duration },
    /// The peer has not subscribed to what [`Peering::await_subscription`] names.
    #[error("its subscription has not arrived within {}", Elapsed(SUBSCRIPTION_TIMEOUT))]
    Unsubscribed,
}

/// Why a message of an established peer is ignored. The peering goes on, as with Zeek 8.0 and later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The sender field does not name the peer.
    #[error("{} message claims to come from {sender}", .kind.name())]
    ForeignSender { kind: EnvelopeKind, sender: EndpointId },
    /// The message is for another endpoint, and we do not relay.
    #[error("{} message is addressed to {receiver}", .kind.name())]
    ForeignReceiver {
        kind: EnvelopeKind,
        receiver: EndpointId,
    },
    /// The topic must not leave an endpoint.
    #[error("{} message on a topic reserved for local use", .kind.name())]
    LocalTopic { kind: EnvelopeKind },
    /// The peer's new filter cannot be read; the one before stays.
    #[error(transparent)]
    RoutingUpdate(#[from] RoutingUpdateError),
}

/// One established peering: pings, leaving, liveness, and which messages are taken.
///
/// Call [`Self::handle_timeout`] at [`Self::deadline`], which every other call may change.
#[derive(Clone, Debug)]
pub struct Peering {
    own: EndpointId,
    peer: EndpointId,
    liveness: Option<Liveness>,
    last_heard: Duration,
    /// Pings of ours so far; the content of the next.
    pings: u64,
    /// When the peer was pinged, if it was since it was heard.
    pinged: Option<Duration>,
    /// When to stop waiting for the pong to our BYE.
    leaving: Option<Duration>,
    peer_leaves: bool,
    awaited: Option<Awaited>,
}

/// A subscription without which the peering is of no use.
#[derive(Clone, Debug)]
struct Awaited {
    /// One of these is enough.
    topics: Vec<Topic>,
    until: Duration,
}

impl Awaited {
    fn is_in(&self, filter: &Filter) -> bool {
        self.topics.iter().any(|topic| filter.matches(topic))
    }
}

/// The token of our BYE: a peering has only one.
const BYE: ByeToken = ByeToken(1);

impl Peering {
    /// A peering that begins at `now`, a time since an epoch of the caller's choice.
    pub const fn new(own: EndpointId, peer: EndpointId, liveness: Option<Liveness>, now: Duration) -> Self {
        Self {
            own,
            peer,
            liveness,
            last_heard: now,
            pings: 0,
            pinged: None,
            leaving: None,
            peer_leaves: false,
            awaited: None,
        }
    }

    /// The peer must want one of these topics, or the peering ends after [`SUBSCRIPTION_TIMEOUT`]. What it says before is dropped.
    /// Without effect if its handshake has announced one, or there are none.
    ///
    /// DIFFERENCE(lost-subscription): a Broker sends a new filter to the peers that its core has added (`internal/core_actor.cc`, `broadcast_subscriptions`). What
    /// its program subscribes to after the handshake has read the filter and before that is never announced to this peer: a Zeek
    /// that listens before it subscribes, as Supervisors and controllers do, may be deaf for as long as the peering lasts.
    pub fn await_subscription(&mut self, topics: Vec<Topic>, announced: &Filter, now: Duration) {
        let until = now.saturating_add(SUBSCRIPTION_TIMEOUT);
        let awaited = Awaited { topics, until };
        self.awaited = (!awaited.topics.is_empty() && !awaited.is_in(announced)).then_some(awaited);
    }

    /// Whether the subscription of [`Self::await_subscription`] has not come yet.
    pub const fn is_awaiting(&self) -> bool {
        self.awaited.is_some()
    }

    pub const fn peer(&self) -> EndpointId {
        self.peer
    }

    /// Whether the peer has said that it leaves.
    pub const fn peer_leaves(&self) -> bool {
        self.peer_leaves
    }

    /// Takes a frame of the peer. `None` says that nothing follows from it.
    pub fn handle_frame(&mut self, frame: Bytes, now: Duration) -> Result<Option<PeeringOutput>, Rejection> {
        self.last_heard = now;
        self.pinged = None;
        let envelope = Envelope::decode(frame)?;
        let kind = envelope.kind;
        if envelope.sender != self.peer {
            // DIFFERENCE(sender-checked): Broker believes whatever peer the sender field names.
            let sender = envelope.sender;
            return Err(Rejection::ForeignSender { kind, sender });
        }
        Ok(match kind {
            EnvelopeKind::Data => {
                self.check_addressed(&envelope)?;
                (!self.is_awaiting()).then_some(PeeringOutput::Deliver(envelope))
            }
            // We have no store of Broker's, and no answer is expected.
            EnvelopeKind::Command => None,
            EnvelopeKind::RoutingUpdate => {
                let update = RoutingUpdate::decode(&envelope.payload)?;
                let filter = update.topics.into_iter().collect();
                self.awaited = self.awaited.take().filter(|awaited| !awaited.is_in(&filter));
                Some(PeeringOutput::FilterChanged(filter))
            }
            // As Broker, whomever it is addressed to.
            EnvelopeKind::Ping => {
                self.peer_leaves |= ByeToken::decode(&envelope.payload).is_some();
                Some(PeeringOutput::Send(envelope.pong(self.own, self.peer)))
            }
            EnvelopeKind::Pong => (self.leaving.is_some()
                && ByeToken::decode(&envelope.payload) == Some(BYE))
            .then_some(PeeringOutput::Close(PeeringEnd::Left)),
        })
    }

    fn check_addressed(&self, envelope: &Envelope) -> Result<(), Rejection> {
        let kind = envelope.kind;
        let receiver = envelope.receiver;
        if !receiver.is_nil() && receiver != self.own {
            // DIFFERENCE(no-relaying): Broker passes it on if forwarding is enabled, which it is not in Zeek.
            return Err(Rejection::ForeignReceiver { kind, receiver });
        }
        if envelope.topic.is_local_only() {
            // DIFFERENCE(local-topics-dropped): Zeek takes a peer's message for a report of its own Broker.
            return Err(Rejection::LocalTopic { kind });
        }
        Ok(())
    }

    /// Begins to leave: returns the BYE to send. Receive on until [`PeeringOutput::Close`] comes.
    ///
    /// The peer answers behind everything it has queued for us (`internal/peering.cc`).
    pub fn leave(&mut self, now: Duration) -> Envelope {
        self.leaving.get_or_insert(now.saturating_add(BYE_TIMEOUT));
        Envelope::ping(self.own, self.peer, BYE.encode())
    }

    /// When [`Self::handle_timeout`] should be called next.
    pub fn deadline(&self) -> Option<Duration> {
        let liveness = self.liveness.map(|liveness| match self.pinged {
            Some(at) => at.saturating_add(liveness.timeout.saturating_sub(liveness.interval)),
            None => self.last_heard.saturating_add(liveness.interval),
        });
        let end = self.leaving.or_else(|| Some(self.awaited.as_ref()?.until));
        end.into_iter().chain(liveness).min()
    }

    /// Takes the passing of time.
    pub fn handle_timeout(&mut self, now: Duration) -> Option<PeeringOutput> {
        if self.leaving.is_some_and(|deadline| now >= deadline) {
            return Some(PeeringOutput::Close(PeeringEnd::LeftUnconfirmed));
        }
        if self.leaving.is_none() && self.awaited.as_ref().is_some_and(|awaited| now >= awaited.until) {
            return Some(PeeringOutput::Close(PeeringEnd::Unsubscribed));
        }
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        if self.pinged.is_some() {
            let silence = now.saturating_sub(self.last_heard);
            return Some(PeeringOutput::Close(PeeringEnd::Silent { silence }));
        }
        // DIFFERENCE(liveness): Broker notices a dead peer by a reset or a failing write only.
        self.pinged = Some(now);
        self.pings = self.pings.wrapping_add(1);
        // Not empty: Zeek 6.1 and older close the connection for that.
        let payload = Bytes::copy_from_slice(&self.pings.to_be_bytes());
        Some(PeeringOutput::Send(Envelope::ping(self.own, self.peer, payload)))
    }
}

#[cfg(test)]
mod tests;
