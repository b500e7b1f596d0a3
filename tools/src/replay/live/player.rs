//! A peer of the running process, from when it begins to connect until its connection has ended.

use std::time::Duration;

use broker_codec::{
    ConnId, Endpoint, EndpointId, Envelope, EnvelopeKind, Filter,
    control::RoutingUpdate,
    endpoint::{CloseReason, Output as Step},
    frame::FrameError,
    handshake::{self, Role},
    peering::Rejection,
};
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::UnboundedSender;

use crate::replay::subject::Output;

/// The content of pings. Not empty: Zeek 6.1 and older close the connection for that.
const HEARD: &[u8] = b"heard?";

/// The only connection of a player.
const CONN: ConnId = ConnId(0);

/// A WebSocket client or a Broker peer.
pub(super) struct Player {
    broker: Option<BrokerPeer>,
    is_connected: bool,
    /// What it sends; none once it leaves.
    queue: Option<UnboundedSender<Bytes>>,
}

struct BrokerPeer {
    endpoint: Endpoint,
    role: Role,
    filter: Filter,
    /// Whether the running process has what was sent last.
    is_heard: bool,
}

impl Player {
    pub(super) const fn client(queue: UnboundedSender<Bytes>) -> Self {
        Self {
            broker: None,
            is_connected: false,
            queue: Some(queue),
        }
    }

    pub(super) fn broker_peer(
        queue: UnboundedSender<Bytes>,
        id: EndpointId,
        role: Role,
        filter: Filter,
    ) -> Self {
        let mut endpoint = Endpoint::new(id, None);
        for topic in filter.topics() {
            // A handshake announced all of it, so there is room.
            let _ = endpoint.subscribe(topic.clone());
        }
        let broker = BrokerPeer {
            endpoint,
            role,
            filter,
            is_heard: false,
        };
        Self {
            broker: Some(broker),
            ..Self::client(queue)
        }
    }

    pub(super) const fn is_broker_peer(&self) -> bool {
        self.broker.is_some()
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether the running process has what was sent last. A WebSocket client does not ask.
    pub(super) fn is_heard(&self) -> bool {
        self.broker.as_ref().is_none_or(|broker| broker.is_heard)
    }

    /// The running process, if this is a Broker peer and connected.
    pub(super) fn peer(&self) -> Option<EndpointId> {
        let broker = self.broker.as_ref().filter(|_| self.is_connected)?;
        broker.endpoint.peer(CONN)
    }

    pub(super) fn opened(&mut self) {
        match &mut self.broker {
            Some(broker) => broker.endpoint.open(CONN, broker.role, Duration::MAX),
            None => self.is_connected = true,
        }
    }

    /// Takes a frame or a text; yields what the running process has sent its program.
    pub(super) fn received(&mut self, bytes: Bytes) -> Result<Option<Output>, Rejection> {
        let Some(broker) = &mut self.broker else {
            return Ok(Some(Output::Text(bytes)));
        };
        if let Ok(envelope) = Envelope::decode(bytes.clone())
            && self.is_connected
            && envelope.kind == EnvelopeKind::Pong
            && envelope.payload == HEARD
        {
            broker.is_heard = true;
            return Ok(None);
        }
        let envelope = broker.endpoint.handle_frame(CONN, bytes, Duration::ZERO)?;
        Ok(envelope.map(Output::Envelope))
    }

    /// Does what Broker's protocol wants. An error says why there is no peering.
    pub(super) fn follow(&mut self) -> Result<(), handshake::Close> {
        while let Some((_, step)) = self.broker.as_mut().and_then(|broker| broker.endpoint.poll()) {
            match step {
                Step::Handshake(message) => self.send_frame(|frame| message.encode_frame(frame)),
                Step::Established { .. } => self.is_connected = true,
                Step::Send(envelope) => self.send_frame(|frame| envelope.encode_frame(frame)),
                Step::Close(CloseReason::Handshake(reason)) => return Err(reason),
                Step::Close(CloseReason::Peering(_)) => self.queue = None,
            }
        }
        Ok(())
    }

    /// A connection that is gone is missed where something is awaited on it.
    pub(super) fn send(&self, bytes: Bytes) {
        if let Some(queue) = &self.queue {
            let _ = queue.send(bytes);
        }
    }

    fn send_frame(&self, encode: impl Fn(&mut BytesMut) -> Result<(), FrameError>) {
        let mut frame = BytesMut::new();
        // What is sent was received in a recording, or is small.
        if encode(&mut frame).is_ok() {
            self.send(frame.freeze());
        }
    }

    /// Sends something as a connected Broker peer, and asks whether it was heard. Broker's core handles routing updates, so peerings that
    /// come and go wait their turn.
    pub(super) fn tell(&mut self, envelope: Option<Envelope>) {
        let (Some(peer), Some(broker)) = (self.peer(), &mut self.broker) else {
            return;
        };
        if let Some(envelope) = &envelope
            && envelope.kind == EnvelopeKind::RoutingUpdate
            && let Ok(update) = RoutingUpdate::decode(&envelope.payload)
        {
            broker.filter = update.topics.into_iter().collect();
        }
        broker.is_heard = false;
        let own = broker.endpoint.own_id();
        let update = RoutingUpdate::envelope(&broker.filter, own, peer).ok();
        let ping = Envelope::ping(own, peer, Bytes::from_static(HEARD));
        for envelope in envelope.into_iter().chain(update).chain([ping]) {
            self.send_frame(|frame| envelope.encode_frame(frame));
        }
    }

    /// Begins to end the connection in good order.
    pub(super) fn leave(&mut self) {
        match &mut self.broker {
            Some(broker) => broker.endpoint.leave(CONN, Duration::ZERO),
            None => self.queue = None,
        }
    }
}
