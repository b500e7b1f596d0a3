//! Our controller as the peer under test, in this process: its core, its [`Wire`], and a Broker endpoint without I/O.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use broker_codec::{
    EndpointId, Envelope, Topic, binary,
    data::{Address, Port, ZeekString},
    handshake::Role,
    json::DataMessage,
    websocket::{Accepted, PATH, ServerSession, SubscriptionLimits},
    zeek::Event,
};
use broker_endpoint::Recipients;
use bytes::{Bytes, BytesMut};
use mgmt_api::{Dialect, Door, Now, Principal, SequentialIds, WallClock};
use mgmt_controller::{
    core::{Action, Configurations, Controller, Input, Level, Listener, Settings},
    wire::{
        Assumed, ClientSession, Deliveries, FromClient, FromPeer, Inbound, NativePeers, Publication,
        ToNative, Wire,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    endpoint::{Endpoint, Heard, Hearing},
    recording::{Link, Process},
    subject::{Output, Sent, Subject},
};
use crate::tcp::Speaker;

/// The controller and what is around it.
pub(super) struct InProcess {
    process: Arc<Process>,
    controller: Controller,
    wire: Wire,
    endpoint: Endpoint,
    clients: BTreeMap<usize, Client>,
    /// Where the core wants to be connected to.
    targets: BTreeSet<(Address, Port)>,
    now: Now,
    durable: Configurations,
    sent: Sent,
}

/// A WebSocket client.
struct Client {
    session: ServerSession,
    reader: ClientSession,
    topics: Vec<ZeekString>,
}

impl InProcess {
    /// A controller with the recorded one's id, which restores these configurations, and takes those that have not shown what
    /// they speak for the recorded controller's contemporaries. `listeners` are the ports that the
    /// recorded one had for native peers and for WebSocket clients.
    pub(super) fn new(
        process: Arc<Process>,
        settings: Settings,
        dialect: Dialect,
        hearing: Hearing,
        restored: Configurations,
        listeners: [Option<Listener>; 2],
    ) -> Self {
        let ids = Box::new(SequentialIds::default());
        let mut replayed = Self {
            wire: Wire::new(settings.clone(), Assumed::all(dialect)),
            controller: Controller::new(settings, restored.clone(), ids),
            endpoint: Endpoint::new(process.id, hearing),
            clients: BTreeMap::new(),
            targets: BTreeSet::new(),
            now: Now::START,
            durable: restored,
            sent: Sent::default(),
            process,
        };
        let [broker, websocket] = listeners;
        replayed.step(vec![Input::Started {
            broker_id: replayed.process.id.to_string(),
            broker,
            websocket,
            wall_clock: WallClock::default(),
        }]);
        replayed
    }

    /// What is durable now.
    pub(super) const fn durable(&self) -> &Configurations {
        &self.durable
    }

    fn link(&self, link: usize) -> Option<&Link> {
        self.process.links.get(&link)
    }

    /// Takes in what the endpoint has to tell, peerings first.
    fn hear(&mut self, heard: Option<Heard>) {
        let added = self.endpoint.added();
        self.hear_all(added.into_iter().chain(heard));
    }

    fn hear_all(&mut self, heard: impl Iterator<Item = Heard>) {
        for heard in heard {
            match heard {
                Heard::Added { link, peer } => {
                    let Some(known) = self.link(link) else {
                        continue;
                    };
                    let dialled = known.own == Speaker::Client;
                    let address = known.addresses.of(known.own.other());
                    let principal = Principal {
                        door: Door::Broker { peer },
                        address,
                        certificate: None,
                    };
                    self.wire.peer_added(peer, dialled, principal);
                    self.step(vec![Input::PeerAdded {
                        peer,
                        address: Address::from(address.ip()),
                        port: Port::tcp(address.port()),
                        dialled,
                    }]);
                }
                Heard::Lost { peer } => {
                    self.wire.peer_lost(peer);
                    self.step(vec![Input::PeerLost {
                        peer,
                        reason: "connection closed by the peer".into(),
                    }]);
                }
                Heard::Message { peer, envelope } => self.read(peer, &envelope),
            }
        }
        self.sent.outputs.extend(self.endpoint.outputs());
    }

    /// A native peer has said something. What is on no topic of the controller's, such as log messages, is refused as in the runtime.
    fn read(&mut self, peer: EndpointId, envelope: &Envelope) {
        let (Ok(data), Some(mut session)) = (binary::decode(&envelope.payload), self.wire.session(peer))
        else {
            return;
        };
        let read = session.read(envelope.topic.as_bytes(), data);
        self.wire.heard(session, read.as_ref().ok());
        let Ok(FromPeer { inbound, answers }) = read else {
            return;
        };
        for answer in answers {
            self.send(&answer);
        }
        if let Some(Inbound { input, copy }) = inbound {
            if let Some(copy) = copy {
                self.show(&Recipients::all(), &copy);
            }
            self.step(vec![input]);
        }
    }

    /// Every write succeeds at once.
    fn step(&mut self, inputs: Vec<Input>) {
        let mut inputs = VecDeque::from(inputs);
        while let Some(input) = inputs.pop_front() {
            let input = journaled(input, &mut self.sent.complaints);
            for action in self.controller.step(self.now, input) {
                match journaled(action, &mut self.sent.complaints) {
                    Action::Log {
                        level: Level::Debug, ..
                    }
                    | Action::Report { .. } => {}
                    Action::Log { message, .. } => self.sent.log.push(message),
                    Action::Persist {
                        write,
                        entries,
                        dismissed,
                    } => {
                        for (slot, config) in entries {
                            self.durable.set(slot, config);
                        }
                        if let Some(dismissed) = dismissed {
                            self.durable.dismissed = dismissed;
                        }
                        inputs.push_back(Input::Persisted {
                            write,
                            outcome: Ok(()),
                        });
                    }
                    Action::Publish { topic, event, to } => match Publication::new(topic, &event, to) {
                        Ok(publication) => self.publish(&publication),
                        Err(error) => self
                            .sent
                            .complaints
                            .push(format!("cannot encode an event: {error}")),
                    },
                    Action::Connect { host, port } => {
                        self.targets.insert((host, port));
                    }
                    Action::Disconnect { host, port } => {
                        self.targets.remove(&(host, port));
                    }
                    Action::Close { peer, reason } => {
                        self.sent
                            .complaints
                            .push(format!("closes the connection of {peer}: {reason}"));
                    }
                }
            }
        }
        self.sent.outputs.extend(self.endpoint.outputs());
    }

    fn publish(&mut self, publication: &Publication) {
        let Deliveries {
            native,
            websocket,
            failures,
        } = self.wire.deliver(publication);
        for (party, error) in failures {
            self.sent
                .complaints
                .push(format!("cannot translate an event for {party}: {error}"));
        }
        for event in native {
            self.send(&event);
        }
        for (among, message) in websocket {
            self.show(&among, &message);
        }
    }

    /// To native peers.
    fn send(&mut self, event: &ToNative) {
        let mut payload = BytesMut::new();
        let encoded = binary::encode(&event.to_data(), &mut payload);
        match (Topic::new(&event.topic), encoded) {
            (Ok(topic), Ok(())) => match &event.to {
                NativePeers::One(peer) => {
                    self.endpoint
                        .publish(topic, payload.freeze(), *peer, &Recipients::all());
                }
                NativePeers::Subscribers(among) => {
                    self.endpoint
                        .publish(topic, payload.freeze(), EndpointId::NIL, among);
                }
            },
            (topic, encoded) => self
                .sent
                .complaints
                .push(format!("cannot encode an event: {topic:?} {encoded:?}")),
        }
    }

    /// To WebSocket clients that have subscribed to the topic.
    fn show(&mut self, among: &Recipients<u64>, message: &DataMessage) {
        let subscribed = |(link, client): (&usize, &Client)| {
            let mut topics = client.topics.iter();
            among.include(&number(*link)) && topics.any(|prefix| message.topic.starts_with(prefix))
        };
        if !self.clients.iter().any(subscribed) {
            return;
        }
        match message.encode() {
            Ok(text) => {
                let text = Bytes::from(text);
                let clients = self.clients.iter().filter(|client| subscribed(*client));
                self.sent
                    .outputs
                    .extend(clients.map(|(link, _)| (*link, Output::Text(text.clone()))));
            }
            Err(error) => self.sent.complaints.push(format!("cannot write JSON: {error}")),
        }
    }
}

impl Subject for InProcess {
    fn opened(&mut self, link: usize) {
        let Some(known) = self.link(link).cloned() else {
            return;
        };
        if known.peer.is_none() {
            let (endpoint, version) = known
                .ack
                .map(|ack| (ack.endpoint, ack.version))
                .unwrap_or_default();
            match ServerSession::open(&endpoint, &version, SubscriptionLimits::default(), PATH, None) {
                Ok(session) => {
                    let principal = Principal {
                        door: Door::WebSocket {
                            client: number(link),
                            application: None,
                        },
                        address: known.addresses.of(known.own.other()),
                        certificate: None,
                    };
                    let client = Client {
                        session,
                        reader: self.wire.client_sessions()(principal.clone()),
                        topics: Vec::new(),
                    };
                    self.wire.client_connected(number(link), principal);
                    self.clients.insert(link, client);
                }
                Err(rejection) => self.sent.complaints.push(rejection.to_string()),
            }
            return;
        }
        let role = match known.own {
            Speaker::Client => Role::Connector,
            Speaker::Server => Role::Acceptor,
        };
        if role == Role::Connector {
            let address = known.addresses.server;
            let target = (Address::from(address.ip()), Port::tcp(address.port()));
            if !self.targets.contains(&target) {
                self.sent
                    .complaints
                    .push(format!("does not connect to {address}, as the recorded one does"));
            }
        }
        self.endpoint.opened(link, role, &known.filter);
        self.sent.outputs.extend(self.endpoint.outputs());
    }

    fn handshake(&mut self, link: usize, frame: &Bytes) {
        self.endpoint.handshake(link, frame);
        let added = self.endpoint.added_early();
        self.hear_all(added.into_iter());
    }

    fn envelope(&mut self, link: usize, envelope: Envelope) {
        let heard = self.endpoint.envelope(link, &envelope);
        self.hear(heard);
    }

    fn unrecorded(&mut self, _topic: &ZeekString, _event: Event) {}

    fn text(&mut self, link: usize, text: &Bytes) {
        self.hear(None);
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        let read = match client.session.handle(text) {
            Ok(Accepted::Subscribed { topics, ack }) => {
                client.topics = topics;
                self.sent.outputs.push((link, Output::Text(ack.into())));
                return;
            }
            Ok(Accepted::Publication(message)) => {
                let read = client.reader.read(message.clone());
                if let Ok(read) = &read {
                    self.wire.client_heard(number(link), read);
                    self.show(&Recipients::Except([number(link)].into()), &message);
                }
                read
            }
            Err(rejection) => Err(rejection),
        };
        match read {
            Ok(FromClient { input, answers, .. }) => {
                for answer in answers {
                    self.show(&Recipients::one(number(link)), &answer);
                }
                self.step(input.into_iter().collect());
            }
            Err(rejection) => {
                self.sent
                    .outputs
                    .push((link, Output::Text(rejection.to_json().into())));
            }
        }
    }

    fn closed(&mut self, link: usize) {
        if self.clients.remove(&link).is_some() {
            self.wire.client_gone(number(link));
        } else {
            let heard = self.endpoint.closed(link);
            self.hear(heard);
        }
    }

    fn proceed(&mut self) {
        self.hear(None);
    }

    fn wait(&mut self, _link: Option<usize>) -> bool {
        self.hear(None);
        if !self.sent.outputs.is_empty() {
            return true;
        }
        let Some(deadline) = self.controller.deadline() else {
            return false;
        };
        self.now = deadline;
        self.step(vec![Input::Tick]);
        true
    }

    fn sent(&mut self) -> &mut Sent {
        &mut self.sent
    }
}

/// What is read back of an input or action that is written to a journal: it must be the same.
pub(super) fn journaled<T>(value: T, complaints: &mut Vec<String>) -> T
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let read = serde_json::to_string(&value).and_then(|line| serde_json::from_str::<T>(&line));
    match read {
        Ok(read) if read == value => read,
        Ok(read) => {
            complaints.push(format!("a journal holds {read:?} instead of {value:?}"));
            value
        }
        Err(error) => {
            complaints.push(format!("a journal cannot hold {value:?}: {error}"));
            value
        }
    }
}

/// A client's number: that of its connection.
fn number(link: usize) -> u64 {
    u64::try_from(link).unwrap_or(u64::MAX)
}

/// An address that the recorded controller listened on, as its log shows it.
pub(super) fn listener(port: u16) -> Listener {
    Listener {
        address: IpAddr::from([0, 0, 0, 0]).to_string(),
        port: Port::tcp(port),
    }
}
