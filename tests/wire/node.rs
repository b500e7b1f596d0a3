//! An endpoint without I/O, and the bytes that have come on its connections.

use std::{collections::BTreeMap, time::Duration};

use broker_codec::{
    ConnId, EndpointId, Topic,
    endpoint::{Endpoint, Output},
    frame::FrameDecoder,
    handshake::{HANDSHAKE_TIMEOUT, Message, Role},
};
use bytes::{Bytes, BytesMut};

/// What the endpoint does, or has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Do(ConnId, Output),
    PeerLost(ConnId, EndpointId),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) endpoint: Endpoint,
    /// What has come on each open connection and is no frame yet.
    buffers: BTreeMap<ConnId, BytesMut>,
    now: Duration,
}

impl Node {
    pub(super) fn new(own: EndpointId, filter: &[Topic]) -> Self {
        let mut endpoint = Endpoint::new(own, None);
        for topic in filter {
            endpoint.subscribe(topic.clone()).unwrap();
        }
        Self {
            endpoint,
            buffers: BTreeMap::new(),
            now: Duration::ZERO,
        }
    }

    pub(super) fn open(&mut self, conn: ConnId, role: Role) -> Vec<Action> {
        self.buffers.insert(conn, BytesMut::new());
        self.endpoint.open(conn, role, self.now + HANDSHAKE_TIMEOUT);
        self.actions()
    }

    /// Bytes arrive, with the lengths before the frames.
    pub(super) fn receive(&mut self, conn: ConnId, bytes: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(buffer) = self.buffers.get_mut(&conn) {
            buffer.extend_from_slice(bytes);
        }
        while let Some(buffer) = self.buffers.get_mut(&conn)
            && let Some(frame) = FrameDecoder::handshake().decode(buffer).unwrap()
        {
            let taken = self.endpoint.handle_frame(conn, frame, self.now);
            assert_eq!(taken, Ok(None), "here are handshakes only");
            actions.extend(self.actions());
        }
        actions
    }

    /// The connection is gone.
    pub(super) fn lose(&mut self, conn: ConnId) -> Vec<Action> {
        self.buffers.remove(&conn);
        let lost = self.endpoint.closed(conn);
        let lost = lost.map(|peer| Action::PeerLost(conn, peer));
        lost.into_iter().chain(self.actions()).collect()
    }

    pub(super) fn pass_time(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        for conn in self.buffers.keys() {
            self.endpoint.handle_timeout(*conn, self.now);
        }
        self.actions()
    }

    pub(super) fn subscribe(&mut self, topic: Topic) -> Vec<Action> {
        self.endpoint.subscribe(topic).unwrap();
        self.actions()
    }

    pub(super) fn shut_down(&mut self) -> Vec<Action> {
        self.endpoint.shut_down();
        self.actions()
    }

    /// Connections that are neither closed nor lost.
    pub(super) fn open_connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.buffers.keys().copied()
    }

    fn actions(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((conn, output)) = self.endpoint.poll() {
            let closes = matches!(output, Output::Close(_));
            actions.push(Action::Do(conn, output));
            if closes {
                self.buffers.remove(&conn);
                self.endpoint.closed(conn);
            }
        }
        actions
    }
}

/// The bytes of a message, with their length.
pub(super) fn bytes(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode_frame(&mut out).unwrap();
    out.freeze()
}
