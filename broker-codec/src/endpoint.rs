//! A Broker endpoint without I/O.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    control::RoutingUpdateError,
    endpoint_id::EndpointId,
    envelope::Envelope,
    filter::Filter,
    handshake::{self, Awaited, Handshake, Message, Role, Side},
    peering::{Liveness, Peering, PeeringEnd, PeeringOutput, Rejection},
    recipients::Recipients,
    router::{ConnId, Router, RouterEvent},
    topic::Topic,
};

/// The handshakes and peerings of all connections, and who receives what.
///
/// The caller has the sockets and the time. It numbers a connection when it is open ([`Self::open`]), brings the frames that come
/// on it, and says when it is closed. After each call it does what [`Self::poll`] yields; at a connection's [`Self::deadline`],
/// which every call may change, it calls [`Self::handle_timeout`]. Times are since an epoch of the caller's choice.
#[derive(Clone, Debug)]
pub struct Endpoint {
    router: Router,
    liveness: Option<Liveness>,
    connections: BTreeMap<ConnId, Connection>,
    outputs: VecDeque<(ConnId, Output)>,
}

#[derive(Clone, Debug)]
enum Connection {
    Handshake(Handshake),
    Peering(Peering),
}

/// What is to be done on a connection, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this message of the handshake. The last one of the originator should be flushed by itself: a Broker that responds over
    /// TLS leaves unread what shares a record with it.
    Handshake(Message),
    /// The handshake is complete: frames that follow are envelopes.
    Established {
        peer: EndpointId,
        side: Side,
        /// What the peer wants to receive.
        filter: Filter,
    },
    Send(Envelope),
    /// Close the connection once what was to be sent is flushed, and call [`Endpoint::closed`].
    Close(CloseReason),
}

/// Why a connection ends from our side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// It did not become a peering.
    #[error(transparent)]
    Handshake(handshake::Close),
    #[error(transparent)]
    Peering(PeeringEnd),
}

