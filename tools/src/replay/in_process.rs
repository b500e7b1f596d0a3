//! A daemon of ours as the peer under test, in this process: its machine, and the codec's endpoint on the connections of a capture.

use std::{fmt::Debug, net::SocketAddr, sync::Arc, time::Duration};

use broker_codec::{
    ConnId, Data, Endpoint, EndpointId, Envelope, EnvelopeKind, Recipients, Topic, binary, data::ZeekString,
    endpoint::Output as Step, envelope::TTL_DEFAULT, handshake::Role, zeek::Event,
};
use bytes::{Bytes, BytesMut};
use mgmt_api::Now;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    message::encoded,
    recording::{Link, Process},
    standin::unrecorded_peer,
    subject::{Output, Sent, Subject},
};
use crate::tcp::Speaker;

/// Our controller or our agent.
pub(super) trait Daemon {
    /// When it wants to hear that time has passed.
    fn deadline(&self) -> Option<Now>;
    fn hear(&mut self, around: &mut Around, heard: Heard<'_>);
    /// Whether it wants to be connected to this address.
    fn connects_to(&self, address: SocketAddr) -> bool;
}

/// What a daemon hears.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    Tick,
    Stopping {
        without_nodes: bool,
    },
    /// A peering is up. Without a connection, the peer is not in the recording.
    Added {
        link: Option<&'a Link>,
        peer: EndpointId,
    },
    Lost {
        peer: EndpointId,
    },
    Message {
        peer: EndpointId,
        topic: ZeekString,
        data: Data,
    },
    /// A WebSocket client is there.
    ClientAdded {
        link: usize,
        known: &'a Link,
    },
    ClientSays {
        link: usize,
        text: &'a Bytes,
    },
    ClientLost {
        link: usize,
    },
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

/// What is around a daemon.
pub(super) struct Around {
    endpoint: Endpoint,
    pub(super) now: Now,
    pub(super) sent: Sent,
}

/// The daemon and what is around it. Connections are known by their number in the capture.
pub(super) struct InProcess<D> {
    process: Arc<Process>,
    pub(super) daemon: D,
    around: Around,
    hearing: Hearing,
    /// Peerings that the daemon has not heard of.
    added: Vec<(usize, EndpointId)>,
    /// How many peers there were that are not in the recording.
    unrecorded: usize,
}

impl Around {
    /// Publishes to the subscribers among some peers, or to one peer if `receiver` is not the nil id.
    pub(super) fn publish(
        &mut self,
        topic: &ZeekString,
        data: &Data,
        receiver: EndpointId,
        among: &Recipients<EndpointId>,
    ) {
        let (Ok(topic), Some(payload)) = (Topic::new(topic), encoded(data)) else {
            return self.complain(format!("cannot encode an event on {topic}"));
        };
        let envelope = Envelope {
            sender: self.endpoint.own_id(),
            receiver,
            kind: EnvelopeKind::Data,
            ttl: TTL_DEFAULT,
            topic,
            payload,
        };
        let recipients = self.endpoint.recipients(&envelope, among);
        let outputs = recipients.map(|conn| (link_of(conn), Output::Envelope(envelope.clone())));
        self.sent.outputs.extend(outputs);
    }

    pub(super) fn complain(&mut self, what: String) {
        self.sent.complaints.push(what);
    }

    /// What is read back of an input or action that is written to a journal: it must be the same.
    pub(super) fn journaled<T>(&mut self, value: T) -> T
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        match serde_json::to_string(&value).and_then(|line| serde_json::from_str::<T>(&line)) {
            Ok(read) if read == value => {}
            Ok(read) => self.complain(format!("a journal holds {read:?} instead of {value:?}")),
            Err(error) => self.complain(format!("a journal cannot hold {value:?}: {error}")),
        }
        value
    }
}

impl<D: Daemon> InProcess<D> {
    /// The daemon with the recorded one's id, which hears first what `start` tells it.
    pub(super) fn new(
        process: Arc<Process>,
        hearing: Hearing,
        daemon: D,
        start: impl FnOnce(&mut D, &mut Around),
    ) -> Self {
        let mut replayed = Self {
            around: Around {
                endpoint: Endpoint::new(process.id, None),
                now: Now::START,
                sent: Sent::default(),
            },
            process,
            daemon,
            hearing,
            added: Vec::new(),
            unrecorded: 0,
        };
        start(&mut replayed.daemon, &mut replayed.around);
        replayed
    }

    fn hear(&mut self, heard: Heard<'_>) {
        self.daemon.hear(&mut self.around, heard);
    }

    /// Tells of the peerings that the daemon has not heard of: due before it hears or says anything else.
    fn hear_of_peerings(&mut self) {
        let process = Arc::clone(&self.process);
        for (link, peer) in std::mem::take(&mut self.added) {
            let link = process.links.get(&link);
            self.hear(Heard::Added { link, peer });
        }
    }

