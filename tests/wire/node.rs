//! An endpoint without I/O: a router and its handshakes.

use std::{collections::BTreeMap, time::Duration};

use broker_codec::{
    ConnId, EndpointId, Envelope, Filter, Router, Topic,
    frame::FrameDecoder,
    handshake::{Admission, Close, HANDSHAKE_TIMEOUT, Handshake, Message, Output, Role, Side},
    router::RouterEvent,
};
use bytes::{Bytes, BytesMut};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Send(ConnId, Message),
    Established(ConnId, EndpointId, Side, Filter),
    Close(ConnId, Close),
    Report(RouterEvent),
    SendEnvelope(ConnId, Envelope),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) router: Router,
    connections: BTreeMap<ConnId, Connection>,
    now: Duration,
    actions: Vec<Action>,
}

#[derive(Clone, Debug)]
struct Connection {
    handshake: Handshake,
    buffer: BytesMut,
}

impl Node {
    pub(super) fn new(own: EndpointId, filter: &[Topic]) -> Self {
        let mut router = Router::new(own);
        for topic in filter {
            assert!(router.subscribe(topic.clone()).unwrap().is_empty());
        }
        Self {
            router,
            connections: BTreeMap::new(),
            now: Duration::ZERO,
            actions: Vec::new(),
        }
    }

    pub(super) fn open(&mut self, conn: ConnId, role: Role) -> Vec<Action> {
        let handshake = Handshake::new(role, self.router.own_id(), self.now + HANDSHAKE_TIMEOUT);
        let buffer = BytesMut::new();
        self.connections.insert(conn, Connection { handshake, buffer });
        self.drain(conn);
        self.take_actions()
    }

    /// Bytes arrive, with the lengths before the frames.
    pub(super) fn receive(&mut self, conn: ConnId, bytes: &[u8]) -> Vec<Action> {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.buffer.extend_from_slice(bytes);
            while let Some(connection) = self.connections.get_mut(&conn) {
                let frame = FrameDecoder::handshake().decode(&mut connection.buffer).unwrap();
                let Some(frame) = frame else { break };
                connection.handshake.handle_frame(&frame);
                self.drain(conn);
            }
        }
        self.take_actions()
    }

    pub(super) fn lose(&mut self, conn: ConnId) -> Vec<Action> {
        self.connections.remove(&conn);
        let events = self.router.lost(conn);
        self.follow(events);
        self.take_actions()
    }

    pub(super) fn pass_time(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        let due: Vec<ConnId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.handshake.deadline().is_some_and(|at| at <= self.now))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in due {
            if let Some(connection) = self.connections.get_mut(&conn) {
                connection.handshake.handle_timeout(self.now);
                self.drain(conn);
            }
        }
        self.take_actions()
    }

    pub(super) fn subscribe(&mut self, topic: Topic) -> Vec<Action> {
        for (conn, envelope) in self.router.subscribe(topic).unwrap() {
            self.actions.push(Action::SendEnvelope(conn, envelope));
        }
        self.take_actions()
    }

    pub(super) fn shut_down(&mut self) -> Vec<Action> {
        let events = self.router.shut_down();
        self.follow(events);
        self.take_actions()
    }

    /// Connections that are neither closed nor lost.
    pub(super) fn open_connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.connections.keys().copied()
    }

    fn drain(&mut self, conn: ConnId) {
        while let Some(connection) = self.connections.get_mut(&conn) {
            let Some(output) = connection.handshake.poll() else {
                break;
            };
            match output {
                Output::Send(message) => self.actions.push(Action::Send(conn, message)),
                Output::Identified { peer, side } => {
                    let admission = self.router.admit(conn, peer, side);
                    connection.handshake.admit(admission);
                }
                Output::Established { peer, side, filter } => {
                    self.actions
                        .push(Action::Established(conn, peer, side, filter.clone()));
                    let events = self.router.established(conn, filter);
                    self.follow(events);
                }
                Output::Close(reason) => {
                    self.actions.push(Action::Close(conn, reason));
                    self.connections.remove(&conn);
                    let events = self.router.lost(conn);
                    self.follow(events);
                }
            }
        }
    }

    fn follow(&mut self, events: Vec<RouterEvent>) {
        for event in events {
            match event {
                RouterEvent::Verdict { conn, admission } => {
                    assert!(
                        !matches!(admission, Admission::Wait),
                        "a second verdict must decide"
                    );
                    let waiting = self.connections.get_mut(&conn).expect("it waits for the verdict");
                    waiting.handshake.admit(admission);
                    self.drain(conn);
                }
                RouterEvent::Send { conn, envelope } => {
                    self.actions.push(Action::SendEnvelope(conn, envelope));
                }
                event => self.actions.push(Action::Report(event)),
            }
        }
    }

    fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}

/// The bytes of a message, with their length.
pub(super) fn bytes(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode_frame(&mut out).unwrap();
    out.freeze()
}
