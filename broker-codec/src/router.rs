//! All peerings of an endpoint (`internal/core_actor.cc`, `detail/peer_status_map.cc`).

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use crate::{
    control::{RoutingUpdate, RoutingUpdateError},
    endpoint_id::EndpointId,
    envelope::Envelope,
    error_code::ErrorCode,
    filter::Filter,
    handshake::{Admission, Refusal, Side},
    recipients::Recipients,
    topic::Topic,
};

/// A connection, numbered by the runtime; a number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// What follows from a change of the connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RouterEvent {
    /// The verdict on a handshake that waits; never [`Admission::Wait`].
    Verdict { conn: ConnId, admission: Admission },
    /// Our filter changed since the peer was told.
    Send { conn: ConnId, envelope: Envelope },
}

/// Who is connected, who may become so, and who receives what. One per endpoint.
///
/// Two endpoints that connect to each other at the same time keep one connection, chosen by the originator: the first
/// whose `hello` it sees. The others wait until that one is complete and are refused then, or go on in its place if it
/// fails.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    own: EndpointId,
    filter: Filter,
    peers: BTreeMap<EndpointId, Peer>,
    /// Whose state in `peers` names a connection.
    connections: BTreeMap<ConnId, EndpointId>,
    shutting_down: bool,
}

#[derive(Clone, Debug)]
enum Peer {
    Connecting {
        conn: ConnId,
        /// What the handshake was told to announce.
        announced: Filter,
        /// Connections of which we are the originator, in the order of their arrival.
        waiting: VecDeque<ConnId>,
    },
    Established {
        conn: ConnId,
        filter: Filter,
    },
}

impl Router {
    pub(crate) const fn new(own: EndpointId) -> Self {
        Self {
            own,
            filter: Filter::new(),
            peers: BTreeMap::new(),
            connections: BTreeMap::new(),
            shutting_down: false,
        }
    }

    pub(crate) const fn own_id(&self) -> EndpointId {
        self.own
    }

    /// Announces a prefix; returns the routing updates to send. A filter only grows, as Broker's does.
    ///
    /// Fails without effect if the filter would become too large to be announced.
    pub(crate) fn subscribe(&mut self, prefix: Topic) -> Result<Vec<RouterEvent>, RoutingUpdateError> {
        let mut filter = self.filter.clone();
        if !filter.add(prefix) {
            return Ok(Vec::new());
        }
        // Checked even without peers: the next handshake must be able to announce it.
        let update = RoutingUpdate::envelope(&filter, self.own, EndpointId::NIL)?;
        self.filter = filter;
        Ok(self
            .peers()
            .map(|(receiver, conn)| {
                let envelope = Envelope {
                    receiver,
                    ..update.clone()
                };
                RouterEvent::Send { conn, envelope }
            })
            .collect())
    }

    /// Decides on a handshake whose peer is known (`internal/connector.cc`, `proceed_with_handshake`).
    ///
    /// From here on the connection counts, until [`Self::lost`] is called for it, which is due whatever the verdict.
    pub(crate) fn admit(&mut self, conn: ConnId, peer: EndpointId, side: Side) -> Admission {
        if self.shutting_down {
            return Admission::Refuse(shutting_down());
        }
        match (self.peers.get_mut(&peer), side) {
            (None, _) => {
                self.connections.insert(conn, peer);
                let waiting = VecDeque::new();
                self.peers
                    .insert(peer, Peer::connecting(conn, &self.filter, waiting));
                let filter = self.filter.clone();
                Admission::Proceed { filter }
            }
            (Some(Peer::Connecting { waiting, .. }), Side::Originator) => {
                self.connections.insert(conn, peer);
                waiting.push_back(conn);
                Admission::Wait
            }
            (Some(Peer::Established { .. }), Side::Originator) => Admission::Refuse(redundant()),
            (Some(_), Side::Responder) => Admission::Refuse(Refusal::new(
                ErrorCode::LOGIC_ERROR,
                "detected redundant connection at the responder",
            )),
        }
    }

    /// Notes that an admitted handshake is complete.
    ///
    /// The events refuse the connections that waited for it, and tell the peer what was subscribed in the meantime,
    /// which Broker forgets.
    pub(crate) fn established(&mut self, conn: ConnId, filter: Filter) -> Vec<RouterEvent> {
        let Some(&peer) = self.connections.get(&conn) else {
            return Vec::new();
        };
        let Some(entry) = self.peers.get_mut(&peer) else {
            return Vec::new();
        };
        match entry {
            Peer::Connecting {
                conn: running,
                announced,
                waiting,
            } if *running == conn => {
                let mut events = Vec::new();
                if *announced != self.filter {
                    // `subscribe` has seen that it can be encoded.
                    let update = RoutingUpdate::envelope(&self.filter, self.own, peer);
                    events.extend(update.map(|envelope| RouterEvent::Send { conn, envelope }));
                }
                for conn in waiting.drain(..) {
                    self.connections.remove(&conn);
                    let admission = Admission::Refuse(redundant());
                    events.push(RouterEvent::Verdict { conn, admission });
                }
                *entry = Peer::Established { conn, filter };
                events
            }
            Peer::Connecting { .. } | Peer::Established { .. } => Vec::new(),
        }
    }

