use strum::{EnumIter, EnumMessage, IntoStaticStr};

/// What an [`Endpoint`](super::Endpoint) counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Counted {
    /// Accepted connections whose handshake began.
    Accepted,
    /// Accepted connections closed before their handshake began, because there were too many.
    Refused,
    /// Times that accepting failed, for example for want of file descriptors.
    AcceptErrors,
    /// Accepted connections that did not become a peering, redundant ones included.
    AcceptFailures,
    /// Attempts to connect that did not become a peering: some at each start of a Supervisor.
    ConnectFailures,
    /// Peerings established.
    PeersAdded,
    /// Peerings that the peer ended: nodes and Supervisors that are stopped or restarted, too.
    PeersLost,
    /// Peerings that we ended.
    PeersRemoved,
    /// Messages received, good or bad, with control messages.
    MessagesIn,
    /// Bytes of the messages received.
    BytesIn,
    /// Messages handed to the system for sending.
    MessagesOut,
    /// Bytes of the messages handed over.
    BytesOut,
    /// Messages received and refused: malformed, or for or from another endpoint.
    Rejected,
    /// Log messages and identifier updates received and dropped unread.
    Ignored,
    /// Messages of ours dropped because a peer reads too slowly.
    Overflowed,
    /// Messages of ours for one peer that was not there.
    Undeliverable,
    /// Connection tasks that panicked.
    Panics,
}