    fn frame(&mut self, link: usize, frame: Bytes) -> Option<Envelope> {
        let endpoint = &mut self.around.endpoint;
        let taken = endpoint.handle_frame(conn(link), frame, Duration::ZERO);
        self.follow();
        taken.ok().flatten()
    }

    fn follow(&mut self) {
        while let Some((conn, step)) = self.around.endpoint.poll() {
            let output = match step {
                Step::Handshake(message) => message.encode().ok().map(Output::Handshake),
                Step::Established { peer, .. } => {
                    self.added.push((link_of(conn), peer));
                    None
                }
                // When a recorded endpoint subscribed to more, the recording does not tell.
                Step::Send(envelope) if envelope.kind == EnvelopeKind::RoutingUpdate => None,
                Step::Send(envelope) => Some(Output::Envelope(envelope)),
                Step::Close(_) => {
                    self.around.endpoint.closed(conn);
                    None
                }
            };
            let outputs = &mut self.around.sent.outputs;
            outputs.extend(output.map(|output| (link_of(conn), output)));
        }
    }
}

impl<D: Daemon> Subject for InProcess<D> {
    fn at(&mut self, time: Duration) {
        let due = self.daemon.deadline().map(Now::since_start);
        let before = due.map(|due| due.saturating_sub(Duration::from_nanos(1)));
        let time = Now::from_start(before.map_or(time, |before| before.min(time)));
        self.around.now = self.around.now.max(time);
    }

    fn stopping(&mut self, without_nodes: bool) {
        self.hear(Heard::Stopping { without_nodes });
    }

    fn opened(&mut self, link: usize) {
        let process = Arc::clone(&self.process);
        let Some(known) = process.links.get(&link) else {
            return;
        };
        if known.peer.is_none() {
            return self.hear(Heard::ClientAdded { link, known });
        }
        let role = match known.own {
            Speaker::Client => Role::Connector,
            Speaker::Server => Role::Acceptor,
        };
        let address = known.addresses.server;
        if role == Role::Connector && !self.daemon.connects_to(address) {
            let complaint = format!("does not connect to {address}, as the recorded one does");
            self.around.complain(complaint);
        }
        for topic in &known.filter {
            // Every handshake announces all of it, so there is room.
            let _ = self.around.endpoint.subscribe(topic.clone());
        }
        self.around.endpoint.open(conn(link), role, Duration::MAX);
        self.follow();
    }

    fn handshake(&mut self, link: usize, frame: &Bytes) {
        self.frame(link, frame.clone());
        if self.hearing == Hearing::Early {
            self.hear_of_peerings();
        }
    }

    fn envelope(&mut self, link: usize, envelope: Envelope) {
        let Some(peer) = self.around.endpoint.peer(conn(link)) else {
            return;
        };
        let mut frame = BytesMut::new();
        envelope.encode(&mut frame);
        let message = self.frame(link, frame.freeze());
        self.hear_of_peerings();
        if let Some(envelope) = message
            && let Ok(data) = binary::decode(&envelope.payload)
        {
            let topic = envelope.topic.as_bytes().into();
            self.hear(Heard::Message { peer, topic, data });
        }
    }

    fn unrecorded(&mut self, topic: &ZeekString, event: Event) {
        let peer = unrecorded_peer(self.unrecorded);
        self.unrecorded += 1;
        self.hear(Heard::Added { link: None, peer });
        let (topic, data) = (topic.clone(), event.into_data());
        self.hear(Heard::Message { peer, topic, data });
    }

    fn text(&mut self, link: usize, text: &Bytes) {
        self.hear_of_peerings();
        self.hear(Heard::ClientSays { link, text });
    }

    fn closed(&mut self, link: usize) {
        let lost = self.around.endpoint.closed(conn(link));
        self.follow();
        match (lost, self.process.links.get(&link)) {
            (None, Some(known)) if known.peer.is_none() => self.hear(Heard::ClientLost { link }),
            (lost, _) => {
                self.hear_of_peerings();
                if let Some(peer) = lost {
                    self.hear(Heard::Lost { peer });
                }
            }
        }
    }

    fn proceed(&mut self) {
        self.hear_of_peerings();
    }

    fn wait(&mut self, _link: Option<usize>) -> bool {
        self.hear_of_peerings();
        if !self.around.sent.outputs.is_empty() {
            return true;
        }
        let Some(deadline) = self.daemon.deadline() else {
            return false;
        };
        self.around.now = deadline;
        self.hear(Heard::Tick);
        true
    }

    fn sent(&mut self) -> &mut Sent {
        &mut self.around.sent
    }
}

fn conn(link: usize) -> ConnId {
    ConnId(u64::try_from(link).unwrap_or(u64::MAX))
}

fn link_of(conn: ConnId) -> usize {
    usize::try_from(conn.0).unwrap_or(usize::MAX)
}
