//! All peerings of an endpoint (`internal/core_actor.cc`, `detail/peer_status_map.cc`).

use crate::{
    EndpointId, Envelope, Filter, Topic,
    handshake::{Admission, Side},
};

/// A connection, numbered by the runtime; a number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// What follows from a change of the connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterEvent {
    /// A peering is established.
    PeerAdded {
        /// The peer.
        peer: EndpointId,
        /// Its connection.
        conn: ConnId,
    },
    /// A peering has ended.
    PeerLost {
        /// The peer.
        peer: EndpointId,
        /// The connection it had.
        conn: ConnId,
    },
    /// The verdict on a handshake that waits: pass it to [`Handshake::admit`](crate::handshake::Handshake::admit).
    Verdict {
        /// The connection that waits.
        conn: ConnId,
        /// Never [`Admission::Wait`].
        admission: Admission,
    },
    /// An envelope to send: the filter changed since the handshake announced it.
    Send {
        /// Where to.
        conn: ConnId,
        /// What.
        envelope: Envelope,
    },
}

/// Who is connected, who may become so, and who receives what. One per endpoint.
#[derive(Clone, Debug)]
pub struct Router {
    own: EndpointId,
    filter: Filter,
}

impl Router {
    /// A router without peers.
    pub fn new(own: EndpointId) -> Self {
        Self {
            own,
            filter: Filter::new(),
        }
    }

    /// Our own id.
    pub const fn own_id(&self) -> EndpointId {
        self.own
    }

    /// What we announce.
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Announces a prefix; returns the routing updates to send. A filter only grows, as Broker's does.
    pub fn subscribe(&mut self, _prefix: Topic) -> Vec<(ConnId, Envelope)> {
        todo!("router")
    }

    /// Decides on a handshake whose peer is known.
    pub fn admit(&mut self, _conn: ConnId, _peer: EndpointId, _side: Side) -> Admission {
        todo!("router")
    }

    /// Notes that an admitted handshake is complete.
    pub fn established(&mut self, _conn: ConnId, _filter: Filter) -> Vec<RouterEvent> {
        todo!("router")
    }

    /// Replaces what a peer wants to receive.
    pub fn update_filter(&mut self, _conn: ConnId, _filter: Filter) {
        todo!("router")
    }

    /// Notes that a connection is gone, at whatever stage.
    pub fn lost(&mut self, _conn: ConnId) -> Vec<RouterEvent> {
        todo!("router")
    }

    /// Refuses every handshake from now on.
    pub fn shut_down(&mut self) {
        todo!("router")
    }

    /// Whether a peering with this id exists or is being made, so that a `drop_conn` with
    /// [`REDUNDANT_CONNECTION`](crate::ErrorCode::REDUNDANT_CONNECTION) is no failure.
    pub fn knows(&self, _peer: EndpointId) -> bool {
        todo!("router")
    }

    /// The connection of an established peer.
    pub fn connection(&self, _peer: EndpointId) -> Option<ConnId> {
        todo!("router")
    }

    /// Established peers, ascending by id.
    pub fn peers(&self) -> impl Iterator<Item = (EndpointId, ConnId)> + '_ {
        std::iter::empty()
    }

    /// Where an envelope of ours goes: to its receiver, or to each peer whose filter matches the topic.
    pub fn recipients<'a>(&'a self, _envelope: &'a Envelope) -> impl Iterator<Item = ConnId> + 'a {
        std::iter::empty()
    }
}