    /// Replaces what a peer wants to receive.
    pub(crate) fn update_filter(&mut self, conn: ConnId, new: Filter) {
        let peer = self
            .connections
            .get(&conn)
            .and_then(|peer| self.peers.get_mut(peer));
        if let Some(Peer::Established { filter, .. }) = peer {
            *filter = new;
        }
    }

    /// Notes that a connection is gone, at whatever stage.
    pub(crate) fn lost(&mut self, conn: ConnId) -> Vec<RouterEvent> {
        let Some(peer) = self.connections.remove(&conn) else {
            return Vec::new();
        };
        match self.peers.get_mut(&peer) {
            Some(Peer::Established { .. }) => {
                self.peers.remove(&peer);
                Vec::new()
            }
            Some(Peer::Connecting {
                conn: running,
                waiting,
                ..
            }) if *running == conn => {
                // DIFFERENCE(waiting-connection-goes-on): Broker never wakes a connection that waits for one that fails.
                let Some(next) = waiting.pop_front() else {
                    self.peers.remove(&peer);
                    return Vec::new();
                };
                let waiting = mem::take(waiting);
                self.peers
                    .insert(peer, Peer::connecting(next, &self.filter, waiting));
                let filter = self.filter.clone();
                vec![RouterEvent::Verdict {
                    conn: next,
                    admission: Admission::Proceed { filter },
                }]
            }
            Some(Peer::Connecting { waiting, .. }) => {
                waiting.retain(|waiting| *waiting != conn);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Refuses every handshake from now on, including those that wait. Established peerings stay.
    pub(crate) fn shut_down(&mut self) -> Vec<RouterEvent> {
        self.shutting_down = true;
        let mut events = Vec::new();
        for entry in self.peers.values_mut() {
            if let Peer::Connecting { waiting, .. } = entry {
                for conn in waiting.drain(..) {
                    self.connections.remove(&conn);
                    let admission = Admission::Refuse(shutting_down());
                    events.push(RouterEvent::Verdict { conn, admission });
                }
            }
        }
        events
    }

    /// The connection that is a peering with this peer, or the first that is to become it.
    pub(crate) fn connection_with(&self, peer: EndpointId) -> Option<ConnId> {
        self.peers.get(&peer).map(|peer| match peer {
            Peer::Connecting { conn, .. } | Peer::Established { conn, .. } => *conn,
        })
    }

    /// Established peers, ascending by id.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (EndpointId, ConnId)> + '_ {
        self.peers
            .iter()
            .filter_map(|(id, peer)| peer.established().map(|(conn, _)| (*id, conn)))
    }

    /// Where an envelope of ours goes.
    pub(crate) fn recipients<'a>(
        &'a self,
        envelope: &'a Envelope,
        recipients: &'a Recipients<EndpointId>,
    ) -> impl Iterator<Item = ConnId> + 'a {
        let leaves = !envelope.topic.is_local_only();
        let receiver = self.peers.get(&envelope.receiver).filter(|_| leaves);
        let is_for_all = leaves && envelope.receiver.is_nil();
        let matching = is_for_all.then_some(&self.peers).into_iter().flatten();
        let matching = matching.filter_map(move |(id, peer)| {
            let (_, filter) = peer.established()?;
            (recipients.include(id) && filter.matches(&envelope.topic)).then_some(peer)
        });
        receiver
            .into_iter()
            .chain(matching)
            .filter_map(|peer| peer.established().map(|(conn, _)| conn))
    }
}

impl Peer {
    fn connecting(conn: ConnId, filter: &Filter, waiting: VecDeque<ConnId>) -> Self {
        Self::Connecting {
            conn,
            announced: filter.clone(),
            waiting,
        }
    }

    const fn established(&self) -> Option<(ConnId, &Filter)> {
        match self {
            Self::Established { conn, filter } => Some((*conn, filter)),
            Self::Connecting { .. } => None,
        }
    }
}

fn redundant() -> Refusal {
    Refusal::new(ErrorCode::REDUNDANT_CONNECTION, "redundant connection")
}

fn shutting_down() -> Refusal {
    Refusal::new(ErrorCode::SHUTTING_DOWN, "shutting down")
}

#[cfg(test)]
mod tests;
