//! The codec's endpoint on the connections of a capture.

use std::time::Duration;

use broker_codec::{
    ConnId, EndpointId, Envelope, EnvelopeKind, Recipients, Topic,
    endpoint::{self, Output as Step},
    envelope::TTL_DEFAULT,
    handshake::Role,
};
use bytes::{Bytes, BytesMut};

use super::subject::Output;

/// What the program that owns an endpoint hears of it.
#[derive(Debug)]
pub(super) enum Heard {
    /// A peering is up.
    Added { link: usize, peer: EndpointId },
    /// A peering has ended.
    Lost { peer: EndpointId },
    /// A peer has sent a value.
    Message { peer: EndpointId, envelope: Envelope },
}

/// The endpoint. Connections are known by their number in the capture.
pub(super) struct Endpoint {
    inner: endpoint::Endpoint,
    /// Peerings that the program has not heard of.
    added: Vec<Heard>,
    hearing: Hearing,
    outputs: Vec<(usize, Output)>,
}

/// When a program hears of its peerings. Its peers do not see that: they know of a peering before it does. But where a recorded
/// agent had two peerings when it heard of the first, it said hello twice to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// Before it says the next thing.
    Late,
    /// Before anything else happens.
    Early,
}

impl Endpoint {
    pub(super) fn new(own: EndpointId, hearing: Hearing) -> Self {
        Self {
            inner: endpoint::Endpoint::new(own, None),
            hearing,
            added: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// A connection is open, on which the recorded endpoint announced `filter`.
    pub(super) fn opened(&mut self, link: usize, role: Role, filter: &[Topic]) {
        for topic in filter {
            // Every handshake announces all of it, so there is room.
            let _ = self.inner.subscribe(topic.clone());
        }
        self.inner.open(conn(link), role, Duration::MAX);
        self.follow();
    }

    /// A frame of the handshake has come.
    pub(super) fn handshake(&mut self, link: usize, frame: &Bytes) {
        self.frame(link, frame.clone());
    }

    /// The peerings that the program has not heard of. Due before it hears or says anything else.
    pub(super) fn added(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.added)
    }

    /// Those that it hears of at once.
    pub(super) fn added_early(&mut self) -> Vec<Heard> {
        match self.hearing {
            Hearing::Late => Vec::new(),
            Hearing::Early => self.added(),
        }
    }

    /// A frame of a peer has come.
    pub(super) fn envelope(&mut self, link: usize, envelope: &Envelope) -> Option<Heard> {
        let peer = self.inner.peer(conn(link))?;
        let mut frame = BytesMut::new();
        envelope.encode(&mut frame);
        let envelope = self.frame(link, frame.freeze())?;
        Some(Heard::Message { peer, envelope })
    }

    /// The connection is closed.
    pub(super) fn closed(&mut self, link: usize) -> Option<Heard> {
        let peer = self.inner.closed(conn(link));
        self.follow();
        peer.map(|peer| Heard::Lost { peer })
    }

    /// Publishes to the subscribers among some peers, or to one peer if `receiver` is not the nil id.
    pub(super) fn publish(
        &mut self,
        topic: Topic,
        payload: Bytes,
        receiver: EndpointId,
        among: &Recipients<EndpointId>,
    ) {
        let envelope = Envelope {
            sender: self.inner.own_id(),
            receiver,
            kind: EnvelopeKind::Data,
            ttl: TTL_DEFAULT,
            topic,
            payload,
        };
        let recipients = self.inner.recipients(&envelope, among);
        let outputs = recipients.map(|conn| (link(conn), Output::Envelope(envelope.clone())));
        self.outputs.extend(outputs);
    }

    /// What is to be sent.
    pub(super) fn outputs(&mut self) -> Vec<(usize, Output)> {
        std::mem::take(&mut self.outputs)
    }

    fn frame(&mut self, link: usize, frame: Bytes) -> Option<Envelope> {
        let taken = self.inner.handle_frame(conn(link), frame, Duration::ZERO);
        self.follow();
        taken.ok().flatten()
    }

    fn follow(&mut self) {
        while let Some((conn, step)) = self.inner.poll() {
            let link = link(conn);
            match step {
                Step::Handshake(message) => {
                    if let Ok(frame) = message.encode() {
                        self.outputs.push((link, Output::Handshake(frame)));
                    }
                }
                Step::Established { peer, .. } => self.added.push(Heard::Added { link, peer }),
                // When a recorded endpoint subscribed to more, the recording does not tell.
                Step::Send(envelope) if envelope.kind == EnvelopeKind::RoutingUpdate => {}
                Step::Send(envelope) => self.outputs.push((link, Output::Envelope(envelope))),
                Step::Close(_) => {
                    self.inner.closed(conn);
                }
            }
        }
    }
}

fn conn(link: usize) -> ConnId {
    ConnId(u64::try_from(link).unwrap_or(u64::MAX))
}

fn link(conn: ConnId) -> usize {
    usize::try_from(conn.0).unwrap_or(usize::MAX)
}