impl Endpoint {
    /// An endpoint without connections and subscriptions; without `liveness`, silent peers stay.
    pub const fn new(own: EndpointId, liveness: Option<Liveness>) -> Self {
        Self {
            router: Router::new(own),
            liveness,
            connections: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    pub const fn own_id(&self) -> EndpointId {
        self.router.own_id()
    }

    /// Announces a prefix to all peers. There is no way back, as in Broker.
    ///
    /// # Errors
    ///
    /// If the filter would become too large to be announced; then it stays as it is.
    pub fn subscribe(&mut self, prefix: Topic) -> Result<(), RoutingUpdateError> {
        let events = self.router.subscribe(prefix)?;
        self.follow(events);
        Ok(())
    }

    /// A connection is open. Its handshake must be complete at `deadline`. A number is never used again.
    pub fn open(&mut self, conn: ConnId, role: Role, deadline: Duration) {
        let handshake = Handshake::new(role, self.own_id(), deadline);
        self.connections.insert(conn, Connection::Handshake(handshake));
        self.drive(conn, Duration::ZERO);
    }

    /// Takes the content of a frame; yields the data message that it is, if it is one for us.
    ///
    /// # Errors
    ///
    /// If an established peer's message is to be dropped. The peering goes on.
    pub fn handle_frame(
        &mut self,
        conn: ConnId,
        frame: Bytes,
        now: Duration,
    ) -> Result<Option<Envelope>, Rejection> {
        match self.connections.get_mut(&conn) {
            Some(Connection::Handshake(handshake)) => {
                handshake.handle_frame(&frame);
                self.drive(conn, now);
                Ok(None)
            }
            Some(Connection::Peering(peering)) => {
                let output = peering.handle_frame(frame, now)?;
                Ok(output.and_then(|output| self.take(conn, output)))
            }
            None => Ok(None),
        }
    }

    /// Takes the passing of time.
    pub fn handle_timeout(&mut self, conn: ConnId, now: Duration) {
        match self.connections.get_mut(&conn) {
            Some(Connection::Handshake(handshake)) => {
                handshake.handle_timeout(now);
                self.drive(conn, now);
            }
            Some(Connection::Peering(peering)) => {
                if let Some(output) = peering.handle_timeout(now) {
                    self.take(conn, output);
                }
            }
            None => {}
        }
    }

    /// When [`Self::handle_timeout`] should be called next for a connection.
    pub fn deadline(&self, conn: ConnId) -> Option<Duration> {
        match self.connections.get(&conn)? {
            Connection::Handshake(handshake) => handshake.deadline(),
            Connection::Peering(peering) => peering.deadline(),
        }
    }

    /// An established peer must want one of these topics; `announced` is what it wanted in the handshake. See
    /// [`Peering::await_subscription`].
    pub fn await_subscription(
        &mut self,
        conn: ConnId,
        topics: Vec<Topic>,
        announced: &Filter,
        now: Duration,
    ) {
        if let Some(Connection::Peering(peering)) = self.connections.get_mut(&conn) {
            peering.await_subscription(topics, announced, now);
        }
    }

    /// Whether that subscription has not come yet.
    pub fn is_awaiting(&self, conn: ConnId) -> bool {
        matches!(self.connections.get(&conn), Some(Connection::Peering(peering)) if peering.is_awaiting())
    }

    /// Begins to leave a peer. Receive on until [`Output::Close`] comes.
    pub fn leave(&mut self, conn: ConnId, now: Duration) {
        if let Some(Connection::Peering(peering)) = self.connections.get_mut(&conn) {
            let bye = peering.leave(now);
            self.outputs.push_back((conn, Output::Send(bye)));
        }
    }

    /// Refuses every handshake from now on, including those that wait for another one. Established peerings stay.
    pub fn shut_down(&mut self) {
        let events = self.router.shut_down();
        self.follow(events);
    }

    /// A connection is closed, by whichever side; yields the peer that is lost, if it was a peering.
    pub fn closed(&mut self, conn: ConnId) -> Option<EndpointId> {
        let connection = self.connections.remove(&conn);
        let events = self.router.lost(conn);
        self.follow(events);
        match connection? {
            Connection::Handshake(_) => None,
            Connection::Peering(peering) => Some(peering.peer()),
        }
    }

    /// What to do next; `None` until there is new input.
    pub fn poll(&mut self) -> Option<(ConnId, Output)> {
        self.outputs.pop_front()
    }

    /// What a connection's handshake waits for.
    pub fn awaited(&self, conn: ConnId) -> Awaited {
        match self.connections.get(&conn) {
            Some(Connection::Handshake(handshake)) => handshake.awaited(),
            Some(Connection::Peering(_)) => Awaited::NothingEstablished,
            None => Awaited::NothingClosed,
        }
    }

    /// The id of the peer, as soon as it is known.
    pub fn peer(&self, conn: ConnId) -> Option<EndpointId> {
        match self.connections.get(&conn)? {
            Connection::Handshake(handshake) => handshake.peer(),
            Connection::Peering(peering) => Some(peering.peer()),
        }
    }

    /// Whether the peer has said that it leaves.
    pub fn peer_leaves(&self, conn: ConnId) -> bool {
        matches!(self.connections.get(&conn), Some(Connection::Peering(peering)) if peering.peer_leaves())
    }

    /// The connection that is a peering with this peer, or is to become it. As long as there is one, that the peer refuses
    /// another as redundant is no failure (`internal/connector.cc`, `handle` of `drop_conn`).
    pub fn connection_with(&self, peer: EndpointId) -> Option<ConnId> {
        self.router.connection_with(peer)
    }

    /// Established peers, ascending by id.
    pub fn peers(&self) -> impl Iterator<Item = (EndpointId, ConnId)> + '_ {
        self.router.peers()
    }

    /// Where an envelope of ours goes: to its receiver whatever its filter, or to those of `recipients` whose filter matches the
    /// topic. Nothing on topics that must stay within an endpoint goes anywhere.
    pub fn recipients<'a>(
        &'a self,
        envelope: &'a Envelope,
        recipients: &'a Recipients<EndpointId>,
    ) -> impl Iterator<Item = ConnId> + 'a {
        self.router.recipients(envelope, recipients)
    }

    /// Does what a handshake wants. `now` is of importance only if it can become complete.
    fn drive(&mut self, conn: ConnId, now: Duration) {
        while let Some(Connection::Handshake(handshake)) = self.connections.get_mut(&conn) {
            let Some(output) = handshake.poll() else { return };
            let output = match output {
                handshake::Output::Send(message) => Output::Handshake(message),
                handshake::Output::Identified { peer, side } => {
                    handshake.admit(self.router.admit(conn, peer, side));
                    continue;
                }
                handshake::Output::Established { peer, side, filter } => {
                    let peering = Peering::new(self.router.own_id(), peer, self.liveness, now);
                    self.connections.insert(conn, Connection::Peering(peering));
                    let events = self.router.established(conn, filter.clone());
                    let output = Output::Established { peer, side, filter };
                    self.outputs.push_back((conn, output));
                    self.follow(events);
                    return;
                }
                handshake::Output::Close(reason) => Output::Close(CloseReason::Handshake(reason)),
            };
            self.outputs.push_back((conn, output));
        }
    }

    /// Does what a peering wants, except to deliver a message.
    fn take(&mut self, conn: ConnId, output: PeeringOutput) -> Option<Envelope> {
        let output = match output {
            PeeringOutput::Deliver(envelope) => return Some(envelope),
            PeeringOutput::FilterChanged(filter) => {
                self.router.update_filter(conn, filter);
                return None;
            }
            PeeringOutput::Send(envelope) => Output::Send(envelope),
            PeeringOutput::Close(end) => Output::Close(CloseReason::Peering(end)),
        };
        self.outputs.push_back((conn, output));
        None
    }

    fn follow(&mut self, events: Vec<RouterEvent>) {
        for event in events {
            match event {
                RouterEvent::Send { conn, envelope } => {
                    self.outputs.push_back((conn, Output::Send(envelope)));
                }
                RouterEvent::Verdict { conn, admission } => {
                    if let Some(Connection::Handshake(handshake)) = self.connections.get_mut(&conn) {
                        handshake.admit(admission);
                        // No verdict completes a handshake.
                        self.drive(conn, Duration::ZERO);
                    }
                }
            }
        }
    }
}
