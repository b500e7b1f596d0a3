//! Who is connected to the controller.

use std::collections::BTreeMap;

use broker_codec::EndpointId;

/// Connections, by peer. One that has ended stays until the controller is told so: what was received before that is still
/// delivered.
#[derive(Default)]
pub(super) struct Network {
    connections: BTreeMap<EndpointId, Connection>,
    opened: u64,
}

struct Connection {
    number: u64,
    /// Whose agent it is; none for strangers.
    host: Option<usize>,
    open: bool,
}

impl Network {
    /// Opens a connection and returns its number.
    pub(super) fn open(&mut self, peer: EndpointId, host: Option<usize>) -> u64 {
        self.opened += 1;
        let connection = Connection {
            number: self.opened,
            host,
            open: true,
        };
        assert!(self.connections.insert(peer, connection).is_none());
        self.opened
    }

    /// Ends all connections, and with them what is on its way: numbers of connections are never used again.
    pub(super) fn end_all(&mut self) {
        self.connections.clear();
    }

    /// Ends a connection, if it is there: the controller may have crashed. What has been sent still arrives at the controller.
    pub(super) fn leave(&mut self, peer: EndpointId) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.open = false;
        }
    }

    /// Ends the connection of a host's agent, if there is one.
    pub(super) fn end_of_host(&mut self, host: usize) -> Option<EndpointId> {
        let (_, peer) = self.connection_of_host(host)?;
        self.leave(peer);
        Some(peer)
    }

    /// The controller has heard of the end of a connection.
    pub(super) fn forget(&mut self, peer: EndpointId) {
        self.connections.remove(&peer);
    }

    /// The open connection of a host's agent.
    pub(super) fn connection_of_host(&self, host: usize) -> Option<(u64, EndpointId)> {
        let mut connections = self.connections.iter();
        let found = connections.find(|(_, connection)| connection.open && connection.host == Some(host));
        found.map(|(peer, connection)| (connection.number, *peer))
    }

    /// The open connection to a peer.
    pub(super) fn connection_of(&self, peer: EndpointId) -> Option<u64> {
        let connection = self.connections.get(&peer)?;
        connection.open.then_some(connection.number)
    }

    /// The host of a peer's agent.
    pub(super) fn host_of(&self, peer: EndpointId) -> Option<usize> {
        self.connections.get(&peer)?.host
    }

    /// Whether the controller thinks that a peer is connected.
    pub(super) fn is_there(&self, peer: EndpointId) -> bool {
        self.connections.contains_key(&peer)
    }

    /// Whether this connection is open.
    pub(super) fn is_open(&self, peer: EndpointId, number: u64) -> bool {
        self.connection_of(peer) == Some(number)
    }

    /// Whether the controller thinks that this connection is open.
    pub(super) fn is_known(&self, peer: EndpointId, number: u64) -> bool {
        self.connections
            .get(&peer)
            .is_some_and(|connection| connection.number == number)
    }
}
