//! A Broker endpoint without I/O, made of the parts that the real one is made of: handshakes, a router, peerings.

use std::{collections::BTreeMap, time::Duration};

use broker_codec::{
    ConnId, EndpointId, Envelope, EnvelopeKind, Filter, Router, Topic,
    envelope::TTL_DEFAULT,
    handshake::{Admission, Handshake, Output as Step, Role},
    peering::{Peering, PeeringOutput},
    router::RouterEvent,
};
use broker_endpoint::Among;
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
    own: EndpointId,
    router: Router,
    links: BTreeMap<usize, State>,
    /// Peerings that the program has not heard of.
    ///
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

enum State {
    Handshake {
        machine: Handshake,
        /// What to announce: what was announced in the recording.
        filter: Filter,
    },
    Peered(Peering),
}

impl Endpoint {
    pub(super) fn new(own: EndpointId, hearing: Hearing) -> Self {
        Self {
            own,
            hearing,
            router: Router::new(own),
            links: BTreeMap::new(),
            added: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// A connection is open.
    pub(super) fn opened(&mut self, link: usize, role: Role, filter: &[Topic]) {
        let machine = Handshake::new(role, self.own, Duration::MAX);
        let filter = filter.iter().cloned().collect();
        self.links.insert(link, State::Handshake { machine, filter });
        self.drive(link);
    }

    /// A frame of the handshake has come.
    pub(super) fn handshake(&mut self, link: usize, frame: &Bytes) {
        if let Some(State::Handshake { machine, .. }) = self.links.get_mut(&link) {
            machine.handle_frame(frame);
            self.drive(link);
        }
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
        let State::Peered(peering) = self.links.get_mut(&link)? else {
            return None;
        };
        let peer = peering.peer();
        let mut frame = BytesMut::new();
        envelope.encode(&mut frame);
        match peering.handle_frame(frame.freeze(), Duration::ZERO).ok()?? {
            PeeringOutput::Deliver(envelope) => Some(Heard::Message { peer, envelope }),
            PeeringOutput::FilterChanged(filter) => {
                self.router.update_filter(ConnId(number(link)), filter);
                None
            }
            PeeringOutput::Send(envelope) => {
                self.outputs.push((link, Output::Envelope(envelope)));
                None
            }
            PeeringOutput::Close(_) => None,
        }
    }

    /// The connection is closed.
    pub(super) fn closed(&mut self, link: usize) -> Option<Heard> {
        self.links.remove(&link);
        let events = self.router.lost(ConnId(number(link)));
        self.follow(events)
    }

    /// Publishes to the subscribers among some peers, or to one peer if `receiver` is not the nil id.
    pub(super) fn publish(
        &mut self,
        topic: Topic,
        payload: Bytes,
        receiver: EndpointId,
        among: &Among<EndpointId>,
    ) {
        let envelope = Envelope {
            sender: self.own,
            receiver,
            kind: EnvelopeKind::Data,
            ttl: TTL_DEFAULT,
            topic,
            payload,
        };
        for conn in self.router.recipients(&envelope) {
            let link = usize::try_from(conn.0).unwrap_or(usize::MAX);
            let is_meant = match self.links.get(&link) {
                Some(State::Peered(peering)) => among.has(&peering.peer()),
                _ => false,
            };
            if is_meant {
                self.outputs.push((link, Output::Envelope(envelope.clone())));
            }
        }
    }

    /// What is to be sent.
    pub(super) fn outputs(&mut self) -> Vec<(usize, Output)> {
        std::mem::take(&mut self.outputs)
    }

    fn drive(&mut self, link: usize) {
        while let Some(State::Handshake { machine, filter }) = self.links.get_mut(&link) {
            let Some(step) = machine.poll() else {
                break;
            };
            let conn = ConnId(number(link));
            match step {
                Step::Send(message) => {
                    if let Ok(frame) = message.encode() {
                        self.outputs.push((link, Output::Handshake(frame)));
                    }
                }
                Step::Identified { peer, side } => {
                    let verdict = as_captured(self.router.admit(conn, peer, side), filter);
                    machine.admit(verdict);
                }
                Step::Established { peer, filter, .. } => {
                    let peering = Peering::new(self.own, peer, None, Duration::ZERO);
                    self.links.insert(link, State::Peered(peering));
                    let events = self.router.established(conn, filter);
                    self.follow(events);
                }
                Step::Close(_) => {
                    self.links.remove(&link);
                    // It was no peering, so none is lost.
                    let events = self.router.lost(conn);
                    self.follow(events);
                }
            }
        }
    }

    /// Carries out what the router says; returns the peering that is lost, if one is.
    fn follow(&mut self, events: Vec<RouterEvent>) -> Option<Heard> {
        let mut lost = None;
        for event in events {
            match event {
                RouterEvent::PeerAdded { peer, conn } => self.added.push(Heard::Added {
                    link: usize::try_from(conn.0).unwrap_or(usize::MAX),
                    peer,
                }),
                RouterEvent::PeerLost { peer, .. } => lost = Some(Heard::Lost { peer }),
                RouterEvent::Verdict { conn, admission } => {
                    let link = usize::try_from(conn.0).unwrap_or(usize::MAX);
                    if let Some(State::Handshake { machine, filter }) = self.links.get_mut(&link) {
                        machine.admit(as_captured(admission, filter));
                        self.drive(link);
                    }
                }
                // Routing updates are not compared, and nothing is subscribed to.
                RouterEvent::Send { .. } => {}
            }
        }
        lost
    }
}

/// The router's verdict, with the filter that the recording has.
fn as_captured(admission: Admission, filter: &Filter) -> Admission {
    match admission {
        Admission::Proceed { .. } => Admission::Proceed {
            filter: filter.clone(),
        },
        other => other,
    }
}

fn number(link: usize) -> u64 {
    u64::try_from(link).unwrap_or(u64::MAX)
}
